//! All results of `trellis bench indexes`, as tables for a person or as JSON for a machine.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use serde::Serialize;

use super::index::{COVERING, COVERING_LIVE, Indexes, NONE};
use super::indexes::Write;
use super::keys::Key;
use super::queries::Read;
use super::updates::Update;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The server's version.
    pub postgres: String,
    /// How many tasks there were.
    pub tasks: u32,
    /// How many of them the list has.
    pub rows: i64,
    /// How many more were inserted, for the cost of it.
    pub inserted: u32,
    /// Why there are no cold runs.
    pub cold_refused: Option<&'static str>,
    /// What was compared.
    pub indexes: Vec<Indexes>,
    /// Every query with every single index.
    pub reads: Vec<Read>,
    /// Inserts with all of them.
    pub writes: Vec<Write>,
    /// Updates, with and without the covering index.
    pub updates: Vec<Update>,
    /// UUID version 4, then 7.
    pub keys: [Key; 2],
}

impl Report {
    /// The runs of a query, in the order of the indexes.
    pub fn of(&self, query: &str) -> impl Iterator<Item = &Read> {
        self.reads.iter().filter(move |read| read.query == query)
    }

    /// The run of the list with an index.
    pub fn list(&self, index: &str) -> Option<&Read> {
        self.of("list").find(|read| read.index == index)
    }

