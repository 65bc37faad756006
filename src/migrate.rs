//! Runs migrations: one run at a time, each reported, none waiting long for a lock.

pub mod lint;
pub(crate) mod recording;
pub mod rehearsal;

use std::time::Duration;

use anyhow::Context;
use migration::Migrator;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use sea_orm_migration::MigratorTrait;

use crate::config::MigrateAction;
use crate::database::{NamedStatement, administration};

/// The key of the advisory lock that a run holds: "trellis" in ASCII.
const LOCK_KEY: i64 = 0x74_72_65_6c_6c_69_73;

/// How often a run that waits for another one looks again.
const LOCK_INTERVAL: Duration = Duration::from_millis(200);

/// How often a migration that does not get its lock is tried.
const ATTEMPTS: u32 = 3;

/// How long it waits before it is tried again, so that those who have queued behind it go first.
const PAUSE: Duration = Duration::from_secs(1);

/// Does what the command line asks for, and says what it did, a line each.
///
/// # Errors
/// The server does not answer, or a migration fails; what came before it stays done, and a next run goes on there.
pub async fn run(address: &str, action: MigrateAction, mut say: impl FnMut(String)) -> anyhow::Result<()> {
    let lock = administration::connect(address).await.context("the database cannot be reached")?;
    let connection = administration::connect(address).await.context("the database cannot be reached")?;
    if let MigrateAction::Status = action {
        let standing = Standing::of(&connection).await?;
        for name in names() {
            say(format!("{}  {name}", if standing.pending.contains(&name) { "pending" } else { "applied" }));
        }
        for name in standing.unknown {
            say(format!("applied  {name}, by another version"));
        }
        return Ok(());
    }
    acquire(&lock, &mut say).await?;
    let outcome = match action {
        MigrateAction::Down { steps } => down(&connection, steps, &mut say).await,
        _ => up(&connection, &mut say).await,
    };
    // Closing the connection gives the lock back.
    lock.close().await?;
    outcome
}

/// How many migrations a database lacks.
///
/// # Errors
/// The server does not answer.
pub async fn pending(address: &str) -> anyhow::Result<usize> {
    let connection = administration::connect(address).await.context("the database cannot be reached")?;
    let pending = Standing::of(&connection).await?.pending.len();
    connection.close().await?;
    Ok(pending)
}

/// The names of all migrations, oldest first.
fn names() -> Vec<String> {
    Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect()
}

/// How far a database is, also one that a newer version has migrated: this version has to start on it all the same, and
/// the migrator itself would fail.
pub(crate) struct Standing {
    pub(crate) applied: Vec<String>,
    pub(crate) pending: Vec<String>,
    /// On record, and not a migration of this version.
    pub(crate) unknown: Vec<String>,
}

impl Standing {
    pub(crate) async fn of(connection: &DatabaseConnection) -> anyhow::Result<Self> {
        let recorded = recorded(connection).await?;
        let known = names();
        let unknown = recorded.iter().filter(|name| !known.contains(name)).cloned().collect();
        let (applied, pending) = known.into_iter().partition(|name| recorded.contains(name));
        Ok(Self { applied, pending, unknown })
    }

    /// Refuses to go on between migrations of this version and of another.
    fn refuse_unknown(&self) -> anyhow::Result<()> {
        let unknown = self.unknown.join(", ");
        anyhow::ensure!(unknown.is_empty(), "another version has applied {unknown}: migrate with that version");
        Ok(())
    }
}

/// The names of the migrations on record, oldest first; none where there is no record.
async fn recorded(connection: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    let [record, applied] = statements();
    if connection.query_one_raw(record.into()).await?.is_none() {
        return Ok(Vec::new());
    }
    connection.query_all_raw(applied.into()).await?.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// What a server asks at its start: whether there is a record of migrations, and which are on it.
#[must_use]
pub fn statements() -> [NamedStatement; 2] {
    let record = "SELECT WHERE to_regclass('seaql_migrations') IS NOT NULL";
    let applied = "SELECT version FROM seaql_migrations ORDER BY version";
    [NamedStatement::new("migration_record", record, []), NamedStatement::new("migrations_applied", applied, [])]
}

/// Takes the lock by asking again and again. A session that waits inside `pg_advisory_lock` holds a snapshot, and a
/// concurrent index build of the lock's holder would wait for that snapshot for ever.
async fn acquire(lock: &DatabaseConnection, say: &mut impl FnMut(String)) -> anyhow::Result<()> {
    let mut told = false;
    loop {
        let statement =
            Statement::from_sql_and_values(DbBackend::Postgres, "SELECT pg_try_advisory_lock($1)", [LOCK_KEY.into()]);
        let row = lock.query_one_raw(statement).await?;
        if row.is_some_and(|row| row.try_get_by_index(0).unwrap_or(false)) {
            return Ok(());
        }
        if !told {
            say("waiting for another run of migrations to end".to_owned());
            told = true;
        }
        tokio::time::sleep(LOCK_INTERVAL).await;
    }
}

async fn up(connection: &DatabaseConnection, say: &mut impl FnMut(String)) -> anyhow::Result<()> {
    let standing = Standing::of(connection).await?;
    if standing.pending.is_empty() {
        say(match standing.unknown.len() {
            0 => "nothing to apply".to_owned(),
            number => format!("nothing to apply; another version has applied {number} more"),
        });
        return Ok(());
    }
    standing.refuse_unknown()?;
    for name in standing.pending {
        patiently(&name, say, async || Migrator::up(connection, Some(1)).await)
            .await
            .with_context(|| format!("{name} failed; run migrate again"))?;
        say(format!("applied  {name}"));
    }
    Ok(())
}

async fn down(connection: &DatabaseConnection, steps: u32, say: &mut impl FnMut(String)) -> anyhow::Result<()> {
    let standing = Standing::of(connection).await?;
    standing.refuse_unknown()?;
    if standing.applied.is_empty() {
        say("nothing to take back".to_owned());
    }
    for name in standing.applied.iter().rev().take(usize::try_from(steps)?) {
        patiently(name, say, async || Migrator::down(connection, Some(1)).await)
            .await
            .with_context(|| format!("{name} could not be taken back"))?;
        say(format!("taken back  {name}"));
    }
    Ok(())
}

/// Takes a step again where it does not get its lock; nothing of it is done then, or only half an index.
async fn patiently(
    name: &str,
    say: &mut impl FnMut(String),
    step: impl AsyncFn() -> Result<(), DbErr>,
) -> Result<(), DbErr> {
    for _ in 1..ATTEMPTS {
        match step().await {
            Err(error) if administration::is_locked_out(&error) => {
                say(format!("locked out  {name}; it is tried again in {} s", PAUSE.as_secs()));
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
    step().await
}
