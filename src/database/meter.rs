//! Counts the statements of one request: what ran, where, for how many keys, how long; and the wait for connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// From sending it on its connection to the last row.
    pub elapsed: Duration,
    /// The statement itself, where the meter records them.
    pub sent: Option<Box<Sent>>,
}

/// The statements of one request so far. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    counted: Arc<Mutex<Counted>>,
    records: bool,
}

#[derive(Debug, Default)]
struct Counted {
    executed: Vec<Executed>,
    waited: Duration,
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

    /// The waits for connections, added up. Those of statements that run at the same time count each.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.counted().waited
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
