//! What goes on while a migration runs: reads and writes as requests send them, each with its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};
use tokio::task::JoinSet;

use crate::database::{NamedStatement, administration, sqlstate};
use crate::registry::{self, Kind, Sample};

/// How many connections read, and how many write.
const READERS: usize = 2;
const WRITERS: usize = 2;

/// Between two statements of a connection, so that the load leaves the migration room, as on a server that is not full.
const PAUSE: Duration = Duration::from_millis(5);

/// How long statements are tried one by one before the load begins.
const TRIAL: Duration = Duration::from_secs(10);

/// How many different reads there are at most.
const READS: usize = 120;

/// What is written again and again: every table but those of users and of idempotency keys.
const WRITES: [&str; 9] = [
    "task_create",
    "task_update",
    "comment_create",
    "comment_update",
    "tasks_update",
    "project_create",
    "project_update",
    "workspace_update",
    "member_update",
];

/// One statement of the load.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its name in the registry.
    pub name: &'static str,
    /// Whether it writes.
    pub writes: bool,
    /// When it was sent.
    pub began: Instant,
    /// When its answer was there.
    pub ended: Instant,
    /// What it failed with, where that was no timeout.
    pub error: Option<String>,
}

/// Statements that are sent until they are stopped.
pub struct Load {
    workers: JoinSet<Vec<Done>>,
    stop: Arc<AtomicBool>,
    /// The texts and names of what is sent.
    texts: Vec<(String, &'static str)>,
    /// The names of what already failed before the migration.
    pub left_out: Vec<&'static str>,
}

impl Load {
    /// Tries every statement once, and begins with those that did not fail.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn start(address: &str, sample: Sample) -> anyhow::Result<Self> {
        let reads: Vec<NamedStatement> = registry::representative(&sample)
            .filter(|registered| registered.kind == Kind::Row)
            .map(|registered| registered.statement)
            .collect();
        let stride = reads.len().div_ceil(READS).max(1);
        let reads = reads.into_iter().step_by(stride).collect();
        let connection = connect(address, "trial").await?;
        let (mut left_out, mut texts) = (Vec::new(), Vec::new());
        let reads = tried(&connection, reads, &mut left_out).await;
        let writes = tried(&connection, commands(&sample, &WRITES), &mut left_out).await;
        connection.close().await?;
        let names: Vec<&'static str> = writes.iter().map(NamedStatement::name).collect();
        texts.extend(reads.iter().chain(&writes).map(|statement| (statement.sql().to_owned(), statement.name())));

        let (stop, mut workers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        let (sample, reads) = (Arc::new(sample), Arc::new(reads));
        for number in 0..READERS {
            let (connection, stop, reads) = (connect(address, "read").await?, Arc::clone(&stop), Arc::clone(&reads));
            // Each begins at another place.
            let first = number * reads.len() / READERS;
            workers.spawn(async move {
                let next = |number: usize| reads.get((first + number) % reads.len().max(1)).cloned();
                repeat(&connection, &stop, false, next).await
            });
        }
        for number in 0..WRITERS {
            let (connection, stop, sample) = (connect(address, "write").await?, Arc::clone(&stop), Arc::clone(&sample));
            let (names, first) = (names.clone(), number * names.len() / WRITERS);
            workers.spawn(async move {
                let next = |number: usize| {
                    let name = names.get((first + number) % names.len().max(1))?;
                    commands(&sample, &[name]).into_iter().next()
                };
                repeat(&connection, &stop, true, next).await
            });
        }
        left_out.sort_unstable();
        left_out.dedup();
        Ok(Self { workers, stop, texts, left_out })
    }

    /// The name of the statement that a text, which may be cut off, is of.
    pub fn name(&self, text: &str) -> &'static str {
        self.texts.iter().find(|(sql, _)| sql.starts_with(text)).map_or("a statement", |(_, name)| name)
    }

    /// Stops once what is under way has ended, and gives everything that was sent.
    pub async fn stop(self) -> Vec<Done> {
        self.stop.store(true, Ordering::Relaxed);
        self.workers.join_all().await.concat()
    }
}

/// A session as the server's own: its statements end after five seconds.
async fn connect(address: &str, kind: &str) -> Result<DatabaseConnection, DbErr> {
    let connection = administration::connect(address).await?;
    let settings =
        format!("SET application_name = 'trellis load {kind}'; SET lock_timeout = 0; SET statement_timeout = '5s'");
    connection.execute_unprepared(&settings).await?;
    Ok(connection)
}

/// The main statements of commands, made anew.
fn commands(sample: &Sample, names: &[&str]) -> Vec<NamedStatement> {
    let mut writes: Vec<NamedStatement> = Vec::new();
    for registered in registry::writes(sample) {
        let name = registered.name();
        if names.contains(&name) && writes.iter().all(|write| write.name() != name) {
            writes.push(registered.statement);
        }
    }
    writes
}

/// Those that the schema as it is can run, as far as there was time to try them.
async fn tried(
    connection: &DatabaseConnection,
    statements: Vec<NamedStatement>,
    left_out: &mut Vec<&'static str>,
) -> Vec<NamedStatement> {
    let end = Instant::now() + TRIAL;
    let mut good = Vec::new();
    for statement in statements {
        if Instant::now() > end {
            break;
        }
        match connection.query_all_raw(statement.clone().into()).await {
            Ok(_) => good.push(statement),
            Err(_) => left_out.push(statement.name()),
        }
    }
    good
}

/// What the server said, without what every error of a statement begins with.
pub fn in_short(error: &DbErr) -> String {
    let text = error.to_string();
    text.rsplit_once("error returned from database: ").map_or(text.as_str(), |(_, message)| message).to_owned()
}

/// Sends one statement after the other, until it is told to stop.
async fn repeat(
    connection: &DatabaseConnection,
    stop: &AtomicBool,
    writes: bool,
    next: impl Fn(usize) -> Option<NamedStatement>,
) -> Vec<Done> {
    // A deadlock is tried again by the server, and a timeout is told by its time.
    let is_passing =
        |error: &DbErr| sqlstate(error).is_some_and(|code| ["57014", "40001", "40P01"].contains(&code.as_str()));
    let (mut number, mut all) = (0, Vec::new());
    while let Some(statement) = next(number)
        && !stop.load(Ordering::Relaxed)
    {
        number += 1;
        let (name, began) = (statement.name(), Instant::now());
        let error = connection.query_all_raw(statement.into()).await.err();
        let ended = Instant::now();
        let error = error.filter(|error| !is_passing(error)).map(|error| in_short(&error));
        all.push(Done { name, writes, began, ended, error });
        tokio::time::sleep(PAUSE).await;
    }
    all
}
