//! A pool of connections to one server, and the two ways to use it: a `Reader` has no method that writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::{AccessMode, ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr};
use sea_orm::{IsolationLevel, QueryResult, TransactionTrait};
use tokio::sync::Mutex;

use super::administration::{parse_address, set_on_connect, without_float_digits};
use super::consistency::{LogPosition, Sealer};
use super::{Executed, Meter, NamedStatement, Sent};
use crate::config::PoolSettings;
use crate::error::Error;

/// Which kind of server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The server that takes the writes.
    Primary,
    /// A streaming copy of it.
    Replica,
}

/// What sets one door apart from the others.
pub(super) struct Access {
    target: Target,
    name: String,
    read_only: bool,
}

impl Access {
    pub(super) fn primary() -> Self {
        Self { target: Target::Primary, name: "primary".to_owned(), read_only: false }
    }

    /// The primary, read-only: a write through it fails whatever the SQL says.
    pub(super) fn fallback() -> Self {
        Self { target: Target::Primary, name: "primary-read-only".to_owned(), read_only: true }
    }

    /// Read-only even where the address is the primary's, so that a write through the wrong door fails in every test.
    pub(super) fn replica(index: usize) -> Self {
        Self { target: Target::Replica, name: format!("replica-{}", index + 1), read_only: true }
    }
}

/// A pool of connections to one server.
#[derive(Debug)]
pub struct Door {
    pub(super) pool: DatabaseConnection,
    pub(super) target: Target,
    name: String,
}

impl Door {
    /// Opens a pool. Only the primary is asked for a connection at once: a replica that is down must not stop the start.
    #[expect(clippy::disallowed_methods, reason = "this is where connections are opened")]
    pub(super) async fn open(address: &str, access: Access, pools: &PoolSettings) -> Result<Self, DbErr> {
        let (connections, statement_timeout_ms) = if access.read_only {
            (pools.report_connections, pools.report_timeout_ms)
        } else {
            (pools.primary_connections, pools.statement_timeout_ms)
        };
        parse_address(address)?;
        let mut options = ConnectOptions::new(address);
        options
            .max_connections(connections)
            .acquire_timeout(Duration::from_millis(pools.acquire_timeout_ms))
            .set_application_name(format!("trellis {}", access.name))
            .connect_lazy(access.read_only)
            // A ping before each use would be a round trip for each statement.
            .test_before_acquire(false)
            .test_before_acquire_if_idle_for(Duration::from_secs(30))
            .sqlx_logging(false);
        let read_only = if access.read_only { "on" } else { "off" };
        // Compiling a plan costs more than it saves at these sizes: 547 against 332 ms on the largest report.
        let session = format!(
            "SET default_transaction_read_only = {read_only}; SET statement_timeout = {statement_timeout_ms}; \
             SET lock_timeout = '1s'; SET idle_in_transaction_session_timeout = '5s'; SET jit = off"
        );
        options.map_sqlx_postgres_opts(without_float_digits);
        options.map_sqlx_postgres_pool_opts(move |pool| set_on_connect(pool, session.clone()));
        let pool = sea_orm::Database::connect(options).await?;
        Ok(Self { pool, target: access.target, name: access.name })
    }

    /// The door's name in logs and in `freshness { replica }`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A statement that goes through this door.
    pub(super) fn sent(&self, statement: NamedStatement) -> Sent {
        Sent { door: self.name.clone(), target: self.target, statement }
    }

    /// Closes the pool.
    pub(super) async fn close(&self) {
        if let Err(error) = self.pool.close_by_ref().await {
            tracing::warn!(door = self.name, %error, "the pool did not close cleanly");
        }
    }

    /// Runs one statement on `connection`, which belongs to this door, and counts it.
    pub(super) async fn run(
        &self,
        connection: &impl ConnectionTrait,
        meter: &Meter,
        statement: NamedStatement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let sent = meter.sent(self, &statement);
        let started = Instant::now();
        let rows = connection.query_all_raw(statement.statement).await;
        meter.record(Executed {
            name: statement.name,
            target: self.target,
            keys: statement.keys,
            rows: rows.as_ref().map_or(0, Vec::len),
            elapsed: started.elapsed(),
            sent,
        });
        rows
    }
}

/// Reads rows through one door.
#[derive(Clone, Debug)]
pub struct Reader {
    door: Arc<Door>,
    meter: Meter,
    /// The transaction of a reader whose statements see one snapshot; begun by the first of them.
    snapshot: Option<Arc<Mutex<Option<DatabaseTransaction>>>>,
}

impl Reader {
    pub(super) fn new(door: &Arc<Door>, meter: &Meter) -> Self {
        Self { door: Arc::clone(door), meter: meter.clone(), snapshot: None }
    }

    /// A reader whose statements all see the database as it is at the first of them. They run one after the other, in
    /// a transaction that ends when the reader and its clones are gone.
    pub(super) fn of_snapshot(door: &Arc<Door>, meter: &Meter) -> Self {
        Self { snapshot: Some(Arc::default()), ..Self::new(door, meter) }
    }

    /// The same reader; where it sees a snapshot, with a new one, which has what was written since.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self { snapshot: self.snapshot.as_ref().map(|_| Arc::default()), ..self.clone() }
    }

    /// A statement as this reader sends it.
    #[must_use]
    pub fn sent(&self, statement: NamedStatement) -> Sent {
        self.door.sent(statement)
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// The database failed, could not be reached, or was too slow.
    pub async fn rows(&self, statement: NamedStatement) -> Result<Vec<QueryResult>, Error> {
        let Some(snapshot) = &self.snapshot else {
            return Ok(self.door.run(&self.door.pool, &self.meter, statement).await?);
        };
        let mut transaction = snapshot.lock().await;
        let transaction = match &mut *transaction {
            Some(transaction) => transaction,
            none => none.insert(self.begin_snapshot().await?),
        };
        Ok(self.door.run(transaction, &self.meter, statement).await?)
    }

    /// Runs one statement outside the snapshot.
    pub(super) async fn rows_now(&self, statement: NamedStatement) -> Result<Vec<QueryResult>, Error> {
        Ok(self.door.run(&self.door.pool, &self.meter, statement).await?)
    }

    async fn begin_snapshot(&self) -> Result<DatabaseTransaction, DbErr> {
        let (isolation, access) = (IsolationLevel::RepeatableRead, AccessMode::ReadOnly);
        self.door.pool.begin_with_config(Some(isolation), Some(access)).await
    }
}

/// Writes through the primary. Only a mutation's route holds one.
#[derive(Clone, Debug)]
pub struct Writer {
    pub(super) door: Arc<Door>,
    pub(super) meter: Meter,
    pub(super) sealer: Sealer,
    pub(super) effect: Effect,
}

/// What becomes of what a writer has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It is committed.
    Lasting,
    /// It is rolled back.
    Discarded,
}

impl Writer {
    /// Proof of everything that has been committed until now.
    ///
    /// # Errors
    /// The primary does not answer.
    pub async fn consistency_token(&self) -> Result<String, Error> {
        let rows = self.door.run(&self.door.pool, &self.meter, LogPosition::of_primary()).await?;
        let row = rows.first().ok_or_else(|| DbErr::RecordNotFound("no position".to_owned()))?;
        Ok(self.sealer.seal(LogPosition::decode(row)?))
    }
}
