//! Counts the statements of one request: what ran, where, for how many keys, how long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Target;

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
}

/// The statements of one request so far. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Vec<Executed>>>);

impl Meter {
    /// Adds a statement.
    pub(super) fn record(&self, executed: Executed) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(executed);
    }

    /// The statements in the order in which they ended.
    #[must_use]
    pub fn executed(&self) -> Vec<Executed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
