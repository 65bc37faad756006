//! Single connections for work beside the requests: making databases, migrations, seeds.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sea_orm::sqlx::{self, Executor};
use sea_orm::{AccessMode, ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, FromQueryResult};
use sea_orm::{Statement, TransactionTrait};

use super::failure::sqlstate;

/// How long a statement waits for a lock, as PostgreSQL writes it.
pub const LOCK_TIMEOUT: &str = "3s";

/// Opens one connection, without a limit on how long a statement may take; on locks it waits three seconds at most, so
/// that a migration that cannot have its lock does not hold up everybody who comes after it.
///
/// # Errors
/// The server does not answer, or refuses.
#[expect(clippy::disallowed_methods, reason = "this is where connections are opened")]
pub async fn connect(address: &str) -> Result<DatabaseConnection, DbErr> {
    parse_address(address)?;
    let mut options = ConnectOptions::new(address);
    options
        .acquire_timeout(PATIENCE)
        .max_connections(1)
        // One that is replaced loses what was set in the session, and its locks: those of a long migration among them.
        .idle_timeout(None)
        .max_lifetime(None)
        .set_application_name("trellis administration")
        .sqlx_logging(false);
    options.map_sqlx_postgres_opts(without_float_digits);
    // A statement whose client is gone ends within a second: what comes next does not find it still at work.
    let session = format!("SET lock_timeout = '{LOCK_TIMEOUT}'; SET client_connection_check_interval = '1s'");
    options.map_sqlx_postgres_pool_opts(move |pool| set_on_connect(pool, session.clone()));
    sea_orm::Database::connect(options).await
}

/// Whether a statement failed because it did not get a lock: it waited too long, or for somebody who waited for it.
#[must_use]
pub fn is_locked_out(error: &DbErr) -> bool {
    matches!(sqlstate(error).as_deref(), Some("55P03" | "40P01"))
}

/// Leaves out what a pooler refuses at the start of a session. Since PostgreSQL 12 numbers are exact without it.
pub(super) fn without_float_digits(options: PgConnectOptions) -> PgConnectOptions {
    options.extra_float_digits(None)
}

/// Has every connection of a pool begin with `settings`. Sent along when a session starts, they would be refused by a
/// pooler, or lost in one that is told to ignore them.
pub(super) fn set_on_connect(pool: PgPoolOptions, settings: String) -> PgPoolOptions {
    let settings = Arc::new(settings);
    pool.after_connect(move |connection, _| {
        let settings = Arc::clone(&settings);
        Box::pin(async move {
            connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(settings))).await?;
            Ok(())
        })
    })
}

/// Reads an address. The refusal of one that cannot be read does not show it: it holds a password.
pub(super) fn parse_address(address: &str) -> Result<PgConnectOptions, DbErr> {
    let is_postgres = address.starts_with("postgres://") || address.starts_with("postgresql://");
    let parsed = address.parse::<PgConnectOptions>().ok().filter(|_| is_postgres);
    // Slow statements are told by their doors, with the operation and without the text.
    parsed.map(sqlx::ConnectOptions::disable_statement_logging).ok_or_else(|| {
        let message = "the address is not of the form postgres://user:password@host:5432/database; \
                       in a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25";
        DbErr::Custom(message.to_owned())
    })
}

/// Asks something in a read-only transaction of its own, which leaves nothing behind in the session.
///
/// # Errors
/// The server does not answer within ten seconds, or refuses.
pub async fn ask<T: FromQueryResult>(connection: &DatabaseConnection, sql: &str) -> Result<Vec<T>, DbErr> {
    let transaction = connection.begin_with_config(None, Some(AccessMode::ReadOnly)).await?;
    transaction.execute_unprepared("SET LOCAL statement_timeout = '10s'").await?;
    let rows = T::find_by_statement(Statement::from_string(DbBackend::Postgres, sql)).all(&transaction).await;
    transaction.rollback().await?;
    rows
}

/// Makes a database where there is none of that name.
///
/// # Errors
/// The server does not answer, or refuses.
pub async fn ensure_database(maintenance_address: &str, name: &str) -> Result<(), DbErr> {
    let connection = connect(maintenance_address).await?;
    let find = || Statement::from_sql_and_values(DbBackend::Postgres, FIND_DATABASE, [name.into()]);
    if connection.query_one_raw(find()).await?.is_none() {
        let made = connection.execute_unprepared(&format!("CREATE DATABASE \"{name}\"")).await;
        // Another process may have made it in between.
        if let Err(error) = made
            && connection.query_one_raw(find()).await?.is_none()
        {
            return Err(error);
        }
    }
    connection.close().await
}

/// How long a server may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(5);

const FIND_DATABASE: &str = "SELECT 1 FROM pg_database WHERE datname = $1";
