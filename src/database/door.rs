//! A pool of connections to one server, and the two ways to use it: a `Reader` has no method that writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{self, PgConnection, Postgres, SqlSafeStr};
use sea_orm::{ConnAcquireErr, ConnectOptions, DatabaseConnection, DbErr, QueryResult, RuntimeErr, Values};
use sea_query_sqlx::SqlxValues;
use tokio::sync::Mutex;

use super::administration::{parse_address, set_on_connect, without_float_digits};
use super::consistency::{LogPosition, Sealer};
use super::pools::{Pool, Role};
use super::running::Running;
use super::{Batch, Executed, Meter, NamedStatement, Origin, Sent};
use crate::config::PoolSettings;
use crate::error::Error;
use crate::metrics::{Metrics, PoolMetrics, PoolSize, StatementMetrics};

/// A transaction on a connection of a pool.
pub(super) type PoolTransaction = sqlx::Transaction<'static, Postgres>;

/// Which kind of server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The server that takes the writes.
    Primary,
    /// A streaming copy of it.
    Replica,
}

impl Target {
    /// Its name for people and for monitoring.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}

impl Role {
    fn target(self) -> Target {
        match self {
            Self::Primary | Self::PrimaryReadOnly => Target::Primary,
            Self::Replica => Target::Replica,
        }
    }

    /// What every session of the door begins with.
    fn session(self, settings: &PoolSettings) -> String {
        let (read_only, statement_timeout_ms) = match self {
            Self::Primary => ("off", settings.statement_timeout_ms),
            Self::PrimaryReadOnly | Self::Replica => ("on", settings.report_timeout_ms),
        };
        // Compiling a plan costs more than it saves at these sizes: 547 against 332 ms on the largest report.
        format!(
            "SET default_transaction_read_only = {read_only}; SET statement_timeout = {statement_timeout_ms}; \
             SET lock_timeout = '1s'; SET idle_in_transaction_session_timeout = '5s'; SET jit = off"
        )
    }
}

/// A pool of connections to one server.
#[derive(Debug)]
pub struct Door {
    pub(super) pool: DatabaseConnection,
    pub(super) target: Target,
    name: String,
    metrics: PoolMetrics,
    statements: StatementMetrics,
    /// How long a statement may take before the log tells of it; none where it never does.
    slow: Option<Duration>,
}

impl Door {
    /// Opens a pool. Only the primary is asked for a connection at once: a replica that is down must not stop the start.
    #[expect(clippy::disallowed_methods, reason = "this is where connections are opened")]
    pub(super) async fn open(
        address: &str,
        pool: &Pool,
        settings: &PoolSettings,
        metrics: &Metrics,
    ) -> Result<Self, DbErr> {
        parse_address(address)?;
        let mut options = ConnectOptions::new(address);
        options
            .max_connections(pool.connections)
            .acquire_timeout(Duration::from_millis(settings.acquire_timeout_ms))
            .set_application_name(format!("trellis {}", pool.door))
            .connect_lazy(pool.role != Role::Primary)
            // A ping before each use would be a round trip for each statement.
            .test_before_acquire(false)
            .test_before_acquire_if_idle_for(Duration::from_secs(30))
            .sqlx_logging(false);
        let session = pool.role.session(settings);
        options.map_sqlx_postgres_opts(without_float_digits);
        options.map_sqlx_postgres_pool_opts(move |pool| set_on_connect(pool, session.clone()));
        Ok(Self {
            pool: sea_orm::Database::connect(options).await?,
            target: pool.role.target(),
            name: pool.door.clone(),
            metrics: metrics.pool(&pool.door),
            statements: metrics.statements(),
            slow: Some(settings.slow_statement_ms).filter(|ms| *ms > 0).map(Duration::from_millis),
        })
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

    /// The pool's connections now.
    pub(super) fn size(&self) -> PoolSize {
        let pool = self.pool.get_postgres_connection_pool();
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
        PoolSize { in_use: pool.size().saturating_sub(idle), idle, max: pool.options().get_max_connections() }
    }

    /// Closes the pool.
    pub(super) async fn close(&self) {
        if let Err(error) = self.pool.close_by_ref().await {
            tracing::warn!(door = self.name, %error, "the pool did not close cleanly");
        }
    }

    /// Waits for a connection of the pool, and counts how long.
    pub(super) async fn acquire(&self, meter: &Meter) -> Result<PoolConnection<Postgres>, DbErr> {
        let wait = Wait::begin(&self.metrics, meter);
        let acquired = self.pool.get_postgres_connection_pool().acquire().await;
        drop(wait);
        acquired.map_err(|error| match error {
            sqlx::Error::PoolTimedOut => {
                self.metrics.timed_out();
                DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)
            }
            sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
            error => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
        })
    }

