//! How old the data of a replica is, as a bound that is always true.
//!
//! A position of the primary's log is sampled together with the instant before the question was asked. A replica that
//! has replayed that position has everything that was committed before that instant. The replica's own view cannot
//! say this: `now() - pg_last_xact_replay_timestamp()` grows on an idle primary, and the replica does not see log
//! that has not reached it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use tokio::task::JoinHandle;

use super::inspection::{Inspection, StartError};
use super::{Door, Meter, NamedStatement};
use crate::clock;

/// How often a replica is compared with the primary.
const INTERVAL: Duration = Duration::from_millis(250);

/// How often, and how quickly, a server that starts looks at a replica before it goes on without.
const FIRST_LOOKS: u32 = 40;
const FIRST_INTERVAL: Duration = Duration::from_millis(25);

/// Samples kept of the primary: a replica that is further behind than these reach back counts as down.
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

/// A replica and the task that watches it.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) door: Arc<Door>,
    seen: Arc<Mutex<Option<Freshness>>>,
    watcher: JoinHandle<()>,
}

impl Replica {
    /// Looks until the replica has reached the primary's first sample, so that the first request finds a replica that
    /// is there; gives that up where it does not answer or is far behind, and goes on watching.
    ///
    /// # Errors
    /// `Refused` where it answers and must not be used as it is.
    pub(super) async fn watch(door: Arc<Door>, primary: Arc<Door>, inspection: Inspection) -> Result<Self, StartError> {
        let seen = Arc::new(Mutex::new(None));
        let mut watcher = Watcher::new(Arc::clone(&door), primary, Arc::clone(&seen));
        match inspection.pass().await {
            Ok(()) => {}
            Err(StartError::Unreachable(_)) => watcher.inspection = Some(inspection),
            Err(refused) => return Err(refused),
        }
        for _ in 0..FIRST_LOOKS {
            watcher.look().await;
            if watcher.answers == Some(false) || watcher.has_seen() {
                break;
            }
            tokio::time::sleep(FIRST_INTERVAL).await;
        }
        Ok(Self { door, seen, watcher: tokio::spawn(watcher.run()) })
    }

    /// How old its data is; none where it does not answer.
    pub(super) fn freshness(&self) -> Option<Freshness> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn close(self) {
        self.watcher.abort();
        self.door.close().await;
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

struct Watcher {
    replica: Arc<Door>,
    primary: Arc<Door>,
    seen: Arc<Mutex<Option<Freshness>>>,
    /// Instants and the primary's position just after them, oldest first.
    samples: VecDeque<(DateTime<Utc>, i64)>,
    /// Whether the replica answered the last time; none before the first.
    answers: Option<bool>,
    /// What it has yet to pass before it is used, where it did not answer at the start.
    inspection: Option<Inspection>,
}

impl Watcher {
    fn new(replica: Arc<Door>, primary: Arc<Door>, seen: Arc<Mutex<Option<Freshness>>>) -> Self {
        Self { replica, primary, seen, samples: VecDeque::new(), answers: None, inspection: None }
    }

    async fn run(mut self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(inspection) = &self.inspection {
                match inspection.pass().await {
                    Ok(()) => self.inspection = None,
                    Err(StartError::Unreachable(_)) => continue,
                    Err(refused) => {
                        let replica = self.replica.name();
                        tracing::error!(replica, "the replica is not used until the next start: {refused}");
                        return;
                    }
                }
            }
            self.look().await;
        }
    }

    fn has_seen(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Compares the replica with the primary, and publishes what was seen.
    async fn look(&mut self) {
        self.sample().await;
        let observed = self.observe().await;
        if self.answers != Some(observed.is_ok()) {
            match &observed {
                Ok(_) => tracing::info!(replica = self.replica.name(), "the replica answers"),
                Err(error) => {
                    tracing::warn!(replica = self.replica.name(), %error, "the replica does not answer");
                    self.replica.lose();
                }
            }
            self.answers = Some(observed.is_ok());
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = observed.ok().flatten();
    }

    /// Remembers the primary's position; a primary that does not answer leaves the old samples, which stay true.
    async fn sample(&mut self) {
        let instant = clock::now();
        if let Ok(position) = position(&self.primary, primary_position()).await {
            self.samples.push_back((instant, position));
            if self.samples.len() > SAMPLES {
                self.samples.pop_front();
            }
        }
    }

    /// Asks the replica how far it is, and finds the newest sample that it has reached.
    async fn observe(&mut self) -> Result<Option<Freshness>, DbErr> {
        let replayed = position(&self.replica, replica_position()).await?;
        while self.samples.get(1).is_some_and(|(_, position)| *position <= replayed) {
            self.samples.pop_front();
        }
        let reached = self.samples.front().filter(|(_, position)| *position <= replayed);
        Ok(reached.map(|(as_of, _)| Freshness { as_of: *as_of }))
    }
}

/// Asks the primary how far its log is.
pub(super) fn primary_position() -> NamedStatement {
    // Where commits do not wait for the flush, what was acknowledged is only sure to be in the log's buffers.
    let sql = "SELECT ((CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn() \
               ELSE pg_current_wal_flush_lsn() END) - '0/0'::pg_lsn)::bigint";
    NamedStatement::new("primary_position", sql, [])
}

/// Asks a replica how far it has replayed the log.
pub(super) fn replica_position() -> NamedStatement {
    // A server that is not in recovery has no replay position: it is the primary itself, or was promoted.
    let sql = "SELECT (coalesce(pg_last_wal_replay_lsn(), pg_current_wal_flush_lsn()) - '0/0'::pg_lsn)::bigint";
    NamedStatement::new("replica_position", sql, [])
}

async fn position(door: &Door, statement: NamedStatement) -> Result<i64, DbErr> {
    let rows = door.rows(&Meter::default(), statement).await?;
    let row = rows.first().ok_or_else(|| DbErr::RecordNotFound("no position".to_owned()))?;
    row.try_get_by_index(0)
}
