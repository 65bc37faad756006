//! A statement, or a batch of them, under way. It is counted when it ends, also where the one who waits for it is given
//! up.

use std::borrow::Cow;
use std::time::Instant;

use sea_orm::{DbErr, QueryResult};

use super::failure::sqlstate;
use super::{Door, Executed, Meter, NamedStatement, Reader, Sent};
use crate::error::Error;

/// What a statement failed with that had no answer yet when its request was given up.
const GIVEN_UP: &str = "given up";

/// What a statement failed with that PostgreSQL did not answer.
const NO_ANSWER: &str = "no answer";

/// A statement that is being sent through a door.
pub(super) struct Running<'a> {
    door: &'a Door,
    meter: &'a Meter,
    name: &'static str,
    keys: usize,
    rows: usize,
    began: Instant,
    failure: Option<Cow<'static, str>>,
    sent: Option<Box<Sent>>,
}

impl<'a> Running<'a> {
    pub(super) fn begin(door: &'a Door, meter: &'a Meter, statement: &NamedStatement) -> Self {
        let NamedStatement { name, keys, .. } = *statement;
        let failure = Some(Cow::Borrowed(GIVEN_UP));
        Self { door, meter, name, keys, rows: 0, began: Instant::now(), failure, sent: meter.sent(door, statement) }
    }

    /// A statement that opens or closes a transaction.
    pub(super) fn named(door: &'a Door, meter: &'a Meter, name: &'static str) -> Self {
        let failure = Some(Cow::Borrowed(GIVEN_UP));
        Self { door, meter, name, keys: 1, rows: 0, began: Instant::now(), failure, sent: None }
    }

    /// It has ended, with so many rows.
    pub(super) fn end(mut self, rows: Result<usize, &DbErr>) {
        self.failure = rows.err().map(failure);
        self.rows = rows.unwrap_or(0);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let executed = Executed {
            name: self.name,
            target: self.door.target(),
            keys: self.keys,
            rows: self.rows,
            began: self.began,
            elapsed: self.began.elapsed(),
            failure: self.failure.take(),
            batch: self.meter.batch(),
            sent: self.sent.take(),
        };
        self.door.record(self.meter, executed);
    }
}

/// The statements of one batch of keys. It ends when this is dropped.
pub struct Batch {
    reader: Reader,
}

impl Batch {
    pub(super) fn begin(reader: &Reader, kind: &'static str, keys: usize) -> Self {
        Self { reader: reader.counted_by(reader.meter().of_batch(kind, keys)) }
    }

    /// Runs one statement of the batch.
    ///
    /// # Errors
    /// The database failed, could not be reached, or was too slow.
    pub async fn rows(&self, statement: NamedStatement) -> Result<Vec<QueryResult>, Error> {
        self.reader.rows(statement).await
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.reader.meter().end_batch();
    }
}

/// Why a statement brought nothing: its SQLSTATE, or that there was none.
fn failure(error: &DbErr) -> Cow<'static, str> {
    sqlstate(error).map_or(Cow::Borrowed(NO_ANSWER), Cow::Owned)
}