    /// Waits for a connection, and runs one statement on it.
    pub(super) async fn rows(&self, meter: &Meter, statement: NamedStatement) -> Result<Vec<QueryResult>, DbErr> {
        let mut connection = self.acquire(meter).await?;
        self.run(&mut connection, meter, statement).await
    }

    /// Runs one statement on `connection`, which belongs to this door, and counts it.
    pub(super) async fn run(
        &self,
        connection: &mut PgConnection,
        meter: &Meter,
        statement: NamedStatement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let running = Running::begin(self, meter, &statement);
        let NamedStatement { statement, .. } = statement;
        let values = SqlxValues(statement.values.unwrap_or(Values(Vec::new())));
        let query = sqlx::query_with(sqlx::AssertSqlSafe(statement.sql), values);
        let rows = query.fetch_all(connection).await.map_err(query_error);
        running.end(rows.as_ref().map(Vec::len));
        Ok(rows?.into_iter().map(QueryResult::from).collect())
    }

    /// Counts a statement, and tells of it in the log where it was slow. Its values may be anybody's secrets.
    pub(super) fn record(&self, meter: &Meter, executed: Executed) {
        let Executed { name, target, keys, rows, elapsed, .. } = executed;
        self.statements.ran(name, target.name(), elapsed);
        if self.slow.is_some_and(|slow| elapsed >= slow) {
            let (operation, request_id) = meter.origin().map_or(("-", "-"), Origin::names);
            tracing::warn!(
                statement = name,
                target = target.name(),
                duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                rows,
                keys,
                failure = executed.failure.as_deref().unwrap_or("none"),
                operation,
                request_id,
                "slow statement"
            );
        }
        meter.record(executed);
    }
}

/// A wait for a connection. It is counted when it ends, also where the one who waits is given up.
struct Wait<'a> {
    metrics: &'a PoolMetrics,
    meter: &'a Meter,
    started: Instant,
}

impl<'a> Wait<'a> {
    fn begin(metrics: &'a PoolMetrics, meter: &'a Meter) -> Self {
        metrics.wait_began();
        Self { metrics, meter, started: Instant::now() }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let waited = self.started.elapsed();
        self.metrics.wait_ended(waited);
        self.meter.record_wait(waited);
    }
}

/// Begins a transaction with a statement, which may say what kind of transaction it is.
pub(super) async fn begin(
    connection: PoolConnection<Postgres>,
    statement: &'static str,
) -> Result<PoolTransaction, DbErr> {
    // What the pool's own `begin_with` does once it has a connection.
    PoolTransaction::begin(connection, Some(statement.into_sql_str())).await.map_err(query_error)
}

/// As SeaORM tells it.
pub(super) fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Reads rows through one door.
#[derive(Clone, Debug)]
pub struct Reader {
    door: Arc<Door>,
    meter: Meter,
    /// The transaction of a reader whose statements see one snapshot; begun by the first of them.
    snapshot: Option<Arc<Mutex<Option<PoolTransaction>>>>,
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
        let Some(snapshot) = &self.snapshot else { return self.rows_now(statement).await };
        let mut transaction = snapshot.lock().await;
        let transaction = match &mut *transaction {
            Some(transaction) => transaction,
            none => none.insert(begin(self.door.acquire(&self.meter).await?, BEGIN_SNAPSHOT).await?),
        };
        Ok(self.door.run(transaction, &self.meter, statement).await?)
    }

    /// The same reader, for the statements of one batch of so many keys of a kind. The batch ends when it is dropped.
    #[must_use]
    pub fn batch(&self, kind: &'static str, keys: usize) -> Batch {
        self.door.statements.batched(kind, keys);
        Batch::begin(self, kind, keys)
    }

    /// The same reader, whose statements count with another meter.
    pub(super) fn counted_by(&self, meter: Meter) -> Self {
        Self { meter, ..self.clone() }
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Runs one statement outside the snapshot.
    pub(super) async fn rows_now(&self, statement: NamedStatement) -> Result<Vec<QueryResult>, Error> {
        Ok(self.door.rows(&self.meter, statement).await?)
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
        let rows = self.door.rows(&self.meter, LogPosition::of_primary()).await?;
        let row = rows.first().ok_or_else(|| DbErr::RecordNotFound("no position".to_owned()))?;
        Ok(self.sealer.seal(LogPosition::decode(row)?))
    }
}
