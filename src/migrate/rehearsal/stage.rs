//! Runs the statements of a migration on the scratch database, as `trellis migrate` would, and watches each.
//!
//! A migration in Rust gets a connection that passes everything on: what is rehearsed is what it really sends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use migration::File;
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, FromQueryResult, ProxyDatabaseTrait,
    ProxyExecResult, ProxyRow, Statement, from_query_result_to_proxy_row,
};
use sea_orm_migration::{SchemaManager, async_trait};
use tokio::sync::Mutex;

use super::load::in_short;
use super::lock::Lock;
use crate::database::{administration, sqlstate};

/// "Cannot run inside a transaction block."
const ACTIVE_TRANSACTION: &str = "25001";

/// The words that begin and end a transaction.
pub(super) const BEGIN: [&str; 2] = ["BEGIN", "START"];
pub(super) const END: [&str; 4] = ["COMMIT", "END", "ROLLBACK", "ABORT"];

/// A statement that was run.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it belongs to.
    pub migration: String,
    /// Its text, on one line.
    pub statement: String,
    /// When it was sent.
    pub began: Instant,
    /// When it or, in a transaction, the next one or the commit was done with: until then its locks are held.
    pub ended: Instant,
    /// How long it took itself.
    pub elapsed: Duration,
    /// The strongest lock on a table that was there before, at its end; none where that can only be seen from outside.
    pub lock: Option<Lock>,
    /// Tables that were there before and have got other files.
    pub rewritten: Vec<String>,
    /// What all sessions of the server wrote to the log meanwhile.
    pub wal_bytes: i64,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether that was since it did not get its lock in time.
    pub locked_out: bool,
}

#[derive(FromQueryResult)]
struct Table {
    id: i64,
    name: String,
    file: i64,
}

const TABLES: &str = "
SELECT oid::bigint AS id, relname::text AS name, coalesce(pg_relation_filenode(oid), 0)::bigint AS file
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'seaql_migrations'";

#[derive(FromQueryResult)]
struct Held {
    mode: String,
    name: String,
    id: i64,
}

const HELD: &str = "
SELECT l.mode, c.relname::text AS name, c.oid::bigint AS id FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND l.granted AND l.locktype = 'relation'";

const POSITION: &str = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint";

/// A session that runs migrations. Clones share it.
#[derive(Clone, Debug)]
pub struct Stage(Arc<Mutex<Session>>);

#[derive(Debug)]
struct Session {
    connection: DatabaseConnection,
    /// The tables that were there before.
    tables: Vec<i64>,
    migration: String,
    in_transaction: bool,
    steps: Vec<Step>,
}

