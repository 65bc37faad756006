//! `trellis migrate rehearse`: runs migrations on data of production's size while others read and write, and says of each
//! statement what it does to them.
//!
//! The scratch database is brought up, filled, and taken down to where it was before the migrations: so its rows are
//! those that this version writes, and the way down is walked on as many rows.

mod load;
mod lock;
mod monitor;
mod report;
mod stage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use migration::{File, Migrator};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use sea_orm_migration::MigratorTrait;
use squawk_syntax::ast::{AstNode, Stmt};

use super::lint::script::Script;
use super::{Standing, patiently};
use crate::config::MigrateAction;
use crate::database::administration;
use crate::deployment::Deployment;
use crate::progress::Progress;
use crate::registry::{Parents, Sample};
use crate::signals::Signals;
use crate::{scratch, seed};
use load::Load;
use monitor::Monitor;
use report::{Alone, Report};
use stage::Stage;

/// What is rehearsed, on how much, and how strictly.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXPLANATION)]
pub struct Options {
    /// How many tasks to generate, each with two comments on average.
    #[arg(long, default_value_t = 1_000_000, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    pub tasks: u32,

    /// A migration of Trellis to rehearse instead of those that are pending: its name, or a part that no other has.
    #[arg(long, value_name = "NAME", conflicts_with = "sql")]
    pub migration: Option<String>,

    /// A file of SQL to rehearse instead, as a migration that comes after all others. Each statement is a transaction,
    /// unless the file says BEGIN.
    #[arg(long, value_name = "FILE")]
    pub sql: Option<PathBuf>,

    /// For how many milliseconds a statement of the others may wait for the migration.
    #[arg(long, default_value_t = 100, value_name = "MILLISECONDS")]
    pub limit_ms: u32,

    /// Prints one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

const EXPLANATION: &str = "\
Examples:
  trellis migrate rehearse                                  what is pending, on a million tasks
  trellis migrate rehearse --migration index_deleted_tasks  one that may be applied already
  echo 'CREATE INDEX ON tasks (title)' > bad.sql
  trellis migrate rehearse --sql bad.sql --tasks 100000     SQL that is not a migration yet

For each statement it prints:
  ms             how long it took
  lock           the strongest lock that it had, or waited for, on a table that was there before
  waited ms      how long a statement of the load waited for it at most, as pg_locks says
  longest write  the longest write of the load meanwhile, in ms, for whatever reason: compare it with that of the load alone
  WAL MB         what it wrote to the log, less what the load's writes wrote on average: an estimate
  rewritten      tables whose rows were written anew
  verdict        ok; locked out, where it gave up on a lock and was tried again; or FAIL

Exit code: 0 where all is ok; 1 where a statement waited longer than --limit-ms or failed, or the migration did.

It makes a scratch database beside the configured one, and drops it at the end, also after Ctrl-C; the configured one is
only asked what is pending. A role on another server needs CREATEDB. A million tasks take 2 GB and some minutes.
Rehearse on a server like production's: on a smaller one everything takes longer.";

/// How long the load runs before the first step, to see what it does by itself.
const ALONE: Duration = Duration::from_secs(2);

/// How many projects the load reads.
const PROJECTS: u16 = 10;

/// What is rehearsed.
enum Subject {
    /// Trellis's migrations from one to another, by their places.
    Migrations { first: usize, last: usize },
    /// Statements after all migrations.
    Script { name: String, statements: Vec<String> },
}

/// Rehearses, and says the result.
///
/// # Errors
/// The server does not answer or lets no database be made, a signal came, or the migration is not as it should be.
/// Nothing stays.
pub async fn run(
    deployment: &Deployment,
    options: &Options,
    signals: &mut Signals,
    say: impl FnOnce(String),
) -> anyhow::Result<()> {
    let primary = &deployment.addresses.primary;
    let subject = match (&options.migration, &options.sql) {
        (Some(name), _) => Some(Subject::named(name)?),
        (None, Some(path)) => Some(Subject::script(path)?),
        (None, None) => Subject::pending(primary).await?,
    };
    let Some(subject) = subject else {
        let newest = migration::files().last().map(|file| file.migration.name().to_owned()).unwrap_or_default();
        say(format!("nothing is pending; to rehearse one that is applied: --migration {newest}"));
        return Ok(());
    };
    let report =
        scratch::with(primary, signals, async |address| Box::pin(rehearse(address, &subject, options)).await).await?;
    say(if options.json { serde_json::to_string_pretty(&report)? } else { report.text() });
    let failures = report.failures();
    anyhow::ensure!(failures == 0, "{failures} of {} steps are not as they should be", report.steps.len());
    Ok(())
}

impl Subject {
    async fn pending(address: &str) -> anyhow::Result<Option<Self>> {
        let connection = administration::connect(address).await.context("the database cannot be reached")?;
        let standing = Standing::of(&connection).await?;
        connection.close().await?;
        let files = migration::files();
        let first = files.iter().position(|file| standing.pending.iter().any(|name| name == file.migration.name()));
        Ok(first.map(|first| Self::Migrations { first, last: files.len() - 1 }))
    }

