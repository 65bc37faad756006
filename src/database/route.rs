//! Chooses the server for an operation: once, here, and nowhere else.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use super::connections::unreachable;
use super::consistency::Sealer;
use super::health::Seen;
use super::server::Server;
use super::servers::Proof;
use super::writer::Effect;
use super::{Database, Freshness, LogPosition, Meter, Reader, Target, Writer};
use crate::error::Error;
use crate::metrics::{Fallback, FallbackMetrics};

/// What kind of operation a document holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It reads.
    Query,
    /// It writes, and reads what it wrote.
    Mutation,
}

impl Operation {
    /// Its name, as in a document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
        }
    }
}

/// What an operation needs of the servers that read for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// What its caller has proof of having written.
    pub after: Option<LogPosition>,
    /// It may select reports, for which a replica is worth waiting for.
    pub reports: bool,
    /// Replicas have failed it.
    pub avoids_replicas: bool,
}

/// Where the parts of one operation go.
#[derive(Clone, Debug)]
pub struct Route {
    /// Rows.
    pub rows: Reader,
    /// Reports.
    pub reports: Reports,
    /// Where reports go for which those are too old, in the order in which they are tried: to other replicas, then to the
    /// primary, if there is one.
    pub newer_reports: Vec<Reports>,
    /// Writes; only a mutation has it.
    pub writer: Option<Writer>,
    /// What the answer can say of the servers afterwards.
    pub served: Served,
    fallbacks: FallbackMetrics,
}

/// The server that answers reports, and how old its data is.
#[derive(Clone, Debug)]
pub struct Reports {
    /// Reads through a read-only session; all reports of the operation see one snapshot.
    pub reader: Reader,
    /// Which kind of server it is.
    pub source: Target,
    /// The replica's name, where it is one.
    pub replica: Option<String>,
    /// At least how new the data is.
    pub freshness: Freshness,
    /// A replica is configured and was passed over, for being down or too far behind.
    pub fell_back: bool,
}

/// What the answer to an operation says of the servers that served it.
#[derive(Clone, Debug)]
pub struct Served {
    /// By which rows were read.
    rows: Option<Reports>,
    reports: Reports,
    writer: Option<Writer>,
    proof: Option<Proof>,
    /// The primary, and how far it was when the route was chosen.
    primary: Option<(String, LogPosition)>,
    sealer: Sealer,
}

/// Proof for the caller, and which server they read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// Makes the next request see at least what this one wrote or read.
    pub token: Option<String>,
    /// The server's name, as it is configured; none where nothing was read and no server takes writes.
    pub served_by: Option<String>,
    /// How old the data may be.
    pub lag: Duration,
    /// What the caller had proof of was lost when another server became the primary.
    pub is_lost: bool,
    /// It is worth a place in the answer: something was written, a token was sent, or a replica has served.
    pub is_telling: bool,
}

/// How long a read waits for a replica to reach what its caller has written.
const CATCH_UP: Duration = Duration::from_millis(100);

impl Database {
    /// Mutations and everything selected under them go to the primary; the rows of a query too, unless the settings
    /// say otherwise; its reports go to a replica that is within the allowed staleness and has reached what the caller
    /// wrote, else to the primary through a read-only session. Where no server takes writes, all that is read comes
    /// from a replica, however old.
    ///
    /// # Errors
    /// `Unavailable` where no server can do it.
    pub async fn route(&self, operation: Operation, meter: &Meter, needs: Needs) -> Result<Route, Error> {
        let proof = match needs.after {
            Some(position) => Some(self.servers.judge(position).await?),
            None => None,
        };
        let primary = self.servers.primary().map(|(server, seen)| (Arc::clone(server), seen));
        let reports_of_primary = |fell_back| {
            let (server, seen) = primary.as_ref()?;
            let reader = Reader::of_snapshot(&server.reads, *seen, meter);
            Some(Reports { reader, source: Target::Primary, replica: None, freshness: Freshness::now(), fell_back })
        };
        let on_primary = primary.as_ref().map(|(server, _)| Reader::new(&server.writes, meter));
        let fallbacks = self.fallbacks.clone();
        let position = primary.as_ref().map(|(server, seen)| (server.name.clone(), seen.position));
        let served = |rows, reports: &Reports, writer: Option<&Writer>| Served {
            rows,
            reports: reports.clone(),
            writer: writer.cloned(),
            proof,
            primary: position.clone(),
            sealer: self.sealer.clone(),
        };
        if operation == Operation::Mutation {
            let (Some(rows), Some(reports)) = (on_primary, reports_of_primary(false)) else { return Err(away()) };
            let servers = Arc::clone(&self.servers);
            let (sealer, panics) = (self.sealer.clone(), self.panics.clone());
            let (meter, effect) = (meter.clone(), Effect::Lasting);
            let (reached, has_written, has_begun) = Default::default();
            let writer = Writer { servers, meter, sealer, effect, panics, reached, has_written, has_begun };
            let served = served(None, &reports, Some(&writer));
            return Ok(Route { rows, reports, newer_reports: Vec::new(), writer: Some(writer), served, fallbacks });
        }
        let mut chosen = match self.replicas(proof, needs, primary.is_some()).await {
            Ok(replicas) => replicas.iter().map(|(replica, seen)| on_replica(replica, *seen, meter)).collect(),
            Err(reason) => {
                if self.servers.all.len() > 1 && (self.reads_from_replicas || needs.reports) {
                    fallbacks.count(reason);
                }
                Vec::new()
            }
        };
        chosen.extend(reports_of_primary(self.servers.all.len() > 1));
        let mut chosen = chosen.into_iter();
        let (reports, newer_reports) = (chosen.next().ok_or_else(away)?, chosen.collect());
        let is_one = self.reads_from_replicas || on_primary.is_none();
        let rows = match on_primary {
            Some(rows) if !is_one => rows,
            _ => reports.reader.clone(),
        };
        let served = served(is_one.then(|| reports.clone()), &reports, None);
        Ok(Route { rows, reports, newer_reports, writer: None, served, fallbacks })
    }

