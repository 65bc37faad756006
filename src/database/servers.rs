//! All servers of the cluster, and which of them is what: the primary, a replica, or neither.
//!
//! The primary is the server that follows nobody on the newest timeline that was ever seen. A promotion begins a new
//! timeline, so a former primary that comes back is not written to, nor read. Of two on one timeline, which no promotion
//! brings about, it is the one that was so first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::LogPosition;
use super::connections::unreachable;
use super::consistency::History;
use super::door::Door;
use super::health::Seen;
use super::replication::Samples;
use super::server::Server;
use crate::error::Error;

/// How long a request that failed waits for a new look at the servers.
const RECONSIDERATION: Duration = Duration::from_millis(300);

/// What a server is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It takes the writes.
    Primary(Seen),
    /// It follows the primary, or is the primary by another address.
    Replica(Seen),
    /// It does not answer.
    Away,
    /// It answers, and its data is not that of the primary: a former primary, or what follows one.
    Outdated,
    /// It is of another cluster.
    Foreign,
}

/// All servers of the cluster.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) all: Vec<Arc<Server>>,
    known: Mutex<Known>,
    pub(super) samples: Samples,
}

/// What was seen of the cluster, and stays true when servers go away.
#[derive(Debug, Default)]
struct Known {
    /// Its system identifier.
    system: Option<i64>,
    /// The newest timeline.
    timeline: i32,
    /// The server that was the primary last, and when it was started; none where nobody was on the newest timeline yet.
    primary: usize,
    started: Option<i64>,
    /// How the newest timeline came about, where that can be told.
    history: Option<History>,
}

impl Servers {
    pub(super) fn new(all: Vec<Arc<Server>>) -> Self {
        Self { all, known: Mutex::default(), samples: Samples::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what a server said of the cluster as a whole, and says whether that makes it the primary. The first
    /// primary that is seen says which cluster it is. `history` is that of its timeline, where it was asked for.
    pub(super) fn learn(&self, index: usize, seen: &Seen, history: Option<History>) -> bool {
        let mut known = self.known();
        let LogPosition { system, timeline, .. } = seen.position;
        if known.system.is_none() && !seen.is_in_recovery {
            known.system = Some(system);
        }
        if known.system != Some(system) {
            return false;
        }
        if timeline > known.timeline {
            if known.timeline > 0 {
                self.samples.clear();
                tracing::warn!(timeline, server = self.all[index].name, "a server was promoted");
                // What is still being written on the timeline before would be lost.
                let others = self.all.iter().enumerate().filter(|(other, _)| *other != index);
                others.for_each(|(_, server)| server.writes.lose());
            }
            known.timeline = timeline;
            known.started = None;
            known.history = None;
        }
        let newest = known.timeline;
        let is_candidate = |seen: &Seen| !seen.is_in_recovery && seen.position.timeline == newest;
        if !is_candidate(seen) {
            return false;
        }
        if index != known.primary {
            let is_there = self.all[known.primary].seen().is_some_and(|seen| is_candidate(&seen));
            // Another one on one timeline is the same server by another address, or has gone apart from it.
            if is_there || known.started.is_some_and(|started| started != seen.started) {
                return false;
            }
            tracing::warn!(server = self.all[index].name, timeline, "this server is the primary now");
            known.primary = index;
        }
        known.started = Some(seen.started);
        known.history = known.history.take().or(history);
        true
    }

    /// What a server is good for now.
    pub(super) fn standing(&self, index: usize) -> Standing {
        let known = self.known();
        let Some(seen) = self.all[index].seen() else { return Standing::Away };
        if known.system.is_some_and(|system| system != seen.position.system) {
            return Standing::Foreign;
        }
        if seen.position.timeline != known.timeline {
            return Standing::Outdated;
        }
        if seen.is_in_recovery {
            return Standing::Replica(seen);
        }
        if index == known.primary {
            return Standing::Primary(seen);
        }
        // Two servers that follow nobody on one timeline are one and the same, or have gone apart.
        let is_alias = self.all[known.primary].seen().is_some_and(|primary| primary.started == seen.started);
        if is_alias { Standing::Replica(seen) } else { Standing::Outdated }
    }

    /// The server that takes the writes, if there is one.
    pub(super) fn primary(&self) -> Option<(&Arc<Server>, Seen)> {
        let index = self.known().primary;
        match self.standing(index) {
            Standing::Primary(seen) => Some((&self.all[index], seen)),
            _ => None,
        }
    }

    /// The door for writes.
    ///
    /// # Errors
    /// `Unavailable` where no server takes any.
    pub(super) fn writable(&self) -> Result<Arc<Door>, Error> {
        let primary = self.primary().map(|(server, _)| Arc::clone(&server.writes));
        primary.ok_or_else(|| Error::Unavailable(Arc::new(unreachable("no server takes writes now"))))
    }

    /// The servers that follow it.
    pub(super) fn replicas(&self) -> impl Iterator<Item = (&Arc<Server>, Seen)> {
        self.all.iter().enumerate().filter_map(|(index, server)| match self.standing(index) {
            Standing::Replica(seen) => Some((server, seen)),
            _ => None,
        })
    }

    /// Looks at every server anew, for a request that came upon one that does not answer, or is not what it was. One that
    /// is known not to answer is waited for only where there is no other.
    pub(super) async fn reconsider(&self) {
        let looks = |is_there| {
            let servers = self.all.iter().filter(move |server| server.seen().is_some() == is_there);
            join_all(servers.map(|server| server.health.looked_at()))
        };
        let looked = async {
            looks(true).await;
            if self.all.iter().all(|server| server.seen().is_none()) {
                looks(false).await;
            }
        };
        let _ = timeout(RECONSIDERATION, looked).await;
    }

    /// Whether a server that may be the primary is to be asked for the history of its timeline, before anything is learnt
    /// of it: once, so that nobody finds the timeline known and its history not.
    pub(super) fn wants_history(&self, seen: &Seen) -> bool {
        let known = self.known();
        let LogPosition { system, timeline, .. } = seen.position;
        let is_unknown = timeline > known.timeline || (timeline == known.timeline && known.history.is_none());
        !seen.is_in_recovery && known.system.is_none_or(|known| known == system) && is_unknown
    }

    /// What a proof of a write is worth now.
    ///
    /// # Errors
    /// `Unavailable` where it is of a timeline that this server has not seen yet.
    pub(super) async fn judge(&self, proof: LogPosition) -> Result<Proof, Error> {
        if proof.timeline > self.known().timeline {
            self.reconsider().await;
        }
        let known = self.known();
        if known.system.is_some_and(|system| system != proof.system) {
            return Ok(Proof::Foreign);
        }
        if proof.timeline > known.timeline {
            let reason = format!("a client has seen timeline {}, we have not", proof.timeline);
            return Err(Error::Unavailable(Arc::new(unreachable(reason))));
        }
        if proof.timeline == known.timeline {
            return Ok(Proof::Position(proof));
        }
        let is_lost = known.history.as_ref().is_some_and(|history| history.has_lost(proof));
        Ok(if is_lost { Proof::Lost } else { Proof::Foreign })
    }
}

/// What a proof of a write is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// A server that has reached this has the write.
    Position(LogPosition),
    /// It cannot be compared with what is now: only the primary can be read.
    Foreign,
    /// The write was lost when another server became the primary.
    Lost,
}
