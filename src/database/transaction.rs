//! One command, one transaction on the primary: committed whole or not at all, and run again after a deadlock.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::sqlx::postgres::PgRow;
use sea_orm::{DbErr, QueryResult};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::connections::{Connection, Uncommitted, unreachable};
use super::consistency::LogPosition;
use super::failure::is_replica;
use super::idempotency::{Claim, IdempotencyKey};
use super::running::Running;
use super::writer::Effect;
use super::{Door, Meter, NamedStatement, Writer, constraint};
use crate::error::{Error, Failure, StatementFailure, UserError};

/// How often a transaction is run that deadlocks or cannot be serialized.
const ATTEMPTS: u32 = 3;

/// What a mutation does, as plain input. It may run more than once, so it has no effect outside its statements.
/// Commands of one name with equal input are the same write to an idempotency key.
pub trait Command: Serialize + Send + Sync + 'static {
    /// What was written. It can be kept, for a repetition under the same idempotency key.
    type Output: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The name of its main statement.
    const NAME: &'static str;

    /// Every fault that the input shows by itself. It is asked for before anything else, so bad input costs nothing.
    fn faults(&self) -> Vec<UserError>;

    /// What it sends, and what the answer says.
    fn exchange(&self) -> Exchange<Self::Output>;
}

type Answer = Result<Vec<QueryResult>, StatementFailure>;

/// What a command sends, and what the answer says.
pub struct Exchange<T> {
    first: Option<NamedStatement>,
    main: NamedStatement,
    outcome: Box<dyn FnOnce(Answer) -> Result<T, Failure<T>> + Send>,
}

impl<T: 'static> Exchange<T> {
    /// A statement, and what its rows say.
    pub fn new(
        main: NamedStatement,
        outcome: impl FnOnce(Vec<QueryResult>) -> Result<T, Failure<T>> + Send + 'static,
    ) -> Self {
        Self { first: None, main, outcome: Box::new(|answer| outcome(answer?)) }
    }

    /// The same after another statement, whose answer says nothing: it waits for a lock.
    #[must_use]
    pub fn after(self, first: NamedStatement) -> Self {
        Self { first: Some(first), ..self }
    }

    /// The same with another failure for each.
    #[must_use]
    pub fn map_failure(self, map: fn(Failure<T>) -> Failure<T>) -> Self {
        let outcome = self.outcome;
        Self { outcome: Box::new(move |answer| outcome(answer).map_err(map)), ..self }
    }

    /// Its statements, in order.
    pub fn into_statements(self) -> impl Iterator<Item = NamedStatement> {
        self.first.into_iter().chain([self.main])
    }
}

/// An open transaction on the primary.
pub struct Transaction {
    inner: Mutex<Connection>,
    door: Arc<Door>,
    meter: Meter,
}

impl Transaction {
    /// Runs one statement.
    ///
    /// # Errors
    /// `Violated` where the input violated a constraint of the table, else `Failed`.
    pub async fn rows(&self, statement: NamedStatement) -> Result<Vec<QueryResult>, StatementFailure> {
        let rows = self.door.run(&mut *self.inner.lock().await, &self.meter, statement).await;
        rows.map_err(|error| match constraint::user_error(&error) {
            Some(user_error) => StatementFailure::Violated(user_error),
            None => StatementFailure::Failed(Error::from(error)),
        })
    }
}

impl Writer {
    /// Runs a command in a transaction of its own, unless its input has `faults` or shows more. The work is done in a
    /// task of its own, so a caller that goes away in the middle leaves a committed or a rolled-back transaction, never
    /// an open one.
    ///
    /// With a key, a repetition of a command that was committed answers what the first one wrote, and writes nothing.
    ///
    /// # Errors
    /// `Refused` where the command refused the input, `Failed` where the database did; nothing was written then.
    pub async fn execute<C: Command>(
        &self,
        mut faults: Vec<UserError>,
        command: C,
        key: Option<IdempotencyKey>,
    ) -> Result<C::Output, Failure<C::Output>> {
        faults.extend(command.faults());
        faults.extend(key.as_ref().and_then(IdempotencyKey::fault));
        if !faults.is_empty() {
            return Err(Failure::refused(faults));
        }
        self.has_begun.store(true, Ordering::Relaxed);
        let writer = self.clone();
        let task = tokio::spawn(async move {
            let outcome = AssertUnwindSafe(writer.attempts(&command, key.as_ref())).catch_unwind().await;
            // Whoever waits for it may have gone.
            outcome.unwrap_or_else(|_| {
                writer.panics.panicked();
                Err(Error::panicked().into())
            })
        });
        task.await.unwrap_or_else(|ended| {
            Err(Error::Internal(Arc::new(DbErr::Custom(format!("the command's task ended: {ended}")))).into())
        })
    }

