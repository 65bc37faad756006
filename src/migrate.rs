//! Runs migrations: one run at a time, each reported, none waiting long for a lock.

use std::time::Duration;

use anyhow::Context;
use migration::Migrator;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use sea_orm_migration::{MigrationStatus, MigratorTrait};

use crate::config::MigrateAction;
use crate::database::administration;

/// The key of the advisory lock that a run holds: "trellis" in ASCII.
const LOCK_KEY: i64 = 0x74_72_65_6c_6c_69_73;

/// How often a run that waits for another one looks again.
const LOCK_INTERVAL: Duration = Duration::from_millis(200);

/// Does what the command line asks for, and says what it did, a line each.
///
/// # Errors
/// The server does not answer, or a migration fails; what came before it stays done, and a next run goes on there.
pub async fn run(address: &str, action: MigrateAction, mut say: impl FnMut(String)) -> anyhow::Result<()> {
    let lock = administration::connect(address).await.context("the database cannot be reached")?;
    let connection = administration::connect(address).await.context("the database cannot be reached")?;
    if let MigrateAction::Status = action {
        for migration in Migrator::get_migration_with_status_read_only(&connection).await? {
            let status = match migration.status() {
                MigrationStatus::Applied => "applied",
                MigrationStatus::Pending => "pending",
            };
            say(format!("{status}  {}", migration.name()));
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
    let pending = Migrator::get_pending_migrations_read_only(&connection).await?.len();
    connection.close().await?;
    Ok(pending)
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
    let pending = Migrator::get_pending_migrations(connection).await?;
    for migration in &pending {
        let name = migration.name();
        Migrator::up(connection, Some(1)).await.with_context(|| format!("{name} failed; run migrate again"))?;
        say(format!("applied  {name}"));
    }
    if pending.is_empty() {
        say("nothing to apply".to_owned());
    }
    Ok(())
}

async fn down(connection: &DatabaseConnection, steps: u32, say: &mut impl FnMut(String)) -> anyhow::Result<()> {
    let applied = Migrator::get_applied_migrations(connection).await?;
    for migration in applied.iter().rev().take(usize::try_from(steps)?) {
        let name = migration.name();
        Migrator::down(connection, Some(1)).await.with_context(|| format!("{name} could not be taken back"))?;
        say(format!("taken back  {name}"));
    }
    if applied.is_empty() {
        say("nothing to take back".to_owned());
    }
    Ok(())
}
