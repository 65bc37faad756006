//! Reads through one door, in one snapshot or each statement in its own. It has no method that writes.

use std::sync::{Arc, PoisonError};

use sea_orm::QueryResult;
use tokio::sync::Mutex;

use super::connections::Connection;
use super::health::Seen;
use super::{Batch, Door, LogPosition, Meter, NamedStatement, Sent};
use crate::error::Error;

/// Reads rows through one door.
#[derive(Clone, Debug)]
pub struct Reader {
    door: Arc<Door>,
    meter: Meter,
    /// Of a reader whose statements see one snapshot.
    snapshot: Option<Snapshot>,
}

/// A snapshot, begun by the first who reads in it.
#[derive(Clone, Debug)]
struct Snapshot {
    /// The server as it was when it was chosen.
    seen: Seen,
    transaction: Arc<Mutex<Option<Transaction>>>,
    /// How far the log is that it holds; none until it is begun. The snapshots that replace it say so here too.
    reached: Arc<std::sync::Mutex<Option<LogPosition>>>,
}

/// The transaction of a snapshot.
#[derive(Debug)]
struct Transaction {
    connection: Connection,
    /// Why a statement failed: the database refuses all that follow it in the transaction, without a word of the reason.
    failure: Option<Error>,
}

impl Snapshot {
    fn of(seen: Seen) -> Self {
        Self { seen, transaction: Arc::default(), reached: Arc::default() }
    }
}

impl Reader {
    pub(super) fn new(door: &Arc<Door>, meter: &Meter) -> Self {
        Self { door: Arc::clone(door), meter: meter.clone(), snapshot: None }
    }

    /// A reader whose statements all see the database as it is at the first of them. They run one after the other, in
    /// a transaction that ends when the reader and its clones are gone.
    pub(super) fn of_snapshot(door: &Arc<Door>, seen: Seen, meter: &Meter) -> Self {
        Self { snapshot: Some(Snapshot::of(seen)), ..Self::new(door, meter) }
    }

    /// The same reader; where it sees a snapshot, with a new one, which has what was written since.
    #[must_use]
    pub fn renewed(&self) -> Self {
        let renewed = |snapshot: &Snapshot| Snapshot { transaction: Arc::default(), ..snapshot.clone() };
        Self { snapshot: self.snapshot.as_ref().map(renewed), ..self.clone() }
    }

    /// Whether both are one reader, and see one snapshot.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let both = self.snapshot.as_ref().zip(other.snapshot.as_ref());
        both.is_some_and(|(one, other)| Arc::ptr_eq(&one.transaction, &other.transaction))
    }

    /// A statement as this reader sends it.
    #[must_use]
    pub fn sent(&self, statement: NamedStatement) -> Sent {
        self.door.sent(statement)
    }

    /// How far the log is that its snapshot holds; none where nothing has been read in one.
    pub(super) fn reached(&self) -> Option<LogPosition> {
        *self.snapshot.as_ref()?.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// The database failed, could not be reached, or was too slow; in a snapshot also at an earlier statement.
    pub async fn rows(&self, statement: NamedStatement) -> Result<Vec<QueryResult>, Error> {
        let Some(snapshot) = &self.snapshot else { return Ok(self.door.rows(&self.meter, statement).await?) };
        let mut transaction = snapshot.transaction.lock().await;
        let Transaction { connection, failure } = match &mut *transaction {
            Some(transaction) => transaction,
            none => {
                let (connection, reached) = self.door.snapshot(&self.meter, &snapshot.seen).await?;
                *snapshot.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(reached);
                none.insert(Transaction { connection, failure: None })
            }
        };
        if let Some(failure) = failure {
            return Err(failure.clone());
        }
        let rows = self.door.run(connection, &self.meter, statement).await.map_err(Error::from);
        *failure = rows.as_ref().err().cloned();
        rows
    }

    /// The same reader, for the statements of one batch of so many keys of a kind. The batch ends when it is dropped.
    #[must_use]
    pub fn batch(&self, kind: &'static str, keys: usize) -> Batch {
        self.door.batched(kind, keys);
        Batch::begin(self, kind, keys)
    }

    /// The same reader, whose statements count with another meter.
    pub(super) fn counted_by(&self, meter: Meter) -> Self {
        Self { meter, ..self.clone() }
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }
}
