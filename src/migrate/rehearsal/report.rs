//! What was rehearsed, as a table for a person or as JSON for a machine.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Instant;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use sea_orm::DbErr;
use serde::Serialize;

use super::Options;
use super::load::{Done, in_short};
use super::lock::Lock;
use super::monitor::{Seen, Sight};
use super::stage::Step;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The server's version.
    pub postgres: String,
    /// How many tasks there were.
    pub tasks: u32,
    /// For how long a statement may wait, in milliseconds.
    pub limit_ms: u32,
    /// How many pending migrations were not rehearsed, since they make the tables.
    pub skipped: usize,
    /// Statements of the load that failed before the first step, since they need what the migrations make.
    pub left_out: Vec<&'static str>,
    /// How many statements the load read with.
    pub reads: usize,
    /// How many it wrote with.
    pub writes: usize,
    /// How many were refused since a column has another type than they had been prepared for, and were sent again.
    pub sent_again: usize,
    /// The longest write of the load before the first step, in milliseconds.
    pub longest_write_alone_ms: f64,
    /// Why the migration failed.
    pub error: Option<String>,
    /// What each statement of the migration did.
    pub steps: Vec<Rehearsed>,
}

/// What a statement of the migration did.
#[derive(Debug, Serialize)]
pub struct Rehearsed {
    /// What it belongs to.
    pub migration: String,
    /// Its text, on one line.
    pub statement: String,
    /// How long it took, in milliseconds.
    pub ms: f64,
    /// The strongest lock that it had, or waited for, on a table that was there before.
    pub lock: Option<Lock>,
    /// How long a statement of the load waited for it at most, in milliseconds.
    pub waited_ms: f64,
    /// Which one that was.
    pub waited: Option<&'static str>,
    /// The longest write of the load meanwhile, in milliseconds.
    pub longest_write_ms: f64,
    /// What it wrote to the log: an estimate.
    pub wal_bytes: i64,
    /// Tables whose rows were written anew.
    pub rewritten: Vec<String>,
    /// What is wrong with it; nothing where it is as it should be.
    pub problems: Vec<String>,
    /// Whether it gave up on a lock and was tried again.
    pub locked_out: bool,
}

/// The load by itself.
pub struct Alone {
    /// From when.
    pub began: Instant,
    /// Until when.
    pub ended: Instant,
    /// What it wrote to the log.
    pub wal_bytes: i64,
}

/// What others saw of a step: the longest wait and whose it was, and the strongest lock.
#[derive(Clone, Default)]
pub struct Watched {
    waited_ms: f64,
    waited: Option<&'static str>,
    lock: Option<Lock>,
}

/// What was seen during each step.
pub fn watched(steps: &[Step], seen: &[Seen], name: impl Fn(&str) -> &'static str) -> Vec<Watched> {
    let of_step = |step: &Step| {
        let mut watched = Watched::default();
        for Seen { what, .. } in seen.iter().filter(|seen| (step.began..=step.ended).contains(&seen.at)) {
            match what {
                Sight::Waiting { text, waited_ms } if *waited_ms > watched.waited_ms => {
                    (watched.waited_ms, watched.waited) = (*waited_ms, Some(name(text)));
                }
                Sight::Waiting { .. } => {}
                Sight::Locking(lock) => watched.lock = watched.lock.take().max(Some(lock.clone())),
            }
        }
        watched
    };
    steps.iter().map(of_step).collect()
}

impl Report {
    pub fn new(options: &Options, postgres: String, skipped: usize, error: Option<&DbErr>) -> Self {
        Self {
            postgres,
            tasks: options.tasks,
            limit_ms: options.limit_ms,
            skipped,
            left_out: Vec::new(),
            reads: 0,
            writes: 0,
            sent_again: 0,
            longest_write_alone_ms: 0.0,
            error: error.map(in_short),
            steps: Vec::new(),
        }
    }

    /// Judges every step.
    pub fn add(&mut self, steps: Vec<Step>, watched: Vec<Watched>, alone: &Alone, load: &[Done]) {
        self.writes = load.iter().filter(|done| done.writes).count();
        self.reads = load.len() - self.writes;
        self.sent_again = load.iter().filter(|done| done.outdated).count();
        self.longest_write_alone_ms = longest_write(load, alone.began, alone.ended);
        let writes_alone = writes_within(load, alone.began, alone.ended);
        let mut told = BTreeSet::new();
        for (step, Watched { waited_ms, waited, lock }) in steps.into_iter().zip(watched) {
            let by_load = alone.wal_bytes * writes_within(load, step.began, step.ended) / writes_alone.max(1);
            let mut rehearsed = Rehearsed {
                migration: step.migration,
                statement: step.statement,
                ms: step.elapsed.as_secs_f64() * 1_000.0,
                lock: step.lock.max(lock),
                waited_ms,
                waited,
                longest_write_ms: longest_write(load, step.began, step.ended),
                wal_bytes: (step.wal_bytes - by_load).max(0),
                rewritten: step.rewritten,
                problems: Vec::new(),
                locked_out: step.locked_out,
            };
            rehearsed.problems = self.problems(&rehearsed, step.error.as_deref());
            rehearsed.problems.extend(broken(load, step.ended, &mut told));
            self.steps.push(rehearsed);
        }
        if let Some(last) = self.steps.last_mut().filter(|step| step.locked_out)
            && let Some(error) = &self.error
        {
            last.problems.push(format!("gave up: {error}"));
        }
    }