    /// The replicas that may be read, those with the fewest borrowers first, and of these the freshest; one, where it had
    /// to be waited for.
    async fn replicas(
        &self,
        proof: Option<Proof>,
        needs: Needs,
        has_primary: bool,
    ) -> Result<Vec<(Arc<Server>, Seen)>, Fallback> {
        if needs.avoids_replicas && has_primary {
            return Err(Fallback::Failed);
        }
        if matches!(proof, Some(Proof::Foreign | Proof::Lost)) {
            return Err(Fallback::Behind);
        }
        let is_wanted = self.reads_from_replicas || needs.reports || !has_primary;
        let mut fallback = Fallback::Down;
        let mut candidates: Vec<(Arc<Server>, Seen)> = Vec::new();
        for (server, seen) in self.servers.replicas() {
            let lag = seen.as_of.map(|as_of| Freshness { as_of }.lag());
            let is_late = seen.is_late || lag.is_none_or(|lag| lag > self.max_staleness);
            if has_primary && (is_late || seen.is_on_probation) {
                fallback = Fallback::Late;
            } else {
                candidates.push((Arc::clone(server), seen));
            }
        }
        candidates.sort_by_key(|(server, seen)| (server.reads.size().in_use, std::cmp::Reverse(seen.as_of)));
        if candidates.is_empty() {
            return Err(fallback);
        }
        let Some(Proof::Position(position)) = proof else { return Ok(candidates) };
        let has_reached = |seen: &Seen| {
            (seen.position.system, seen.position.timeline) == (position.system, position.timeline)
                && seen.position.bytes >= position.bytes
        };
        if candidates.iter().any(|(_, seen)| has_reached(seen)) {
            candidates.retain(|(_, seen)| has_reached(seen));
            return Ok(candidates);
        }
        if !is_wanted {
            return Err(fallback);
        }
        let arrivals = candidates.iter().map(|(server, _)| {
            Box::pin(async move {
                let _often = server.health.wait();
                server.health.until(has_reached).await;
                server
            })
        });
        let first = timeout(CATCH_UP, futures_util::future::select_all(arrivals)).await;
        let (server, ..) = first.map_err(|_| Fallback::Behind)?;
        server.seen().filter(has_reached).map(|seen| vec![(Arc::clone(server), seen)]).ok_or(Fallback::Behind)
    }
}

fn on_replica(server: &Arc<Server>, seen: Seen, meter: &Meter) -> Reports {
    // Where that is not known it is as old as can be.
    let as_of = seen.as_of.unwrap_or_default();
    Reports {
        reader: Reader::of_snapshot(&server.reads, seen, meter),
        source: Target::Replica,
        replica: Some(server.name.clone()),
        freshness: Freshness { as_of },
        fell_back: false,
    }
}

fn away() -> Error {
    Error::Unavailable(Arc::new(unreachable("no server can do it now")))
}

impl Route {
    /// Counts that the primary is read, because the data of every replica is too old for what was asked.
    pub fn count_late(&self) {
        self.fallbacks.count(Fallback::Late);
    }

    /// The same route, whose writes are rolled back: each does its work, and nobody ever sees it.
    #[must_use]
    pub fn without_effect(self) -> Self {
        let writer = self.writer.map(|writer| Writer { effect: Effect::Discarded, ..writer });
        Self { writer, ..self }
    }
}

impl Served {
    /// Whether something was written, or may have been: what is sent again then may be written twice.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.has_written.load(Ordering::Relaxed))
    }

    /// What can be said once the operation has been executed.
    #[must_use]
    pub fn consistency(&self, sent: Option<&str>) -> Consistency {
        let written = self.writer.as_ref().and_then(Writer::reached);
        // The rows' server, and where rows came from the primary and reports from a replica, that one: it is the older.
        let read = self.rows.as_ref().unwrap_or(&self.reports);
        let of_replica = Some(read).filter(|read| read.replica.is_some() && read.reader.reached().is_some());
        let is_renewed = matches!(self.proof, Some(Proof::Foreign | Proof::Lost));
        let primary = self.primary.as_ref();
        let renewed = primary.filter(|_| is_renewed).map(|(_, position)| *position);
        let position = written.or_else(|| read.reader.reached()).or(renewed);
        let own = sent.filter(|_| !is_renewed).map(str::to_owned);
        // What was read may be older than what was written: rows come from another server than reports.
        let position = match (position, self.proof) {
            (Some(position), Some(Proof::Position(proof))) if proof.bytes > position.bytes => Some(proof),
            (position, _) => position,
        };
        Consistency {
            token: position.map(|position| self.sealer.seal(position)).or(own),
            served_by: of_replica
                .and_then(|read| read.replica.clone())
                .or_else(|| primary.map(|(name, _)| name.clone())),
            lag: of_replica.map(|read| read.freshness.lag()).unwrap_or_default(),
            is_lost: self.proof == Some(Proof::Lost),
            is_telling: written.is_some() || sent.is_some() || of_replica.is_some(),
        }
    }
}
