//! A pool of connections to one server, and the two ways to use it: a `Reader` has no method that writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::{ConnAcquireErr, DbErr, QueryResult};
use tokio::sync::Mutex;

use super::administration::{parse_address, without_float_digits};
use super::connections::{CONNECTION_CHECK, Connection, Connections, Terms};
use super::consistency::{LogPosition, Sealer};
use super::pools::{Pool, Role};
use super::running::Running;
use super::{Batch, Executed, Meter, NamedStatement, Origin, Sent};
use crate::config::PoolSettings;
use crate::error::Error;
use crate::metrics::{Metrics, PoolMetrics, PoolSize, StatementMetrics};

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

    /// How long a statement of the door may take.
    fn statement_timeout_ms(self, settings: &PoolSettings) -> u64 {
        match self {
            Self::Primary => settings.statement_timeout_ms,
            Self::PrimaryReadOnly | Self::Replica => settings.report_timeout_ms,
        }
    }

    /// What every session of the door begins with.
    fn session(self, settings: &PoolSettings) -> String {
        // A commit that does not wait for the disk is no proof of anything, and what it wrote can be lost.
        let rights = match self {
            Self::Primary => {
                "SET default_transaction_read_only = off; SELECT set_config('synchronous_commit', 'on', false) \
                 WHERE current_setting('synchronous_commit') = 'off'"
            }
            Self::PrimaryReadOnly | Self::Replica => "SET default_transaction_read_only = on",
        };
        let statement_timeout_ms = self.statement_timeout_ms(settings);
        let check_ms = CONNECTION_CHECK.as_millis();
        // Compiling a plan costs more than it saves at these sizes: 547 against 332 ms on the largest report.
        format!(
            "{rights}; SET statement_timeout = {statement_timeout_ms}; SET lock_timeout = '1s'; \
             SET idle_in_transaction_session_timeout = '5s'; SET client_connection_check_interval = {check_ms}; \
             SET jit = off"
        )
    }
}

/// How much longer than PostgreSQL's own timeout a call may take before the server counts as silent.
const MARGIN: Duration = Duration::from_secs(1);

/// A pool of connections to one server.
#[derive(Debug)]
pub struct Door {
    connections: Arc<Connections>,
    pub(super) target: Target,
    name: String,
    metrics: PoolMetrics,
    statements: StatementMetrics,
    /// How long a statement may take before the log tells of it; none where it never does.
    slow: Option<Duration>,
}

impl Door {
    /// A door whose connections are opened when they are needed.
    pub(super) fn new(address: &str, pool: &Pool, settings: &PoolSettings, metrics: &Metrics) -> Result<Self, DbErr> {
        let name = format!("trellis {}", pool.door);
        let statement_timeout = Duration::from_millis(pool.role.statement_timeout_ms(settings));
        let terms = Terms {
            options: without_float_digits(parse_address(address)?).application_name(&name),
            session: pool.role.session(settings),
            max: pool.connections,
            acquire_timeout: Duration::from_millis(settings.acquire_timeout_ms),
            deadline: statement_timeout + MARGIN,
        };
        Ok(Self {
            connections: Arc::new(Connections::new(terms)),
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
        self.connections.size()
    }

    /// Closes the pool.
    pub(super) async fn close(&self) {
        self.connections.close().await;
    }

    /// The server does not answer: nothing that is under way is waited for.
    pub(super) fn lose(&self) {
        self.connections.lose();
    }

    /// Waits for a connection of the pool, and counts how long.
    pub(super) async fn acquire(&self, meter: &Meter) -> Result<Connection, DbErr> {
        let wait = Wait::begin(&self.metrics, meter);
        let acquired = self.connections.acquire().await;
        drop(wait);
        acquired.inspect_err(|error| {
            if let DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) = error {
                self.metrics.timed_out();
            }
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
        connection: &mut Connection,
        meter: &Meter,
        statement: NamedStatement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let running = Running::begin(self, meter, &statement);
        let comment = meter.origin().and_then(|origin| origin.comment.as_deref());
        let rows = connection.rows(statement, comment).await;
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

const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Reads rows through one door.
#[derive(Clone, Debug)]
pub struct Reader {
    door: Arc<Door>,
    meter: Meter,
    /// The transaction of a reader whose statements see one snapshot; begun by the first of them.
    snapshot: Option<Arc<Mutex<Option<Connection>>>>,
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
        let mut connection = snapshot.lock().await;
        let connection = match &mut *connection {
            Some(connection) => connection,
            none => {
                let mut connection = self.door.acquire(&self.meter).await?;
                connection.begin(BEGIN_SNAPSHOT).await?;
                none.insert(connection)
            }
        };
        Ok(self.door.run(connection, &self.meter, statement).await?)
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
    /// How far the log was behind the last commit.
    pub(super) reached: Arc<std::sync::Mutex<Option<LogPosition>>>,
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
    /// Proof of everything that this writer has committed until now; none where there is nothing, or where the
    /// primary acknowledged it and did not say more.
    #[must_use]
    pub fn consistency_token(&self) -> Option<String> {
        let reached = *self.reached.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        reached.map(|position| self.sealer.seal(position))
    }
}