    fn problems(&self, step: &Rehearsed, error: Option<&str>) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(error) = error.filter(|_| !step.locked_out) {
            problems.push(format!("failed: {error}"));
        }
        if step.waited_ms > f64::from(self.limit_ms) {
            let who = step.waited.unwrap_or("a statement");
            let why = step.lock.as_ref().map_or(String::new(), |lock| format!(": {}", lock.blocks()));
            problems.push(format!("{who} waited {} ms, more than {}{why}", number(step.waited_ms), self.limit_ms));
        }
        problems
    }

    /// How many steps are not as they should be.
    pub fn failures(&self) -> usize {
        let failed = self.steps.iter().filter(|step| !step.problems.is_empty()).count();
        failed.max(usize::from(self.error.is_some()))
    }

    /// The steps, a table of what they did, and what is wrong with some.
    pub fn text(&self) -> String {
        let mut text = format!(
            "On {} tasks (PostgreSQL {}), while others sent {} reads and {} writes; before, their longest write took {} ms\n",
            HumanCount(self.tasks.into()),
            self.postgres,
            self.reads,
            self.writes,
            number(self.longest_write_alone_ms)
        );
        if self.skipped > 0 {
            let _ =
                writeln!(text, "The first {} that are pending make the tables, and were not rehearsed.", self.skipped);
        }
        if !self.left_out.is_empty() {
            let _ = writeln!(text, "Not sent, since they need what comes: {}.", self.left_out.join(", "));
        }
        if self.sent_again > 0 {
            let _ = writeln!(
                text,
                "{} statements found a column of another type than they were prepared for, and were sent again over a new \
                 connection, as the server does.",
                self.sent_again
            );
        }
        let mut migration = "";
        for (number, step) in (1..).zip(&self.steps) {
            if step.migration != migration {
                migration = &step.migration;
                let _ = writeln!(text, "\n{migration}");
            }
            let _ = writeln!(text, "  {number}  {}", excerpt(&step.statement));
        }
        let _ = writeln!(text, "\n{}", self.table());
        for (number, step) in (1..).zip(&self.steps) {
            for problem in &step.problems {
                let _ = writeln!(text, "{number}: {problem}");
            }
        }
        if self.steps.iter().all(|step| step.problems.is_empty())
            && let Some(error) = &self.error
        {
            let _ = writeln!(text, "It failed: {error}");
        }
        text.truncate(text.trim_end().len());
        text
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        let header = ["step", "ms", "lock", "waited ms", "longest write", "WAL MB", "rewritten", "verdict"];
        table.load_style(presets::ASCII_MARKDOWN).set_header(header);
        for column in [0, 1, 3, 4, 5] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for (place, step) in (1..).zip(&self.steps) {
            let verdict = match (&step.problems[..], step.locked_out) {
                ([], false) => "ok",
                ([], true) => "locked out",
                _ => "FAIL",
            };
            table.add_row([
                place.to_string(),
                number(step.ms),
                step.lock.as_ref().map_or("-".to_owned(), ToString::to_string),
                number(step.waited_ms),
                number(step.longest_write_ms),
                format!("{:.1}", megabytes(step.wal_bytes)),
                if step.rewritten.is_empty() { "-".to_owned() } else { step.rewritten.join(", ") },
                verdict.to_owned(),
            ]);
        }
        table
    }
}

/// Statements of the load that ran before the migration and failed by the end of a step, each told once.
fn broken(load: &[Done], ended: Instant, told: &mut BTreeSet<&'static str>) -> Option<String> {
    let mut failed = load.iter().filter(|done| done.began <= ended && done.error.is_some());
    let first = failed.clone().find(|done| !told.contains(done.name))?;
    let names: BTreeSet<&'static str> = failed.by_ref().map(|done| done.name).collect();
    let new: Vec<&'static str> = names.difference(told).copied().collect();
    told.extend(&new);
    let error = first.error.as_deref().unwrap_or_default();
    Some(format!("{}: ran before, and now: {error}", new.join(", ")))
}

/// The longest write that was under way in a time, in milliseconds.
fn longest_write(load: &[Done], began: Instant, ended: Instant) -> f64 {
    let during = load.iter().filter(|done| done.writes && done.began <= ended && done.ended >= began);
    let longest = during.map(|done| done.ended - done.began).max();
    longest.unwrap_or_default().as_secs_f64() * 1_000.0
}

/// How many writes ended in a time.
fn writes_within(load: &[Done], began: Instant, ended: Instant) -> i64 {
    let within = load.iter().filter(|done| done.writes && (began..=ended).contains(&done.ended));
    within.count().try_into().unwrap_or(i64::MAX)
}

fn excerpt(statement: &str) -> String {
    const LENGTH: usize = 110;
    match statement.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{} …", &statement[..end]),
        None => statement.to_owned(),
    }
}

fn number(number: f64) -> String {
    if (0.05..10.0).contains(&number) { format!("{number:.1}") } else { format!("{number:.0}") }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and shown with one digit")]
fn megabytes(bytes: i64) -> f64 {
    bytes as f64 / 1_048_576.0
}
