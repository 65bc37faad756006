//! Looks at one server, again and again, over a connection of its own: whether it answers, what it is, how far it is.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::select_ok;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sea_orm::sqlx::{self, ConnectOptions, Connection, Row};
use sea_orm::{DbErr, RuntimeErr, Values};
use sea_query_sqlx::SqlxValues;
use tokio::time::{Instant, timeout};

use super::LogPosition;
use super::administration::{parse_address, without_float_digits};
use super::connections::unreachable;
use super::consistency::History;
use super::failure::sqlstate;
use super::health::Seen;
use super::inspection::{Inspection, StartError};
use super::replication::Freshness;
use super::server::Server;
use super::servers::Servers;
use super::statement::NamedStatement;
use crate::clock;

/// How often a server is looked at: usually, while somebody waits for it to get further, and while it is away.
const INTERVAL: Duration = Duration::from_millis(250);
const INTERVAL_OF_WAITING: Duration = Duration::from_millis(20);
const INTERVAL_OF_ABSENCE: Duration = Duration::from_millis(100);

/// How long a server may take to answer until it is asked over a new connection too, and until it counts as away: writes
/// that are under way are to be answered within a second.
const SECOND_THOUGHT: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_millis(700);

/// How often a replica that was away must have answered before it is used again.
const PROBATION: u32 = 3;

/// Looks at one server.
pub(super) struct Watcher {
    servers: Arc<Servers>,
    index: usize,
    server: Arc<Server>,
    max_staleness: Duration,
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    /// Whether the server answered the last time; none before the first.
    answers: Option<bool>,
    /// How often it has answered since it was away; none where it never was.
    returned: Option<u32>,
    is_late: bool,
    /// How long the slowest of its late answers took; the further back, the less it counts.
    slowest: Duration,
    /// When it was started, and its timeline, as it said last.
    said: Option<(i64, i32)>,
    /// What it has yet to pass before it is used, where it did not answer at the start.
    inspection: Option<Inspection>,
}

impl Watcher {
    pub(super) fn new(servers: &Arc<Servers>, index: usize, max_staleness: Duration) -> Result<Self, DbErr> {
        let server = Arc::clone(&servers.all[index]);
        let options = of_watcher(&server.address)?;
        Ok(Self {
            servers: Arc::clone(servers),
            index,
            server,
            max_staleness,
            options,
            connection: None,
            answers: None,
            returned: None,
            is_late: false,
            slowest: Duration::ZERO,
            said: None,
            inspection: None,
        })
    }

    /// Has the server pass an inspection before it is used: now, or where it does not answer, once it does.
    ///
    /// # Errors
    /// `Refused` where it answers and must not be used as it is.
    pub(super) async fn inspect(&mut self, inspection: Inspection) -> Result<(), StartError> {
        match inspection.pass().await {
            Ok(()) => Ok(()),
            Err(StartError::Unreachable(error)) => {
                self.miss(&error);
                self.inspection = Some(inspection);
                Ok(())
            }
            Err(refused) => Err(refused),
        }
    }

    /// Whether there is nothing to wait for: the server is away, or it is known how old its data is.
    pub(super) fn is_settled(&self) -> bool {
        self.answers == Some(false) || self.server.seen().is_some_and(|seen| seen.as_of.is_some())
    }

    /// Looks for ever.
    pub(super) async fn run(mut self) {
        loop {
            let began = Instant::now();
            if let Some(inspection) = &self.inspection {
                match inspection.pass().await {
                    Ok(()) => self.inspection = None,
                    Err(StartError::Unreachable(_)) => {}
                    Err(refused) => {
                        let server = &self.server.name;
                        tracing::error!(server, "the server is not used until the next start: {refused}");
                        return;
                    }
                }
            }
            self.look().await;
            let interval = match self.answers {
                Some(true) if self.server.health.is_waited_for() => INTERVAL_OF_WAITING,
                Some(true) => INTERVAL,
                _ => INTERVAL_OF_ABSENCE,
            };
            tokio::select! {
                () = tokio::time::sleep_until(began + interval) => {}
                // Those who nudge do so at every failure.
                () = self.server.health.nudged() => tokio::time::sleep_until(began + INTERVAL_OF_WAITING / 4).await,
            }
        }
    }