    async fn attempts<C: Command>(
        &self,
        command: &C,
        key: Option<&IdempotencyKey>,
    ) -> Result<C::Output, Failure<C::Output>> {
        let mut attempt = 1;
        loop {
            match self.attempt(command, key).await {
                Err(Failure::Failed(Error::Interrupted(_))) if attempt < ATTEMPTS => {
                    tokio::time::sleep(backoff(attempt)).await;
                }
                // Another server was promoted in its place.
                Err(Failure::Failed(Error::Unavailable(cause))) if attempt < ATTEMPTS && is_replica(&cause) => {
                    self.servers.reconsider().await;
                }
                outcome => return outcome,
            }
            attempt += 1;
        }
    }

    async fn attempt<C: Command>(
        &self,
        command: &C,
        key: Option<&IdempotencyKey>,
    ) -> Result<C::Output, Failure<C::Output>> {
        let door = self.servers.writable()?;
        let connection = door.begin(&self.meter).await.map_err(Error::from)?;
        // Another one may have been promoted meanwhile; if that is seen later, the connection is lost.
        if !Arc::ptr_eq(&door, &self.servers.writable()?) {
            return Err(Error::Unavailable(Arc::new(unreachable("another server takes the writes now"))).into());
        }
        let transaction =
            Transaction { inner: Mutex::new(connection), door: Arc::clone(&door), meter: self.meter.clone() };
        let outcome = match key {
            None => run(command, &transaction).await,
            Some(key) => once(command, key, &transaction).await,
        };
        let mut connection = transaction.inner.into_inner();
        if outcome.is_ok() && self.effect == Effect::Lasting {
            let running = Running::named(&door, &self.meter, "commit");
            let committed = door.watched(connection.commit(LogPosition::QUESTION)).await;
            running.end(committed.as_ref().map(|_| 0).map_err(Uncommitted::cause));
            self.conclude(committed)?;
        } else {
            let running = Running::named(&door, &self.meter, "rollback");
            let undone = door.watched(connection.rollback()).await;
            running.end(undone.as_ref().map(|()| 0));
            if let Err(error) = undone {
                // The connection is useless if even this fails, and is closed.
                tracing::warn!(%error, "a transaction could not be rolled back");
            }
        }
        outcome
    }

    fn conclude(&self, committed: Result<Option<PgRow>, Uncommitted>) -> Result<(), Error> {
        let has_written = !matches!(committed, Err(Uncommitted::Refused(_)));
        self.has_written.fetch_or(has_written, Ordering::Relaxed);
        match committed {
            Ok(row) => {
                let position = row.and_then(|row| LogPosition::decode(&row.into()).ok());
                *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = position;
                Ok(())
            }
            Err(Uncommitted::Refused(error)) => Err(error.into()),
            Err(Uncommitted::Unknown(error)) => Err(Error::OutcomeUnknown(Arc::new(error))),
        }
    }
}

/// Runs a command's statements.
async fn run<C: Command>(command: &C, transaction: &Transaction) -> Result<C::Output, Failure<C::Output>> {
    let Exchange { first, main, outcome } = command.exchange();
    if let Some(first) = first {
        transaction.rows(first).await?;
    }
    outcome(transaction.rows(main).await)
}

/// Runs a command unless its key says that it has been run.
async fn once<C: Command>(
    command: &C,
    key: &IdempotencyKey,
    transaction: &Transaction,
) -> Result<C::Output, Failure<C::Output>> {
    match key.claim(command, transaction).await? {
        Claim::Done(output) => Ok(output),
        Claim::Mine(claim) => {
            let output = run(command, transaction).await?;
            claim.keep(&output, transaction).await?;
            Ok(output)
        }
    }
}

/// Ten to twenty milliseconds for the first attempt and twice as much for each further one: two transactions that
/// deadlocked must not meet again at once.
fn backoff(attempt: u32) -> Duration {
    let jitter_ms = crate::clock::new_id().as_u128() % 10;
    Duration::from_millis((10 + u64::try_from(jitter_ms).unwrap_or(0)) << (attempt - 1))
}
