//! The connections of one door: a few, each lent to one borrower at a time, and none lent that is in the middle of
//! something.
//!
//! A pool of our own, because a server that vanishes silently must cost no more than a deadline: sqlx's own waits for a
//! connection that is given back to answer, for ever if need be, and asks again and again where it is refused.

use std::fmt::{Debug, Formatter, Result as FormatResult};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgRow, PgSeverity};
use sea_orm::sqlx::{self, ConnectOptions, Connection as _, Either, Executor};
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, Values};
use sea_query_sqlx::SqlxValues;
use tokio::sync::watch;
use tokio::time::timeout;

use super::NamedStatement;
use super::failure::{is_outdated, share_taken};
use super::line::{Line, Place};
use super::tenants::Claim;
use crate::metrics::PoolSize;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a connection serves, and how long it waits for a borrower, before it is closed.
const LIFETIME: Duration = Duration::from_mins(30);
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// How long a statement whose borrower has gone may still take for its connection to be kept. One that takes longer is
/// closed, which ends the statement (`client_connection_check_interval`).
const AFTERMATH: Duration = Duration::from_millis(50);

/// How soon PostgreSQL finds out that nobody waits for a statement any more: it looks at the socket so often.
pub(super) const CONNECTION_CHECK: Duration = Duration::from_millis(100);

/// What the connections of a door have in common.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Where they lead, and under which name.
    pub(super) options: PgConnectOptions,
    /// What every session begins with.
    pub(super) session: String,
    /// How many there may be.
    pub(super) max: u32,
    /// How long a borrower waits for one.
    pub(super) acquire_timeout: Duration,
    /// How long a call may take. PostgreSQL's own timeouts come before it; it is for a server that does not answer.
    pub(super) deadline: Duration,
}

/// The connections of one door.
pub(super) struct Connections {
    terms: Terms,
    line: Arc<Line>,
    idle: Mutex<Vec<Idle>>,
    /// What has happened since. Who waits is woken when the server is lost.
    era: watch::Sender<Era>,
}

/// What has happened to a server. No connection of an earlier era is lent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Era {
    /// How often the server was lost. What was under way then was given up.
    losses: u64,
    /// How often a table was found to be another one than statements had been prepared for.
    changes: u64,
}

/// A connection that nobody uses.
struct Idle {
    raw: PgConnection,
    opened: Instant,
    since: Instant,
    era: Era,
}

impl Debug for Connections {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> FormatResult {
        formatter.debug_struct("Connections").field("size", &self.size()).finish_non_exhaustive()
    }
}

impl Connections {
    /// None are opened yet.
    pub(super) fn new(terms: Terms) -> Self {
        let line = Arc::new(Line::new(terms.max));
        Self { terms, line, idle: Mutex::default(), era: watch::Sender::default() }
    }

    /// How many there are now.
    pub(super) fn size(&self) -> PoolSize {
        let idle = u32::try_from(self.idle().len()).unwrap_or(u32::MAX);
        PoolSize { in_use: self.line.taken(), idle, max: self.terms.max }
    }

    /// How long a call may take.
    pub(super) fn deadline(&self) -> Duration {
        self.terms.deadline
    }

    /// Lends a connection, of those that are open or a new one.
    ///
    /// # Errors
    /// `ConnectionAcquire(Timeout)` where all were busy for too long, [`share_taken`] where it was those that `claim`
    /// allows; else the server cannot be reached.
    pub(super) async fn acquire(self: &Arc<Self>, claim: &Claim) -> Result<Connection, DbErr> {
        let mut lost = self.era.subscribe();
        let place = tokio::select! {
            place = timeout(self.terms.acquire_timeout, self.line.wait(claim)) => place,
            _ = lost.changed() => return Err(unreachable("the server was lost")),
        };
        let place = match place {
            Ok(Some(place)) => place,
            Ok(None) => return Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)),
            Err(_) if self.line.is_share_taken(claim) => return Err(share_taken()),
            Err(_) => return Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)),
        };
        // The place may come from one who was given up with the server: a new connection would be waited for in vain.
        if lost.has_changed().unwrap_or(true) {
            return Err(unreachable("the server was lost"));
        }
        let era = *lost.borrow();
        let (raw, opened) = if let Some(idle) = self.take_idle(era) {
            (idle.raw, idle.opened)
        } else {
            let opened = tokio::select! {
                // It is large, and rare.
                opened = timeout(CONNECT_TIMEOUT, Box::pin(self.open())) => opened,
                _ = lost.changed() => return Err(unreachable("the server was lost")),
            };
            (opened.map_err(|_| silent(CONNECT_TIMEOUT))?.map_err(connection_error)?, Instant::now())
        };
        let pool = Arc::clone(self);
        let state = State::Ready;
        let place = Some(place);
        Ok(Connection { raw: Some(raw), opened, state, in_transaction: false, lost, era, pool, place })
    }

    /// A connection that is open and good.
    fn take_idle(&self, era: Era) -> Option<Idle> {
        let mut idle = self.idle();
        idle.retain(|idle| idle.is_good(era));
        idle.pop()
    }

    async fn open(&self) -> Result<PgConnection, sqlx::Error> {
        let mut raw = self.terms.options.connect().await?;
        raw.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(self.terms.session.clone()))).await?;
        Ok(raw)
    }

    /// A connection broke: those that nobody uses may be broken too, and are closed.
    pub(super) fn distrust(&self) {
        self.idle().clear();
    }

    /// The server does not answer any more: what is under way is given up, and every connection is closed.
    pub(super) fn lose(&self) {
        self.era.send_modify(|era| era.losses += 1);
        self.idle().clear();
    }

    /// What a connection of this era has prepared does not fit the tables any more, and so it is with the others.
    fn outdate(&self, era: Era) {
        self.era.send_if_modified(|now| {
            if now.changes == era.changes {
                tracing::info!("a column has got another type: connections are opened anew");
                now.changes += 1;
            }
            // Nobody who waits needs to know.
            false
        });
    }

    /// Lends no more, waits for those that are lent, and takes leave of the server.
    pub(super) async fn close(&self) {
        // A borrower has its own deadlines.
        let patience = self.terms.deadline + CONNECT_TIMEOUT;
        if timeout(patience, self.line.close()).await.is_err() {
            tracing::warn!("a connection was still in use when its pool was closed");
        }
        let idle = std::mem::take(&mut *self.idle());
        for idle in idle {
            let _ = timeout(CONNECT_TIMEOUT, idle.raw.close()).await;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, raw: PgConnection, opened: Instant, era: Era) {
        let idle = Idle { raw, opened, since: Instant::now(), era };
        if idle.is_good(*self.era.borrow()) {
            self.idle().push(idle);
        }
    }
}

