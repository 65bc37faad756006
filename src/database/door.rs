//! A pool of connections to one server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::sqlx::ConnectOptions;
use sea_orm::{ConnAcquireErr, DbErr, QueryResult};

use super::administration::{parse_address, without_float_digits};
use super::connections::{CONNECTION_CHECK, Connection, Connections, Terms, unreachable};
use super::consistency::LogPosition;
use super::failure::{is_lost, is_outdated, is_share_taken};
use super::health::{Health, Seen};
use super::pools::{Pool, Role};
use super::running::Running;
use super::{Executed, Meter, NamedStatement, Origin, Sent};
use crate::config::PoolSettings;
use crate::metrics::{Metrics, PoolMetrics, PoolSize, StatementMetrics, TimedOut};

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
        let (statement_timeout_ms, lock_timeout_ms) = (self.statement_timeout_ms(settings), settings.lock_timeout_ms);
        let check_ms = CONNECTION_CHECK.as_millis();
        // Compiling a plan costs more than it saves at these sizes: 547 against 332 ms on the largest report.
        format!(
            "{rights}; SET statement_timeout = {statement_timeout_ms}; SET lock_timeout = {lock_timeout_ms}; \
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
    health: Arc<Health>,
    name: String,
    metrics: PoolMetrics,
    statements: StatementMetrics,
    /// How long a statement may take before the log tells of it; none where it never does.
    slow: Option<Duration>,
}

impl Door {
    /// A door whose connections are opened when they are needed.
    pub(super) fn new(
        address: &str,
        pool: &Pool,
        health: &Arc<Health>,
        settings: &PoolSettings,
        metrics: &Metrics,
    ) -> Result<Self, DbErr> {
        let name = format!("trellis {}", pool.door);
        let statement_timeout = Duration::from_millis(pool.role.statement_timeout_ms(settings));
        let terms = Terms {
            options: without_float_digits(parse_address(address)?).application_name(&name).disable_statement_logging(),
            session: pool.role.session(settings),
            max: pool.connections,
            acquire_timeout: Duration::from_millis(settings.acquire_timeout_ms),
            deadline: statement_timeout + MARGIN,
        };
        Ok(Self {
            connections: Arc::new(Connections::new(terms)),
            health: Arc::clone(health),
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

    /// What kind of server is behind it now.
    pub(super) fn target(&self) -> Target {
        if self.health.follows() { Target::Replica } else { Target::Primary }
    }

    /// A statement that goes through this door.
    pub(super) fn sent(&self, statement: NamedStatement) -> Sent {
        Sent { door: self.name.clone(), target: self.target(), statement }
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
        let acquired = self.call(self.connections.acquire(&meter.claim())).await;
        drop(wait);
        acquired.inspect_err(|error| {
            match error {
                DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => self.metrics.timed_out(TimedOut::Busy),
                error if is_share_taken(error) => self.metrics.timed_out(TimedOut::Share),
                _ => {}
            }
            self.doubt(error);
        })
    }

    /// Has the server looked at where an error may be the first sign of its end.
    fn doubt(&self, error: &DbErr) {
        if is_lost(error) {
            self.connections.distrust();
            self.health.nudge();
        }
    }

    /// A call to the server. A replica that gives no sign of life meanwhile is not waited for: others can answer instead.
    async fn call<T>(&self, call: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        if !self.health.follows() {
            return self.watched(call).await;
        }
        tokio::select! {
            done = self.watched(call) => done,
            () = self.health.silence() => {
                if self.health.suspect() {
                    tracing::warn!(door = self.name, "the server gives no sign of life; others are asked instead");
                }
                Err(unreachable("the server gives no sign of life"))
            }
        }
    }

    /// A call to the server, which is looked at often once the call takes long.
    pub(super) async fn watched<T>(&self, call: impl Future<Output = T>) -> T {
        self.health.watched(call).await
    }

    /// Begins a transaction; over a new connection, where the one at hand turns out to be broken and the server well.
    pub(super) async fn begin(&self, meter: &Meter) -> Result<Connection, DbErr> {
        let connection = self.acquire(meter).await?;
        match self.begin_on(connection, meter).await {
            Err(error) if is_lost(&error) && self.health.seen().is_some() => {
                let connection = self.acquire(meter).await?;
                self.begin_on(connection, meter).await
            }
            begun => begun,
        }
    }

    async fn begin_on(&self, mut connection: Connection, meter: &Meter) -> Result<Connection, DbErr> {
        let running = Running::named(self, meter, "begin");
        let begun = self.call(connection.begin("BEGIN")).await.inspect_err(|error| self.doubt(error));
        running.end(begun.as_ref().map(Vec::len));
        begun.map(|_| connection)
    }

    /// Begins a transaction whose statements see one snapshot, on the server as it was `seen`; and says how far the
    /// log is that the snapshot holds.
    pub(super) async fn snapshot(&self, meter: &Meter, seen: &Seen) -> Result<(Connection, LogPosition), DbErr> {
        let mut connection = self.acquire(meter).await?;
        let rows = self.call(connection.begin(BEGIN_SNAPSHOT)).await.inspect_err(|error| self.doubt(error))?;
        let row = rows.into_iter().next().map(QueryResult::from).ok_or_else(|| unreachable("no position"))?;
        let (started, is_in_recovery): (i64, bool) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        if (started, is_in_recovery) != (seen.started, seen.is_in_recovery) {
            self.health.suspect();
            return Err(unreachable("the server is not what it was: it was restarted or promoted"));
        }
        Ok((connection, LogPosition { bytes: row.try_get_by_index(2)?, ..seen.position }))
    }

    /// Waits for a connection, and runs one statement on it; on a new one, where a migration came in between.
    pub(super) async fn rows(&self, meter: &Meter, statement: NamedStatement) -> Result<Vec<QueryResult>, DbErr> {
        let rows = self.rows_once(meter, statement.clone()).await;
        if rows.as_ref().is_err_and(is_outdated) { Box::pin(self.rows_once(meter, statement)).await } else { rows }
    }

    async fn rows_once(&self, meter: &Meter, statement: NamedStatement) -> Result<Vec<QueryResult>, DbErr> {
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
        let rows = self.call(connection.rows(statement, comment)).await.inspect_err(|error| self.doubt(error));
        running.end(rows.as_ref().map(Vec::len));
        meter.shown(rows.as_deref().unwrap_or_default());
        Ok(rows?.into_iter().map(QueryResult::from).collect())
    }

    /// Counts a batch of so many keys of a kind.
    pub(super) fn batched(&self, kind: &'static str, keys: usize) {
        self.statements.batched(kind, keys);
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

/// Begins a snapshot. The position is asked for in it, and so is not before what it shows.
const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
    SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint, r.is_in_recovery, \
    ((CASE WHEN r.is_in_recovery THEN coalesce(pg_last_wal_replay_lsn(), '0/0') ELSE pg_current_wal_flush_lsn() END) \
    - '0/0'::pg_lsn)::bigint FROM (SELECT pg_is_in_recovery() AS is_in_recovery) r";