impl Stage {
    /// Opens it; locks are waited for as `trellis migrate` waits.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn open(address: &str) -> anyhow::Result<Self> {
        let connection = administration::connect(address).await?;
        let tables = tables(&connection).await?.into_iter().map(|table| table.id).collect();
        let (migration, steps) = (String::new(), Vec::new());
        Ok(Self(Arc::new(Mutex::new(Session { connection, tables, migration, in_transaction: false, steps }))))
    }

    /// The process of the server that serves it, and the tables that were there before.
    pub async fn identity(&self) -> Result<(i32, Vec<i64>), DbErr> {
        let session = self.0.lock().await;
        Ok((value(&session.connection, "SELECT pg_backend_pid()").await?, session.tables.clone()))
    }

    /// How far the server's log is, in bytes.
    pub async fn position(&self) -> Result<i64, DbErr> {
        value(&self.0.lock().await.connection, POSITION).await
    }

    /// Every step so far.
    pub async fn steps(&self) -> Vec<Step> {
        self.0.lock().await.steps.clone()
    }

    /// Applies a migration of Trellis.
    pub async fn migrate(&self, file: &File) -> Result<(), DbErr> {
        let proxy = Database::connect_proxy(DbBackend::Postgres, Arc::new(Box::new(self.clone()))).await?;
        file.migration.name().clone_into(&mut self.0.lock().await.migration);
        if file.migration.use_transaction() == Some(false) {
            return file.migration.up(&SchemaManager::new(&proxy)).await;
        }
        self.0.lock().await.control("BEGIN").await?;
        let done = file.migration.up(&SchemaManager::new(&proxy)).await;
        let ended = self.0.lock().await.control(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
        done.and(ended)
    }

    /// Runs statements of a file, until one fails; what it began is undone then.
    pub async fn run(&self, file: &str, statements: &[String]) -> Result<(), DbErr> {
        let mut session = self.0.lock().await;
        file.clone_into(&mut session.migration);
        for sql in statements {
            let done = session.execute(Statement::from_string(DbBackend::Postgres, sql)).await;
            if done.is_err() && session.in_transaction {
                session.control("ROLLBACK").await?;
            }
            done?;
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl ProxyDatabaseTrait for Stage {
    async fn query(&self, statement: Statement) -> Result<Vec<ProxyRow>, DbErr> {
        let rows = self.0.lock().await.connection.query_all_raw(statement).await?;
        Ok(rows.iter().map(from_query_result_to_proxy_row).collect())
    }

    async fn execute(&self, statement: Statement) -> Result<ProxyExecResult, DbErr> {
        self.0.lock().await.execute(statement).await
    }
}

impl Session {
    async fn execute(&mut self, statement: Statement) -> Result<ProxyExecResult, DbErr> {
        let text = statement.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        let first = text.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match first.as_str() {
            word if BEGIN.contains(&word) || END.contains(&word) => {
                self.control(if BEGIN.contains(&word) { "BEGIN" } else { word }).await?;
                Ok(ProxyExecResult::default())
            }
            // No step, but what the steps run under.
            "SET" | "RESET" => self.send(&statement).await,
            _ => self.step(text, &statement).await,
        }
    }

    /// Begins or ends a transaction.
    async fn control(&mut self, word: &str) -> Result<(), DbErr> {
        self.connection.execute_unprepared(word).await?;
        if self.in_transaction {
            self.extend();
        }
        self.in_transaction = word == "BEGIN";
        Ok(())
    }

    /// The locks of the last step are held until now.
    fn extend(&mut self) {
        if let Some(step) = self.steps.last_mut() {
            step.ended = Instant::now();
        }
    }

    async fn send(&self, statement: &Statement) -> Result<ProxyExecResult, DbErr> {
        match &statement.values {
            Some(_) => self.connection.execute_raw(statement.clone()).await.map(ProxyExecResult::from),
            None => self.connection.execute_unprepared(&statement.sql).await.map(ProxyExecResult::from),
        }
    }

    async fn step(&mut self, text: String, statement: &Statement) -> Result<ProxyExecResult, DbErr> {
        let goes_on = self.in_transaction;
        if goes_on {
            self.extend();
        }
        let before = tables(&self.connection).await?;
        let position: i64 = value(&self.connection, POSITION).await?;
        let mut began = Instant::now();
        if !goes_on {
            self.connection.execute_unprepared("BEGIN").await?;
        }
        let mut done = self.send(statement).await;
        let mut elapsed = began.elapsed();
        let mut lock = None;
        if done.is_ok() {
            lock = self.strongest().await?;
        }
        if !goes_on {
            self.connection.execute_unprepared(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
            if done.as_ref().is_err_and(|error| sqlstate(error).as_deref() == Some(ACTIVE_TRANSACTION)) {
                began = Instant::now();
                done = self.send(statement).await;
                elapsed = began.elapsed();
            }
        }
        let ended = Instant::now();
        let (mut rewritten, mut wal_bytes) = (Vec::new(), 0);
        // A transaction that failed answers nothing more.
        if done.is_ok() || !goes_on {
            rewritten = changed(&before, &tables(&self.connection).await?);
            wal_bytes = value::<i64>(&self.connection, POSITION).await? - position;
        }
        let error = done.as_ref().err();
        self.steps.push(Step {
            migration: self.migration.clone(),
            statement: text,
            began,
            ended,
            elapsed,
            lock,
            rewritten,
            wal_bytes,
            error: error.map(in_short),
            locked_out: error.is_some_and(administration::is_locked_out),
        });
        done
    }

    /// The strongest lock that the open transaction has on a table that was there before.
    async fn strongest(&self) -> Result<Option<Lock>, DbErr> {
        let held = Statement::from_string(DbBackend::Postgres, HELD);
        let held = Held::find_by_statement(held).all(&self.connection).await?;
        let on_table = held.into_iter().filter(|held| self.tables.contains(&held.id));
        Ok(on_table.filter_map(|held| Lock::of(&held.mode, held.name)).max())
    }
}

async fn tables(connection: &DatabaseConnection) -> Result<Vec<Table>, DbErr> {
    Table::find_by_statement(Statement::from_string(DbBackend::Postgres, TABLES)).all(connection).await
}

/// The names of tables whose rows are in another file now.
fn changed(before: &[Table], after: &[Table]) -> Vec<String> {
    let is_new = |table: &&Table| before.iter().any(|before| before.id == table.id && before.file != table.file);
    after.iter().filter(is_new).map(|table| table.name.clone()).collect()
}

async fn value<T: sea_orm::TryGetable>(connection: &DatabaseConnection, sql: &str) -> Result<T, DbErr> {
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.ok_or_else(|| DbErr::RecordNotFound(sql.to_owned()))?.try_get_by_index(0)
}
