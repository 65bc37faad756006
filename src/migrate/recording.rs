//! Records the SQL that a migration sends, without a database: what is linted is what would run, and what the doctor
//! expects is what was run.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::{Database, DbBackend, DbErr, ProxyDatabaseTrait, ProxyExecResult, ProxyRow, Statement};
use sea_orm_migration::{MigrationTrait, SchemaManager, async_trait};

/// Which way a migration goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It is applied.
    Up,
    /// It is taken back.
    Down,
}

/// The statements that change something, in the order in which the migration sends them.
///
/// # Errors
/// The migration wants answers that only a database can give.
pub async fn record(migration: &dyn MigrationTrait, direction: Direction) -> Result<Vec<String>, DbErr> {
    let recorder = Recorder::default();
    let connection = Database::connect_proxy(DbBackend::Postgres, Arc::new(Box::new(recorder.clone()))).await?;
    let manager = SchemaManager::new(&connection);
    match direction {
        Direction::Up => migration.up(&manager).await?,
        Direction::Down => migration.down(&manager).await?,
    }
    let statements = std::mem::take(&mut *recorder.statements.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(statements)
}

/// Stands where the database does.
///
/// Each question is answered once with a row and then with none, so that a migration that asks whether something is in
/// its way, like an invalid index, shows what it would do about it.
#[derive(Clone, Debug, Default)]
struct Recorder {
    statements: Arc<Mutex<Vec<String>>>,
    answered: Arc<Mutex<HashSet<String>>>,
}

#[async_trait::async_trait]
impl ProxyDatabaseTrait for Recorder {
    async fn query(&self, statement: Statement) -> Result<Vec<ProxyRow>, DbErr> {
        let is_new = self.answered.lock().unwrap_or_else(PoisonError::into_inner).insert(statement.sql);
        Ok(if is_new { vec![ProxyRow::default()] } else { Vec::new() })
    }

    async fn execute(&self, statement: Statement) -> Result<ProxyExecResult, DbErr> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).push(statement.to_string());
        Ok(ProxyExecResult::default())
    }
}
