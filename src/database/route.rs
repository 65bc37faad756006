//! Chooses the server for an operation: once, here, and nowhere else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::door::Effect;
use super::{Database, Freshness, LogPosition, Meter, Reader, Target, Writer};

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

/// Where the parts of one operation go.
#[derive(Clone, Debug)]
pub struct Route {
    /// Rows.
    pub rows: Reader,
    /// Reports.
    pub reports: Reports,
    /// Reports that must be newer than those of the replica.
    pub newest_reports: Reports,
    /// Writes; only a mutation has it.
    pub writer: Option<Writer>,
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

/// How long a report waits for a replica to reach what its caller has written, and how often it looks.
const CATCH_UP: Duration = Duration::from_millis(100);
const CATCH_UP_INTERVAL: Duration = Duration::from_millis(10);

impl Database {
    /// Mutations and everything selected under them go to the primary; the rows of a query too; its reports go to
    /// the freshest replica that is within the allowed staleness and has reached what the caller wrote, `after`, else
    /// to the primary through a read-only session.
    pub async fn route(&self, operation: Operation, meter: &Meter, after: Option<LogPosition>) -> Route {
        let rows = Reader::new(&self.primary, meter);
        match operation {
            Operation::Mutation => {
                let (door, sealer) = (Arc::clone(&self.primary), self.sealer.clone());
                let writer = Some(Writer {
                    door,
                    meter: meter.clone(),
                    sealer,
                    effect: Effect::Lasting,
                    reached: Arc::default(),
                });
                let reports = self.reports_on_primary(false, meter);
                Route { rows, newest_reports: reports.clone(), reports, writer }
            }
            Operation::Query => {
                let newest_reports = self.reports_on_primary(!self.replicas.is_empty(), meter);
                let reports = match self.reports_on_replica(meter) {
                    Some(reports) if reports.have_reached(after).await => reports,
                    _ => newest_reports.clone(),
                };
                Route { rows, reports, newest_reports, writer: None }
            }
        }
    }

    fn reports_on_replica(&self, meter: &Meter) -> Option<Reports> {
        let fresh = self.replicas.iter().filter_map(|replica| Some((replica, replica.freshness()?)));
        let (replica, freshness) = fresh
            .filter(|(_, freshness)| freshness.lag() <= self.max_staleness)
            .max_by_key(|(_, freshness)| freshness.as_of)?;
        Some(Reports {
            reader: Reader::of_snapshot(&replica.door, meter),
            source: Target::Replica,
            replica: Some(replica.door.name().to_owned()),
            freshness,
            fell_back: false,
        })
    }

    fn reports_on_primary(&self, fell_back: bool, meter: &Meter) -> Reports {
        Reports {
            reader: Reader::of_snapshot(&self.fallback, meter),
            source: Target::Primary,
            replica: None,
            freshness: Freshness::now(),
            fell_back,
        }
    }
}

impl Route {
    /// The same route, whose writes are rolled back: each does its work, and nobody ever sees it.
    #[must_use]
    pub fn without_effect(self) -> Self {
        let writer = self.writer.map(|writer| Writer { effect: Effect::Discarded, ..writer });
        Self { writer, ..self }
    }
}

impl Reports {
    /// Waits a little until the replica has replayed a position. One that does not answer has not.
    async fn have_reached(&self, position: Option<LogPosition>) -> bool {
        let Some(position) = position else { return true };
        let deadline = Instant::now() + CATCH_UP;
        loop {
            let Ok(rows) = self.reader.rows_now(position.is_reached()).await else { return false };
            if rows.first().is_some_and(|row| row.try_get_by_index(0).unwrap_or(false)) {
                return true;
            }
            if Instant::now() + CATCH_UP_INTERVAL > deadline {
                return false;
            }
            tokio::time::sleep(CATCH_UP_INTERVAL).await;
        }
    }
}
