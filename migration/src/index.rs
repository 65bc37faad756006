//! Builds and drops indexes without blocking writers; never takes an index that failed to build for a finished one.
//!
//! CREATE INDEX CONCURRENTLY cannot run in a transaction, so a failure is not undone: it leaves an INVALID index that
//! every write maintains, that no query uses, and that IF NOT EXISTS takes for done. A migration that is run again has
//! to drop it first. IF NOT EXISTS is for the other accident: the index was built and the migration's record was not
//! written.
//!
//! The caller owes two things. It sets `lock_timeout` in its connection options, because `SET LOCAL` needs a
//! transaction and a plain `SET` might reach another connection of the pool. And it holds an advisory lock around the
//! run, because an index is not valid either while somebody else is still building it.
//!
//! A concurrent build also waits for older transactions that hold a snapshot, under the same `lock_timeout`: a long
//! report makes it give up. Running the migration again is always safe.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::{DbErr, SchemaManager};

/// Creates the index `name`; `definition` is the rest of the statement, from `ON` to the predicate.
///
/// Done already, it does nothing. `name` is a lower-case identifier and becomes part of the SQL text as it is.
pub(crate) async fn create(
    manager: &SchemaManager<'_>,
    name: &'static str,
    definition: &'static str,
) -> Result<(), DbErr> {
    build(manager, "INDEX", name, definition).await
}

/// Creates the unique index `name`, like [`create`]; fails if rows that it covers have equal keys.
pub(crate) async fn create_unique(
    manager: &SchemaManager<'_>,
    name: &'static str,
    definition: &'static str,
) -> Result<(), DbErr> {
    build(manager, "UNIQUE INDEX", name, definition).await
}

/// Drops the index `name`, valid or not; done already, it does nothing.
pub(crate) async fn drop(manager: &SchemaManager<'_>, name: &'static str) -> Result<(), DbErr> {
    manager.get_connection().execute_unprepared(&format!("DROP INDEX CONCURRENTLY IF EXISTS {name}")).await?;
    Ok(())
}

async fn build(
    manager: &SchemaManager<'_>,
    kind: &'static str,
    name: &'static str,
    definition: &'static str,
) -> Result<(), DbErr> {
    if is_invalid(manager, name).await? {
        drop(manager, name).await?;
    }
    let sql = format!("CREATE {kind} CONCURRENTLY IF NOT EXISTS {name} {definition}");
    manager.get_connection().execute_unprepared(&sql).await?;
    Ok(())
}

async fn is_invalid(manager: &SchemaManager<'_>, name: &'static str) -> Result<bool, DbErr> {
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid",
        [name.into()],
    );
    let row = manager.get_connection().query_one_raw(statement).await?;
    Ok(row.is_some())
}