impl Idle {
    fn is_good(&self, era: Era) -> bool {
        self.era == era && self.opened.elapsed() < LIFETIME && self.since.elapsed() < IDLE_TIMEOUT
    }
}

/// What may be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It waits for a call.
    Ready,
    /// A call is under way, or was when its caller went.
    Busy,
    /// Nothing any more: it broke, or its server did not answer in time.
    Broken,
}

/// A connection on loan. It comes back when it is dropped, if it is as it was; what was under way is ended first.
pub(super) struct Connection {
    raw: Option<PgConnection>,
    opened: Instant,
    state: State,
    in_transaction: bool,
    lost: watch::Receiver<Era>,
    era: Era,
    pool: Arc<Connections>,
    place: Option<Place>,
}

impl Debug for Connection {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> FormatResult {
        formatter.debug_struct("Connection").field("state", &self.state).finish_non_exhaustive()
    }
}

/// Why a COMMIT was not acknowledged.
#[derive(Debug)]
pub(super) enum Uncommitted {
    /// It was refused: nothing was written.
    Refused(DbErr),
    /// It was sent, and the answer did not come.
    Unknown(DbErr),
}

impl Uncommitted {
    pub(super) fn cause(&self) -> &DbErr {
        let (Self::Refused(error) | Self::Unknown(error)) = self;
        error
    }
}

impl Connection {
    /// Runs a statement with its values, after a comment that tells PostgreSQL who asks.
    pub(super) async fn rows(&mut self, statement: NamedStatement, comment: Option<&str>) -> Result<Vec<PgRow>, DbErr> {
        let NamedStatement { statement, .. } = statement;
        let values = SqlxValues(statement.values.unwrap_or(Values(Vec::new())));
        let sql = match comment {
            Some(comment) => format!("{comment} {}", statement.sql),
            None => statement.sql,
        };
        // A text with a comment is never sent again, and must not push a statement out of those that stay prepared.
        let query = sqlx::query_with(sqlx::AssertSqlSafe(sql), values).persistent(comment.is_none());
        let rows = self.call(query, self.pool.deadline()).await;
        rows.inspect_err(|error| {
            if is_outdated(error) {
                self.pool.outdate(self.era);
            }
        })
    }

