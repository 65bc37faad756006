//! How old the data of a replica is, as a bound that is always true.
//!
//! A position of the primary's log is sampled together with the instant before the question was asked. A replica that
//! has replayed that position has everything that was committed before that instant. The replica's own view cannot
//! say this: `now() - pg_last_xact_replay_timestamp()` grows on an idle primary, and the replica does not see log
//! that has not reached it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock;

/// Samples kept at most. Past that the older half is thinned out, which leaves it true, and coarser.
const SAMPLES: usize = 1_000;

/// At least how new the data of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Everything committed before this instant is in the data.
    pub as_of: DateTime<Utc>,
}

impl Freshness {
    /// Of the primary: as new as can be.
    #[must_use]
    pub fn now() -> Self {
        Self { as_of: clock::now() }
    }

    /// How long ago that instant is.
    #[must_use]
    pub fn lag(self) -> Duration {
        (clock::now() - self.as_of).to_std().unwrap_or_default()
    }
}

/// Instants, and the primary's position just after them, oldest first.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<VecDeque<(DateTime<Utc>, i64)>>);

impl Samples {
    fn samples(&self) -> MutexGuard<'_, VecDeque<(DateTime<Utc>, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what the primary said when it was asked at an instant.
    pub(super) fn add(&self, asked: DateTime<Utc>, position: i64) {
        let mut samples = self.samples();
        if samples.back().is_some_and(|(newest, _)| *newest >= asked) {
            return;
        }
        samples.push_back((asked, position));
        if samples.len() > SAMPLES {
            let mut index = 0;
            samples.retain(|_| {
                index += 1;
                index > SAMPLES / 2 || index % 2 == 0
            });
        }
    }

    /// Forgets them: another server's positions mean something else.
    pub(super) fn clear(&self) {
        self.samples().clear();
    }

    /// The newest instant whose position has been reached.
    pub(super) fn as_of(&self, reached: i64) -> Option<DateTime<Utc>> {
        let samples = self.samples();
        let after = samples.partition_point(|(_, position)| *position <= reached);
        samples.get(after.checked_sub(1)?).map(|(as_of, _)| *as_of)
    }
}
