//! Counts the statements of one request: what ran, where, for how many keys, how long; and the wait for connections.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::sqlx::postgres::PgRow;

use super::tenants::{Borrower, Claim};
use super::{Door, NamedStatement, Sent, Target};

/// One statement that a request ran.
#[derive(Clone, Debug)]
pub struct Executed {
    /// Its name.
    pub name: &'static str,
    /// The server that ran it.
    pub target: Target,
    /// How many keys of a batch it answered.
    pub keys: usize,
    /// How many rows came back.
    pub rows: usize,
    /// When it was sent on its connection.
    pub began: Instant,
    /// From there to the last row.
    pub elapsed: Duration,
    /// Why it brought nothing: a SQLSTATE, or a word where the database did not answer.
    pub failure: Option<Cow<'static, str>>,
    /// The batch that it belongs to, as its place among those of the request; none outside batches.
    pub batch: Option<usize>,
    /// The statement itself, where the meter records them.
    pub sent: Option<Box<Sent>>,
}

/// Keys of one kind that a request loaded together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batched {
    /// The kind of key.
    pub kind: &'static str,
    /// How many there were.
    pub keys: usize,
    /// When the batch was dispatched.
    pub began: Instant,
    /// From there to the answer, with the wait for a connection; nothing while it is under way.
    pub elapsed: Duration,
}

/// On whose behalf statements are sent.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The document's name of the operation; `-` where it has none.
    pub operation: String,
    /// The id in the request's and the answer's header.
    pub request_id: String,
    /// What PostgreSQL is told of it before each statement, as a comment in SQL.
    pub comment: Option<String>,
    /// The request, as those see it who share out connections.
    pub borrower: Arc<Borrower>,
}

impl Origin {
    /// Operation and request id.
    pub(super) fn names(&self) -> (&str, &str) {
        (&self.operation, &self.request_id)
    }
}

/// The statements of one request so far. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    counted: Arc<Mutex<Counted>>,
    records: bool,
    origin: Option<Arc<Origin>>,
    batch: Option<usize>,
}

#[derive(Debug, Default)]
struct Counted {
    executed: Vec<Executed>,
    batches: Vec<Batched>,
    waited: Duration,
}

impl Meter {
    /// A meter that keeps the statements themselves too, with their values.
    #[must_use]
    pub fn recording() -> Self {
        Self { records: true, ..Self::default() }
    }

    /// The same meter, for statements of which it is known who asks for them.
    #[must_use]
    pub fn of(&self, origin: Origin) -> Self {
        Self { origin: Some(Arc::new(origin)), ..self.clone() }
    }

    /// Who asks for the statements; none where nobody does.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.origin.as_deref()
    }

    /// For whom a connection is asked for.
    pub(super) fn claim(&self) -> Claim {
        self.origin().map(|origin| origin.borrower.claim()).unwrap_or_default()
    }

    /// A statement has brought rows.
    pub(super) fn shown(&self, rows: &[PgRow]) {
        if let Some(origin) = self.origin() {
            origin.borrower.shown(rows);
        }
    }

    /// A statement on its way through a door, where this meter records them.
    pub(super) fn sent(&self, door: &Door, statement: &NamedStatement) -> Option<Box<Sent>> {
        self.records.then(|| Box::new(door.sent(statement.clone())))
    }

    /// The same meter, for the statements of a batch that begins.
    pub(super) fn of_batch(&self, kind: &'static str, keys: usize) -> Self {
        let mut counted = self.counted();
        counted.batches.push(Batched { kind, keys, began: Instant::now(), elapsed: Duration::ZERO });
        let batch = Some(counted.batches.len() - 1);
        drop(counted);
        Self { batch, ..self.clone() }
    }

    /// The batch of this meter's statements.
    pub(super) fn batch(&self) -> Option<usize> {
        self.batch
    }

    /// The batch has its answer.
    pub(super) fn end_batch(&self) {
        let mut counted = self.counted();
        if let Some(batch) = self.batch.and_then(|batch| counted.batches.get_mut(batch)) {
            batch.elapsed = batch.began.elapsed();
        }
    }

    /// Adds a statement.
    pub(super) fn record(&self, executed: Executed) {
        self.counted().executed.push(executed);
    }

    /// Adds a wait for a connection.
    pub(super) fn record_wait(&self, waited: Duration) {
        self.counted().waited += waited;
    }

    /// The statements in the order in which they ended.
    #[must_use]
    pub fn executed(&self) -> Vec<Executed> {
        self.counted().executed.clone()
    }

    /// The batches in the order in which they began.
    #[must_use]
    pub fn batches(&self) -> Vec<Batched> {
        self.counted().batches.clone()
    }

    /// The waits for connections, added up. Those of statements that run at the same time count each.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.counted().waited
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
