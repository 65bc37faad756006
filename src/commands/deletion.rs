//! Deletes a row and brings it back: one row is marked, and everything below it is hidden and shown with it.

use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::write::{Columns, Existing, Write};
use crate::database::{Bound, Command, Exchange};
use crate::error::{Failure, UserError};

/// Whether a write is to a live row or to a deleted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is not deleted.
    Live,
    /// It is.
    Deleted,
}

impl State {
    /// What `deleted_at` is then.
    pub(super) fn is(self) -> &'static str {
        match self {
            Self::Live => "IS NULL",
            Self::Deleted => "IS NOT NULL",
        }
    }
}

/// A noun whose rows can be deleted and brought back.
pub trait Deletable: Send + Sync + 'static {
    /// A row.
    type Row: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The name of the statement that deletes.
    const DELETE: &'static str;
    /// The name of the statement that restores.
    const RESTORE: &'static str;
    /// How rows are read.
    const COLUMNS: Columns<Self::Row>;

    /// A write to the row `$2`, which must be in a state.
    fn write(name: &'static str, state: State, set: &str) -> Write;

    /// What a person is told whom a constraint keeps from restoring.
    fn not_restored(failure: Failure<Self::Row>) -> Failure<Self::Row> {
        failure
    }
}

/// Deletes a row.
#[derive(Clone, Debug, Serialize)]
#[serde(bound = "")]
pub struct Delete<N> {
    viewer: Uuid,
    id: Uuid,
    expected: Option<DateTime<Utc>>,
    noun: PhantomData<N>,
}

impl<N> Delete<N> {
    /// Deletes the row `id` for `viewer`, who last saw it change when `expected` says, or does not say.
    #[must_use]
    pub fn new(viewer: Uuid, id: Uuid, expected: Option<DateTime<Utc>>) -> Self {
        Self { viewer, id, expected, noun: PhantomData }
    }
}

impl<N: Deletable> Command for Delete<N> {
    type Output = N::Row;
    const NAME: &'static str = N::DELETE;

    fn faults(&self) -> Vec<UserError> {
        Vec::new()
    }

    fn exchange(&self) -> Exchange<N::Row> {
        let bound = Bound::new(self.viewer, vec![self.viewer.into(), self.id.into()]);
        let existing = Existing::Row { expected: self.expected };
        N::write(Self::NAME, State::Live, "deleted_at = now()").exchange(bound, N::COLUMNS, existing)
    }
}

/// Brings a deleted row back, with exactly what its deletion hid.
#[derive(Clone, Debug, Serialize)]
#[serde(bound = "")]
pub struct Restore<N> {
    viewer: Uuid,
    id: Uuid,
    noun: PhantomData<N>,
}

impl<N> Restore<N> {
    /// Restores the row `id` for `viewer`.
    #[must_use]
    pub fn new(viewer: Uuid, id: Uuid) -> Self {
        Self { viewer, id, noun: PhantomData }
    }
}

impl<N: Deletable> Command for Restore<N> {
    type Output = N::Row;
    const NAME: &'static str = N::RESTORE;

    fn faults(&self) -> Vec<UserError> {
        Vec::new()
    }

    fn exchange(&self) -> Exchange<N::Row> {
        let bound = Bound::new(self.viewer, vec![self.viewer.into(), self.id.into()]);
        let write = N::write(Self::NAME, State::Deleted, "deleted_at = NULL");
        write.exchange(bound, N::COLUMNS, Existing::Row { expected: None }).map_failure(N::not_restored)
    }
}
