//! Single connections for work beside the requests: making databases, migrations, seeds.

use std::time::Duration;

use sea_orm::sqlx::postgres::PgConnectOptions;
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
    check_address(address)?;
    let mut options = ConnectOptions::new(address);
    options
        .acquire_timeout(PATIENCE)
        .max_connections(1)
        .set_application_name("trellis administration")
        .sqlx_logging(false);
    // A statement whose client is gone ends within a second: what comes next does not find it still at work.
    let session = [("lock_timeout", LOCK_TIMEOUT), ("client_connection_check_interval", "1s")];
    options.map_sqlx_postgres_opts(move |connect| connect.options(session));
    sea_orm::Database::connect(options).await
}

/// Whether a statement failed because it waited too long for a lock.
#[must_use]
pub fn is_lock_timeout(error: &DbErr) -> bool {
    sqlstate(error).as_deref() == Some("55P03")
}

/// Refuses an address that cannot be read, without showing it: it holds a password.
pub(super) fn check_address(address: &str) -> Result<(), DbErr> {
    let parsed = address.parse::<PgConnectOptions>();
    let is_postgres = address.starts_with("postgres://") || address.starts_with("postgresql://");
    if parsed.is_ok() && is_postgres {
        return Ok(());
    }
    let message = "the address is not of the form postgres://user:password@host:5432/database; \
                   in a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25";
    Err(DbErr::Custom(message.to_owned()))
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
