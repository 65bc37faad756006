//! What goes on while a migration runs: reads and writes as requests send them, each with its time. A write is made in
//! a transaction and under an idempotency key.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};
use tokio::task::JoinSet;

use crate::database::{NamedStatement, administration, is_outdated, sqlstate};
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

/// What is written again and again: every table. `member_add` makes a user too.
const WRITES: [&str; 10] = [
    "task_create",
    "task_update",
    "comment_create",
    "comment_update",
    "tasks_update",
    "project_create",
    "project_update",
    "workspace_update",
    "member_add",
    "member_update",
];

/// What comes before and after each of them in its transaction, since it is made under an idempotency key.
const CLAIM: &str = "idempotency_claim";
const KEEP: &str = "idempotency_keep";

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
    /// What it failed with, where that was neither a timeout nor something that the server tries again by itself.
    pub error: Option<String>,
    /// Whether its connection had prepared it for a column that has another type now. Then it was sent again over a new
    /// one, as the server does.
    pub outdated: bool,
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
        let mut left_out = Vec::new();
        let reads = tried(&connection, reads, &mut left_out).await;
        let writes = commands(&sample, WRITES.into_iter().chain([CLAIM, KEEP]));
        let writes = tried(&connection, writes, &mut left_out).await;
        connection.close().await?;
        let texts =
            reads.iter().chain(&writes).map(|statement| (statement.sql().to_owned(), statement.name())).collect();
        let good: BTreeSet<&'static str> = writes.iter().map(NamedStatement::name).collect();

        let (stop, mut workers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        let (sample, reads) = (Arc::new(sample), Arc::new(reads));
        for number in 0..READERS {
            let (session, reads) = (Session::open(address, Role::Reader, &stop).await?, Arc::clone(&reads));
            // Each begins at another place.
            let first = number * reads.len() / READERS;
            workers.spawn(session.repeat(move |number| {
                let read = reads.get((first + number) % reads.len().max(1));
                read.into_iter().cloned().collect()
            }));
        }
        for number in 0..WRITERS {
            let (session, sample) = (Session::open(address, Role::Writer, &stop).await?, Arc::clone(&sample));
            let (good, first) = (good.clone(), number * WRITES.len() / WRITERS);
            workers.spawn(session.repeat(move |number| {
                let main = WRITES[(first + number) % WRITES.len()];
                let all = if good.contains(main) { vec![CLAIM, main, KEEP] } else { Vec::new() };
                commands(&sample, all.into_iter().filter(|name| good.contains(name)))
            }));
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

/// Statements of these names, made anew, in this order.
fn commands(sample: &Sample, names: impl Iterator<Item = &'static str>) -> Vec<NamedStatement> {
    let made = registry::writes(sample);
    let find = |name| made.iter().find(|registered| registered.name() == name);
    names.filter_map(find).map(|registered| registered.statement.clone()).collect()
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

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Statements, each by itself.
    Reader,
    /// Transactions.
    Writer,
}

/// A connection that sends until it is told to stop.
struct Session {
    role: Role,
    address: String,
    connection: DatabaseConnection,
    stop: Arc<AtomicBool>,
    done: Vec<Done>,
}

impl Session {
    async fn open(address: &str, role: Role, stop: &Arc<AtomicBool>) -> Result<Self, DbErr> {
        let connection = connect(address, role.name()).await?;
        Ok(Self { role, address: address.to_owned(), connection, stop: Arc::clone(stop), done: Vec::new() })
    }

    /// Sends what `next` gives for 0, 1, 2, …; nothing, where it gives nothing.
    async fn repeat(mut self, next: impl Fn(usize) -> Vec<NamedStatement>) -> Vec<Done> {
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let statements = next(number);
            number += 1;
            if self.send(&statements).await.is_err_and(|error| is_outdated(&error)) {
                if let Ok(connection) = connect(&self.address, self.role.name()).await {
                    self.connection = connection;
                }
                let _ = self.send(&statements).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.done
    }

    /// Sends them, of a writer in a transaction, until one fails.
    async fn send(&mut self, statements: &[NamedStatement]) -> Result<(), DbErr> {
        if self.role == Role::Reader {
            return self.run(statements).await;
        }
        self.connection.execute_unprepared("BEGIN").await?;
        let sent = self.run(statements).await;
        self.connection.execute_unprepared(if sent.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        sent
    }

    async fn run(&mut self, statements: &[NamedStatement]) -> Result<(), DbErr> {
        // A deadlock is tried again by the server, and a timeout is told by its time.
        let is_passing = |error: &DbErr| {
            is_outdated(error)
                || sqlstate(error).is_some_and(|code| ["57014", "40001", "40P01"].contains(&code.as_str()))
        };
        for statement in statements {
            let began = Instant::now();
            let sent = self.connection.query_all_raw(statement.clone().into()).await.map(drop);
            let error = sent.as_ref().err();
            self.done.push(Done {
                name: statement.name(),
                writes: self.role == Role::Writer,
                began,
                ended: Instant::now(),
                error: error.filter(|error| !is_passing(error)).map(in_short),
                outdated: error.is_some_and(is_outdated),
            });
            sent?;
        }
        Ok(())
    }
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Reader => "read",
            Self::Writer => "write",
        }
    }
}
