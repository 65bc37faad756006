//! `trellis bench indexes`: one index at a time on a seeded table, what it is worth and what it costs.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::index::{self, Indexes};
use super::queries::Queries;
use super::report::Report;
use super::session::{Run, Session};
use super::{keys, picture, updates};
use crate::config::MigrateAction;
use crate::deployment::Deployment;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::{migrate, scratch, seed};

/// On how much is measured, and how the result is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many tasks to generate.
    #[arg(long, default_value_t = 1_000_000, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    pub tasks: u32,

    /// Prints one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,

    /// Also draws the times of the list, on a logarithmic axis, into an SVG file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// What indexes cost that are there together.
#[derive(Clone, Debug, Serialize)]
pub struct Write {
    /// Their name.
    pub index: String,
    /// Their size, fresh; the primary key's where there is no other.
    pub size_bytes: i64,
    /// Milliseconds of inserting the rows in one statement.
    pub insert_ms: f64,
    /// What the insert wrote to the log, just after a checkpoint: with whole pages.
    pub wal_bytes: i64,
}

/// Measures in a scratch database, which is dropped whatever happens.
///
/// # Errors
/// As [`super::run`].
pub async fn run(
    deployment: &mut Deployment,
    options: &Options,
    signals: &mut Signals,
    say: impl FnOnce(String),
) -> anyhow::Result<()> {
    if let Some(path) = &options.svg {
        check_writable(path).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let beside = deployment.addresses.primary.clone();
    let report = scratch::with(&beside, signals, async |address| measure(deployment, address, options).await).await?;
    if let Some(path) = &options.svg {
        fs::write(path, picture::draw(&report)?).with_context(|| path.display().to_string())?;
    }
    say(if options.json { serde_json::to_string_pretty(&report)? } else { report.text() });
    Ok(())
}

/// Before the work, and without touching what an earlier run has drawn.
fn check_writable(path: &Path) -> io::Result<()> {
    let is_there = path.exists();
    File::options().append(true).create(true).open(path)?;
    if is_there { Ok(()) } else { fs::remove_file(path) }
}

async fn measure(deployment: &mut Deployment, address: &str, options: &Options) -> anyhow::Result<Report> {
    migrate::run(address, MigrateAction::Up, drop).await?;
    let mut session = Session::open(address).await?;
    let all = index::all(&session).await?;
    index::drop_all(&session).await?;
    session.execute("ALTER TABLE tasks SET (autovacuum_enabled = off)").await?;
    seed::run(address, &seed::Options::of(options.tasks.into(), 0)?, drop).await?;

    let queries = Queries::choose(&session).await?;
    let inserted = (options.tasks / 10).clamp(100, 100_000);
    session.execute(&ARRIVALS.replace("$1", &inserted.to_string())).await?;
    let steps = u64::try_from(all.len())? + updates::CASES + u64::from(keys::COMMITS);
    let progress = Progress::new("measurements", steps, 0);
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    let mut cold_refused = None;
    for indexes in &all {
        indexes.create(&session).await?;
        // All together are there for their cost.
        if indexes.definitions.len() < 2 {
            let cold;
            (session, cold) = cold_run(deployment, address, session, &queries.list).await?;
            cold_refused = cold.as_ref().err().copied();
            reads.extend(queries.run(&session, &indexes.name, cold.ok().as_ref()).await?);
        }
        writes.push(insert(&session, indexes).await?);
        progress.advance(1);
    }
    let updates = updates::measure(&session, options.tasks.min(50_000), || progress.advance(1)).await?;
    let keys = keys::measure(&session, || progress.advance(1)).await?;
    let postgres = session.value("SELECT current_setting('server_version')").await?;
    session.close().await?;
    let (tasks, rows) = (options.tasks, queries.rows);
    Ok(Report { postgres, tasks, rows, inserted, cold_refused, reads, writes, updates, keys, indexes: all })
}

/// Runs a query with nothing of it in memory, or says why that cannot be.
async fn cold_run(
    deployment: &mut Deployment,
    address: &str,
    session: Session,
    query: &str,
) -> anyhow::Result<(Session, Result<Run, &'static str>)> {
    if !deployment.is_private() {
        return Ok((session, Err("the server is not the private one of --data-dir")));
    }
    // Not to be left in the middle, so without a place where a signal could stop it. The session ends with the server and
    // not before: another run may be waiting to start, and would take a database without any for a left-over.
    let rested =
        tokio::task::block_in_place(|| deployment.with_primary_at_rest(|directory| forget(&directory.join("base"))))?;
    if !rested {
        return Ok((session, Err("another process uses the private server")));
    }
    let session = Session::open(address).await?;
    if !cfg!(target_os = "linux") {
        return Ok((session, Err("only Linux drops files from its page cache")));
    }
    session.plan(query).await?;
    let run = session.run(query).await?;
    Ok((session, Ok(run)))
}

/// Drops every file below a directory from the system's page cache.
fn forget(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let (kind, path) = entry.and_then(|entry| Ok((entry.file_type()?, entry.path())))?;
        if kind.is_dir() {
            forget(&path)?;
        } else {
            let file = File::open(path)?;
            // Only what the disk has can be dropped.
            file.sync_all()?;
            advise(&file)?;
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn advise(file: &File) -> io::Result<()> {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    Ok(posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}

#[cfg(not(target_os = "linux"))]
fn advise(_: &File) -> io::Result<()> {
    Ok(())
}

/// Inserts tasks as the next day would bring them, takes them back, and drops the indexes.
async fn insert(session: &Session, indexes: &Indexes) -> anyhow::Result<Write> {
    let size = if indexes.definitions.is_empty() { KEY_SIZE } else { OTHERS_SIZE };
    let size_bytes = session.value(size).await?;
    session.checkpoint().await;
    session.execute("BEGIN").await?;
    let run = session.run("INSERT INTO tasks SELECT * FROM arrivals").await?;
    session.execute("ROLLBACK").await?;
    index::drop_all(session).await?;
    session.execute("VACUUM tasks").await?;
    Ok(Write { index: indexes.name.clone(), size_bytes, insert_ms: run.ms, wal_bytes: run.wal_bytes })
}

/// The newest tasks once more, centuries later by their keys and years later by their columns: what is inserted next is
/// in time order, in every project.
const ARRIVALS: &str = "
CREATE UNLOGGED TABLE arrivals AS SELECT * FROM (SELECT * FROM tasks ORDER BY id DESC LIMIT $1) AS newest ORDER BY id;
UPDATE arrivals SET id = overlay(id::text PLACING '1' FROM 1 FOR 1)::uuid,
    created_at = created_at + interval '3 years', updated_at = updated_at + interval '3 years',
    due_date = due_date + interval '3 years', completed_at = completed_at + interval '3 years',
    deleted_at = deleted_at + interval '3 years'";
const KEY_SIZE: &str = "SELECT pg_relation_size('pk_tasks')";
const OTHERS_SIZE: &str = "SELECT pg_indexes_size('tasks') - pg_relation_size('pk_tasks')";