    /// Runs statements without values, in one message, and gives all their rows.
    pub(super) async fn simple(&mut self, sql: impl Into<String>, deadline: Duration) -> Result<Vec<PgRow>, DbErr> {
        let query = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.into()));
        self.call(query, deadline).await
    }

    /// Sends a query and waits for all its rows, until its deadline or until the server is lost.
    async fn call<'q>(
        &mut self,
        query: impl sqlx::Execute<'q, sqlx::Postgres> + 'q,
        deadline: Duration,
    ) -> Result<Vec<PgRow>, DbErr> {
        let (raw, lost) = self.begin_call()?;
        let called = tokio::select! {
            called = timeout(deadline, raw.fetch_all(query)) => called,
            _ = lost.changed() => return Err(self.give_up(unreachable("the server was lost"))),
        };
        self.end_call(called, deadline)
    }

    /// Begins a transaction. Whoever goes before it ends has it rolled back.
    pub(super) async fn begin(&mut self, sql: &str) -> Result<Vec<PgRow>, DbErr> {
        self.in_transaction = true;
        self.simple(sql, self.pool.deadline()).await
    }

    /// Undoes the transaction.
    pub(super) async fn rollback(&mut self) -> Result<(), DbErr> {
        self.simple("ROLLBACK", self.pool.deadline()).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Commits the transaction, and asks `question` behind that in the same message; gives the answer, where it came.
    pub(super) async fn commit(&mut self, question: &str) -> Result<Option<PgRow>, Uncommitted> {
        let query = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("COMMIT; {question}")));
        let deadline = self.pool.deadline();
        let mut is_done = false;
        let (raw, lost) = self.begin_call().map_err(Uncommitted::Refused)?;
        let conversation = async {
            let mut answers = query.fetch_many(raw);
            let mut row = None;
            while let Some(answer) = answers.try_next().await? {
                match answer {
                    Either::Left(_) => is_done = true,
                    Either::Right(found) => row = Some(found),
                }
            }
            Ok(row)
        };
        let called = tokio::select! {
            called = timeout(deadline, conversation) => called,
            _ = lost.changed() => Ok(Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionAborted.into()))),
        };
        let ended = self.end_call(called, deadline);
        match ended {
            Ok(row) => {
                self.in_transaction = false;
                Ok(row)
            }
            Err(error) if is_done => {
                tracing::warn!(%error, "what follows a commit failed");
                self.in_transaction = false;
                Ok(None)
            }
            // The server refused, and goes on: a session that it ends may have been past the commit.
            Err(error) if self.state == State::Ready => {
                self.in_transaction = false;
                Err(Uncommitted::Refused(error))
            }
            Err(error) => Err(Uncommitted::Unknown(error)),
        }
    }

    fn begin_call(&mut self) -> Result<(&mut PgConnection, &mut watch::Receiver<Era>), DbErr> {
        // Nothing is sent to a server that was lost, a COMMIT least of all.
        if self.lost.has_changed().unwrap_or(true) {
            self.state = State::Broken;
        }
        let is_ready = self.state == State::Ready;
        let raw = self.raw.as_mut().filter(|_| is_ready);
        let raw = raw.ok_or_else(|| unreachable("the connection broke earlier in this transaction"))?;
        self.state = State::Busy;
        Ok((raw, &mut self.lost))
    }

    fn end_call<T>(
        &mut self,
        called: Result<Result<T, sqlx::Error>, tokio::time::error::Elapsed>,
        deadline: Duration,
    ) -> Result<T, DbErr> {
        match called {
            Ok(Ok(answer)) => {
                self.state = State::Ready;
                Ok(answer)
            }
            Ok(Err(error)) => {
                let goes_on = matches!(&error, sqlx::Error::Database(refusal) if !ends_session(refusal.as_ref()))
                    || matches!(error, sqlx::Error::Encode(_));
                self.state = if goes_on { State::Ready } else { State::Broken };
                Err(DbErr::Query(RuntimeErr::SqlxError(error.into())))
            }
            Err(_) => Err(self.give_up(silent(deadline))),
        }
    }

    fn give_up(&mut self, error: DbErr) -> DbErr {
        self.state = State::Broken;
        error
    }
}

/// Whether the server closes the session after this error.
fn ends_session(error: &dyn sqlx::error::DatabaseError) -> bool {
    let error = error.try_downcast_ref::<PgDatabaseError>();
    error.is_none_or(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}

impl Drop for Connection {
    fn drop(&mut self) {
        let (Some(mut raw), Some(place)) = (self.raw.take(), self.place.take()) else { return };
        let (pool, opened, era) = (Arc::clone(&self.pool), self.opened, self.era);
        let (state, in_transaction) = (self.state, self.in_transaction);
        match (state, in_transaction, tokio::runtime::Handle::try_current()) {
            (State::Ready, false, _) => pool.give_back(raw, opened, era),
            (State::Ready | State::Busy, _, Ok(runtime)) => {
                runtime.spawn(async move {
                    let ended = async {
                        // What has not been read yet of the last call is read first.
                        raw.ping().await?;
                        if in_transaction {
                            raw.execute(sqlx::raw_sql("ROLLBACK")).await?;
                        }
                        Ok::<_, sqlx::Error>(())
                    };
                    // A server that is only busy takes as long as it takes to undo a transaction, as a new session would.
                    let patience = if state == State::Busy { AFTERMATH } else { CONNECT_TIMEOUT };
                    if let Ok(Ok(())) = timeout(patience, ended).await {
                        pool.give_back(raw, opened, era);
                    } else {
                        drop(raw);
                        // Its place is taken until the server has noticed, so that there are never more than agreed.
                        tokio::time::sleep(CONNECTION_CHECK).await;
                    }
                    drop(place);
                });
            }
            _ => {}
        }
    }
}

/// The server cannot be reached; the text is for the log.
pub(super) fn unreachable(reason: impl Into<String>) -> DbErr {
    DbErr::Conn(RuntimeErr::Internal(reason.into()))
}

fn silent(deadline: Duration) -> DbErr {
    unreachable(format!("the server did not answer within {} ms", deadline.as_millis()))
}

fn connection_error(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}