    /// Looks once, and publishes what was seen.
    pub(super) async fn look(&mut self) {
        if self.inspection.is_some() {
            return self.server.health.unanswered();
        }
        let (asked, seen) = match self.ask().await {
            Ok(answer) => answer,
            Err(error) => return self.miss(&error),
        };
        let mut history = None;
        if self.servers.wants_history(&seen) {
            history = match self.history(seen.position.timeline).await {
                Ok(history) => history,
                Err(error) => return self.miss(&error),
            };
        }
        // From here on nothing is waited for: what follows from each other is seen together.
        let seen = self.judge(asked, seen, history);
        self.server.metrics.seen(true, seen.as_of.map(|as_of| Freshness { as_of }.lag()));
        self.server.health.answered(seen, self.slowest);
    }

    /// The server does not answer.
    fn miss(&mut self, error: &DbErr) {
        if self.answers != Some(false) {
            tracing::warn!(server = self.server.name, %error, "the server does not answer");
        }
        self.answers = Some(false);
        self.returned = Some(0);
        self.slowest = Duration::ZERO;
        self.server.metrics.seen(false, None);
        // In this order: what is given up now must not try it again.
        self.server.health.unanswered();
        self.server.lose();
    }

    /// Completes what the server said of itself with what follows from it.
    fn judge(&mut self, asked: DateTime<Utc>, mut seen: Seen, history: Option<History>) -> Seen {
        if self.answers != Some(true) {
            tracing::info!(server = self.server.name, "the server answers");
        }
        self.answers = Some(true);
        match self.said {
            // One that follows nobody any more tells the timeline of its last restartpoint: none goes back to an older one.
            Some((started, timeline)) if started == seen.started => {
                seen.position.timeline = seen.position.timeline.max(timeline);
            }
            // It was away, and back before anybody looked.
            Some(_) => self.server.lose(),
            None => {}
        }
        self.said = Some((seen.started, seen.position.timeline));
        self.returned = self.returned.map(|times| times.saturating_add(1)).filter(|times| *times < PROBATION);
        if self.servers.learn(self.index, &seen, history) {
            self.servers.samples.add(asked, seen.position.bytes);
        }
        let as_of = self.servers.samples.as_of(seen.position.bytes);
        let lag = as_of.map(|as_of| Freshness { as_of }.lag());
        // Back only when it is clearly good again, so that it does not go to and fro.
        let limit = if self.is_late { self.max_staleness / 4 * 3 } else { self.max_staleness };
        self.is_late = lag.is_none_or(|lag| lag > limit);
        Seen { as_of, is_late: self.is_late, is_on_probation: self.returned.is_some(), ..seen }
    }

    /// Asks the server for itself, and says when. The connection is kept only where it answers.
    async fn ask(&mut self) -> Result<(DateTime<Utc>, Seen), DbErr> {
        let (asked, began, is_connected) = (clock::now(), Instant::now(), self.connection.is_some());
        let rows = self.rows(server_seen()).await?;
        let took = if is_connected { began.elapsed() } else { Duration::ZERO };
        self.slowest = took.max(self.slowest / 16 * 15);
        let seen = rows.first().map(Seen::decode).ok_or_else(|| unreachable("no position"))??;
        Ok((asked, seen))
    }

    /// Whether writes of earlier timelines were lost. Not everyone may ask, and none where the server could not say for
    /// now.
    async fn history(&mut self, timeline: i32) -> Result<Option<History>, DbErr> {
        let text = match self.rows(History::of(timeline)).await {
            Ok(rows) => rows.first().and_then(|row| row.try_get::<Option<String>, _>(0).ok()?),
            Err(error) => match sqlstate(&error).as_deref() {
                // insufficient_privilege
                Some("42501") => None,
                Some(_) => return Ok(None),
                None => return Err(error),
            },
        };
        if text.is_none() && timeline > 1 {
            tracing::warn!(
                "after a promotion, writes that it lost are not told to their clients: our role may not read the history \
                 of timelines (GRANT EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint, boolean))"
            );
        }
        Ok(Some(History::read(timeline, text.as_deref())))
    }