    fn named(name: &str) -> anyhow::Result<Self> {
        let files = migration::files();
        let is_it = |file: &File| file.migration.name().contains(name);
        let found: Vec<usize> = (0..files.len()).filter(|place| is_it(&files[*place])).collect();
        match found[..] {
            [place] => Ok(Self::Migrations { first: place, last: place }),
            [] => anyhow::bail!("no migration is called {name}; `trellis migrate status` lists them all"),
            _ => anyhow::bail!("{} migrations have {name} in their names: give more of the name", found.len()),
        }
    }

    fn script(path: &std::path::Path) -> anyhow::Result<Self> {
        let script = Script::of_file(path)?;
        if let Some(error) = script.parsed.errors().first() {
            anyhow::bail!("{}: {}", script.name, error.message());
        }
        let text = |statement: Stmt| statement.syntax().text().to_string().trim_end_matches(';').to_owned();
        let statements: Vec<String> = script.statements().map(text).collect();
        anyhow::ensure!(!statements.is_empty(), "{} has no statement", script.name);
        Ok(Self::Script { name: script.name, statements })
    }
}

async fn rehearse(address: &str, subject: &Subject, options: &Options) -> anyhow::Result<Report> {
    let files = migration::files();
    let connection = administration::connect(address).await?;
    let tables = create_tables(&connection).await?;
    super::run(address, MigrateAction::Up, drop).await?;
    seed::run(address, &seed::Options::of(options.tasks.into(), 2)?, drop).await?;
    let sample = Sample::of(&connection, Parents::Ordinary(PROJECTS)).await?;
    let mut skipped = 0;
    if let Subject::Migrations { first, last } = subject {
        anyhow::ensure!(*last >= tables, "{} comes before there are rows", files[*last].migration.name());
        skipped = tables.saturating_sub(*first);
        let steps = files.len() - (*first).max(tables);
        super::run(address, MigrateAction::Down { steps: steps.try_into()? }, drop).await?;
    }
    let postgres =
        Statement::from_string(DbBackend::Postgres, "SELECT split_part(current_setting('server_version'), ' ', 1)");
    let postgres = connection.query_one_raw(postgres).await?.context("the server says no version")?;
    let postgres = postgres.try_get_by_index(0)?;
    connection.close().await?;

    let stage = Stage::open(address).await?;
    let (pid, growing) = stage.identity().await?;
    let load = Load::start(address, sample).await?;
    let (began, position) = (Instant::now(), stage.position().await?);
    tokio::time::sleep(ALONE).await;
    let alone = Alone { began, ended: Instant::now(), wal_bytes: stage.position().await? - position };
    let monitor = Monitor::start(address, pid, &growing).await?;
    let failed = play(&stage, subject, skipped).await.err();
    let (steps, seen) = (stage.steps().await, monitor.stop().await);
    let watched = report::watched(&steps, &seen, |text| load.name(text));
    let mut report = Report::new(options, postgres, skipped, failed.as_ref());
    report.left_out.clone_from(&load.left_out);
    report.add(steps, watched, &alone, &load.stop().await);
    Ok(report)
}

/// Runs every step, until one fails.
async fn play(stage: &Stage, subject: &Subject, skipped: usize) -> Result<(), DbErr> {
    match subject {
        Subject::Migrations { first, last } => {
            let files = migration::files();
            let files = &files[first + skipped..=*last];
            let progress = Progress::new("migrations", files.len().try_into().unwrap_or_default(), 0);
            for file in files {
                let mut say = |line: String| tracing::info!("{line}");
                patiently(file.migration.name(), &mut say, async || stage.migrate(file).await).await?;
                progress.advance(1);
            }
        }
        Subject::Script { name, statements } => {
            let transactions = transactions(statements);
            let progress = Progress::new("transactions", transactions.len().try_into().unwrap_or_default(), 0);
            for transaction in transactions {
                let mut say = |line: String| tracing::info!("{line}");
                patiently(name, &mut say, async || stage.run(name, transaction).await).await?;
                progress.advance(1);
            }
        }
    }
    Ok(())
}

/// A file's statements, taken together from BEGIN to its end, each of the others by itself: what is tried again where it
/// does not get its lock.
fn transactions(statements: &[String]) -> Vec<&[String]> {
    let is_one = |statement: &String, words: &[&str]| {
        let first = statement.split_whitespace().next().unwrap_or_default();
        words.iter().any(|word| first.eq_ignore_ascii_case(word))
    };
    let (mut all, mut begun) = (Vec::new(), None);
    for (place, statement) in statements.iter().enumerate() {
        if is_one(statement, &stage::BEGIN) {
            begun.get_or_insert(place);
        } else if begun.is_none() || is_one(statement, &stage::END) {
            all.push(&statements[begun.take().unwrap_or(place)..=place]);
        }
    }
    all.extend(begun.map(|place| &statements[place..]));
    all
}

/// Migrates until all tables are there that are filled, and says how many migrations that took.
async fn create_tables(connection: &DatabaseConnection) -> anyhow::Result<usize> {
    const MISSING: &str = "
SELECT count(*) FROM unnest(ARRAY['users', 'workspaces', 'members', 'projects', 'tasks', 'comments']) AS t (name)
WHERE to_regclass(t.name) IS NULL";
    for applied in 0..=migration::files().len() {
        let missing = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, MISSING)).await?;
        if missing.is_some_and(|row| row.try_get_by_index::<i64>(0).is_ok_and(|missing| missing == 0)) {
            return Ok(applied);
        }
        Migrator::up(connection, Some(1)).await?;
    }
    anyhow::bail!("the migrations do not make all tables")
}
