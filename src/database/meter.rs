//! Counts the statements of one request: what ran, where, for how many keys, how long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
    /// From asking for a connection to the last row.
    pub elapsed: Duration,
    /// The statement itself, where the meter records them.
    pub sent: Option<Box<Sent>>,
}

/// The statements of one request so far. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    executed: Arc<Mutex<Vec<Executed>>>,
    records: bool,
}

impl Meter {
    /// A meter that keeps the statements themselves too, with their values.
    #[must_use]
    pub fn recording() -> Self {
        Self { records: true, ..Self::default() }
    }

    /// A statement on its way through a door, where this meter records them.
    pub(super) fn sent(&self, door: &Door, statement: &NamedStatement) -> Option<Box<Sent>> {
        self.records.then(|| Box::new(door.sent(statement.clone())))
    }

    /// Adds a statement.
    pub(super) fn record(&self, executed: Executed) {
        self.executed.lock().unwrap_or_else(PoisonError::into_inner).push(executed);
    }

    /// The statements in the order in which they ended.
    #[must_use]
    pub fn executed(&self) -> Vec<Executed> {
        self.executed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
