//! Executes a statement of a transactional migration under a lock timeout, so that no migration stops the traffic.
//!
//! A statement that waits for ACCESS EXCLUSIVE makes everybody after it wait too. Giving up soon costs a retry of one
//! migration, which its transaction has undone as a whole; waiting costs an outage as long as the oldest transaction.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, SchemaManager};

/// Executes `sql`, which waits at most 3 s for each lock that it needs.
///
/// For migrations inside a transaction only: outside of one, `SET LOCAL` is without effect.
pub(crate) async fn execute(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    connection.execute_unprepared("SET LOCAL lock_timeout = '3s'").await?;
    connection.execute_unprepared(sql).await?;
    Ok(())
}