    async fn rows(&mut self, statement: NamedStatement) -> Result<Vec<PgRow>, DbErr> {
        // To connect takes much memory, and is rare.
        let (connection, rows) = Box::pin(ask(&self.options, self.connection.take(), &statement)).await?;
        self.connection = Some(connection);
        Ok(rows)
    }
}

/// What a server answered, and the connection over which it did.
type Answered = Result<(PgConnection, Vec<PgRow>), sqlx::Error>;

/// Asks over a connection; where that has ended or is silent, over a new one.
async fn ask(
    options: &PgConnectOptions,
    connection: Option<PgConnection>,
    statement: &NamedStatement,
) -> Result<(PgConnection, Vec<PgRow>), DbErr> {
    let over_new = async { ask_over(options.connect().await?, statement).await };
    let asked = async {
        let Some(connection) = connection else { return over_new.await };
        let mut over_open = pin!(ask_over(connection, statement));
        match timeout(SECOND_THOUGHT, &mut over_open).await {
            Ok(Ok(answered)) => Ok(answered),
            // The session may have ended, and the server be well.
            Ok(Err(_)) => over_new.await,
            Err(_) => {
                let both: [Pin<&mut (dyn Future<Output = Answered> + Send)>; 2] = [over_open, pin!(over_new)];
                select_ok(both).await.map(|(answered, _)| answered)
            }
        }
    };
    let asked = timeout(PATIENCE, asked).await;
    let asked = asked.map_err(|_| unreachable(format!("no answer within {} ms", PATIENCE.as_millis())))?;
    asked.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))
}

async fn ask_over(mut connection: PgConnection, statement: &NamedStatement) -> Answered {
    let values = SqlxValues(Values(statement.values().to_vec()));
    let query = sqlx::query_with(sqlx::AssertSqlSafe(statement.sql()), values);
    let rows = query.fetch_all(&mut connection).await?;
    Ok((connection, rows))
}

fn of_watcher(address: &str) -> Result<PgConnectOptions, DbErr> {
    let options = without_float_digits(parse_address(address)?).application_name("trellis watcher");
    Ok(options.disable_statement_logging())
}

/// What a server says of itself, asked once; none where it does not answer.
pub(super) async fn seen_at(address: &str) -> Option<Seen> {
    let options = of_watcher(address).ok()?;
    let (connection, rows) = ask(&options, None, &server_seen()).await.ok()?;
    let _ = connection.close().await;
    Seen::decode(rows.first()?).ok()
}

/// Asks a server what it is, and how far its log is.
pub(super) fn server_seen() -> NamedStatement {
    // Where commits do not wait for the flush, what was acknowledged is only sure to be in the log's buffers. Who may
    // not see the receiver's timeline gets that of the last restartpoint, which is never newer.
    let sql = "SELECT c.system_identifier, \
               CASE WHEN r.is_in_recovery \
               THEN greatest((SELECT received_tli FROM pg_stat_wal_receiver), k.timeline_id, m.min_recovery_end_timeline) \
               ELSE ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int END, \
               ((CASE WHEN r.is_in_recovery THEN coalesce(pg_last_wal_replay_lsn(), '0/0') \
               WHEN current_setting('synchronous_commit') = 'off' THEN pg_current_wal_insert_lsn() \
               ELSE pg_current_wal_flush_lsn() END) - '0/0'::pg_lsn)::bigint, \
               r.is_in_recovery, (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint \
               FROM pg_control_system() c, pg_control_checkpoint() k, pg_control_recovery() m, \
               (SELECT pg_is_in_recovery() AS is_in_recovery) r";
    NamedStatement::new("server_seen", sql, [])
}

impl Seen {
    fn decode(row: &PgRow) -> Result<Self, DbErr> {
        let decode = || {
            let position = LogPosition { system: row.try_get(0)?, timeline: row.try_get(1)?, bytes: row.try_get(2)? };
            Ok::<_, sqlx::Error>(Self {
                position,
                is_in_recovery: row.try_get(3)?,
                started: row.try_get(4)?,
                as_of: None,
                is_late: false,
                is_on_probation: false,
            })
        };
        decode().map_err(|error| DbErr::Type(error.to_string()))
    }
}