    /// The tables, each with what it means.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for part in [self.lists(), self.pages(), self.costs(), self.hot_updates(), self.key_versions()] {
            let _ = writeln!(text, "{part}\n");
        }
        let _ = writeln!(text, "The indexes:");
        for Indexes { name, definitions } in &self.indexes {
            if let [definition] = definitions.as_slice() {
                let columns = definition.find('(').map_or("", |start| &definition[start..]);
                let _ = writeln!(text, "  {name}: {columns}");
            }
        }
        text.truncate(text.trim_end().len());
        text
    }

    fn lists(&self) -> String {
        let (tasks, rows) = (HumanCount(self.tasks.into()), self.rows);
        let title = format!(
            "What an index is worth: a list of {rows} live tasks, by project and status, of {tasks} (PostgreSQL {})",
            self.postgres
        );
        let none = self.list(NONE);
        let mut table = table(&["index", "warm ms", "times", "cold ms", "times", "buffers", "scan", "fetches"]);
        for read in self.of("list") {
            let cold_none = none.and_then(|none| none.cold_ms);
            table.add_row([
                read.index.clone(),
                number(read.warm_ms),
                times(none.map(|none| none.warm_ms), Some(read.warm_ms)),
                read.cold_ms.map_or("-".to_owned(), number),
                times(cold_none, read.cold_ms),
                count(read.buffers),
                read.scan.replace(" Scan", ""),
                read.heap_fetches.map_or("-".to_owned(), count),
            ]);
        }
        let meaning = match (none, self.list(COVERING_LIVE), self.list(COVERING)) {
            (Some(none), Some(live), Some(covering)) => format!(
                "The covering index of live rows answers {} times as fast as no index, warm{}: it\n\
                 reads {} pages, not {}. Without WHERE deleted_at IS NULL it reads {}: it cannot tell which rows are\n\
                 deleted, and fetches each from the table.",
                times(Some(none.warm_ms), Some(live.warm_ms)),
                match (none.cold_ms, live.cold_ms) {
                    (None, _) | (_, None) => String::new(),
                    (none, live) => format!(", and {} times cold", times(none, live)),
                },
                count(live.buffers),
                count(none.buffers),
                count(covering.buffers),
            ),
            _ => String::new(),
        };
        let cold = self.cold_refused.map_or(String::new(), |why| format!("\nNo cold runs: {why}."));
        format!("{title}\n{table}\n{meaning}{cold}")
    }

    fn pages(&self) -> String {
        let mut table = table(&["index", "newest 20, ms", "buffers", "next 20 due, ms", "buffers"]);
        for (page, due) in self.of("page").zip(self.of("due")) {
            table.add_row([
                page.index.clone(),
                number(page.warm_ms),
                count(page.buffers),
                number(due.warm_ms),
                count(due.buffers),
            ]);
        }
        format!(
            "Pages of 20: the newest of a status, and the open ones that are due next\n{table}\n\
             An index in the order of the page is read for 20 rows only; any other for all, which are then sorted."
        )
    }

    fn costs(&self) -> String {
        let mut table = table(&["indexes beside the key", "MB", "rows/s", "time", "WAL MB", "WAL"]);
        let Some(none) = self.writes.first() else { return String::new() };
        for write in &self.writes {
            table.add_row([
                write.index.clone(),
                megabytes(write.size_bytes),
                number(f64::from(self.inserted) * 1_000.0 / write.insert_ms),
                times(Some(write.insert_ms), Some(none.insert_ms)),
                megabytes(write.wal_bytes),
                times(Some(float(write.wal_bytes)), Some(float(none.wal_bytes))),
            ]);
        }
        format!(
            "What it costs: size, and inserting {} rows (time and WAL as multiples of the key alone)\n{table}\n\
             Every index is written with every row. The size of `{NONE}` is the primary key's.",
            HumanCount(self.inserted.into())
        )
    }

    fn hot_updates(&self) -> String {
        let mut table = table(&["update of", "fillfactor", "key only, HOT", "with the covering index, HOT"]);
        for fillfactor in [90, 100] {
            let of = |covering| {
                let is_it = move |update: &&Update| {
                    update.fillfactor == fillfactor && (update.index == COVERING_LIVE) == covering
                };
                self.updates.iter().filter(is_it)
            };
            for (without, with) in of(false).zip(of(true)) {
                let share =
                    |update: &Update| format!("{:.0} %", 100.0 * float(update.hot) / float(update.updates.max(1)));
                table.add_row([without.column.to_owned(), fillfactor.to_string(), share(without), share(with)]);
            }
        }
        format!(
            "The share of HOT updates, which write no index\n{table}\n\
             It needs room in the page (fillfactor 90, as Trellis's tables have it), and no index on what changes."
        )
    }

    fn key_versions(&self) -> String {
        let [v4, v7] = &self.keys;
        let mut table = table(&["key", "ms", "WAL MB", "key MB"]);
        for key in &self.keys {
            let name = format!("UUID version {}", key.version);
            table.add_row([name, number(key.insert_ms), megabytes(key.wal_bytes), megabytes(key.size_bytes)]);
        }
        let ratio = |of: fn(&Key) -> f64| times(Some(of(v4)), Some(of(v7)));
        table.add_row([
            "4 : 7".to_owned(),
            ratio(|key| key.insert_ms),
            ratio(|key| float(key.wal_bytes)),
            ratio(|key| float(key.size_bytes)),
        ]);
        format!(
            "UUID version 4 against 7: {} inserts of 200 bytes in {} commits each\n{table}\n\
             Version 7 grows at the right edge of the index; version 4 writes and splits pages everywhere.",
            HumanCount(self.tasks.into()),
            super::keys::COMMITS
        )
    }
}

/// The first column is text, the others are numbers.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// With as many digits as mean something.
pub fn number(number: f64) -> String {
    match number {
        ..0.1 => format!("{number:.3}"),
        ..10.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// How many times as much.
fn times(much: Option<f64>, little: Option<f64>) -> String {
    let quotient = much.zip(little).map(|(much, little)| much / little.max(f64::MIN_POSITIVE));
    quotient.map_or(
        "-".to_owned(),
        |quotient| if quotient < 10.0 { format!("{quotient:.1}") } else { format!("{quotient:.0}") },
    )
}

fn count(number: i64) -> String {
    HumanCount(number.unsigned_abs()).to_string()
}

fn megabytes(bytes: i64) -> String {
    number(float(bytes) / 1_048_576.0)
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and shown with three digits")]
fn float(number: i64) -> f64 {
    number as f64
}
