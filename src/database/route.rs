//! Chooses the server for an operation: once, here, and nowhere else.

use std::sync::Arc;

use super::{Database, Freshness, Meter, Reader, Target, Writer};

/// What kind of operation a document holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It reads.
    Query,
    /// It writes, and reads what it wrote.
    Mutation,
}

/// Where the parts of one operation go.
#[derive(Clone, Debug)]
pub struct Route {
    /// Rows.
    pub rows: Reader,
    /// Reports.
    pub reports: Reports,
    /// Writes; only a mutation has it.
    pub writer: Option<Writer>,
}

/// The server that answers reports, and how old its data is.
#[derive(Clone, Debug)]
pub struct Reports {
    /// Reads through a read-only session.
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

impl Database {
    /// Mutations and everything selected under them go to the primary; the rows of a query too; its reports go to
    /// the freshest replica that is within the allowed staleness, else to the primary through a read-only session.
    #[must_use]
    pub fn route(&self, operation: Operation, meter: &Meter) -> Route {
        let (reports, writer) = match operation {
            Operation::Mutation => (
                self.reports_on_primary(false, meter),
                Some(Writer { door: Arc::clone(&self.primary), meter: meter.clone() }),
            ),
            Operation::Query => (self.reports_on_replica(meter), None),
        };
        Route { rows: Reader::new(&self.primary, meter), reports, writer }
    }

    fn reports_on_replica(&self, meter: &Meter) -> Reports {
        let freshest = self
            .replicas
            .iter()
            .filter_map(|replica| Some((replica, replica.freshness()?)))
            .filter(|(_, freshness)| freshness.lag() <= self.max_staleness)
            .max_by_key(|(_, freshness)| freshness.as_of);
        match freshest {
            Some((replica, freshness)) => Reports {
                reader: Reader::new(&replica.door, meter),
                source: Target::Replica,
                replica: Some(replica.door.name().to_owned()),
                freshness,
                fell_back: false,
            },
            None => self.reports_on_primary(!self.replicas.is_empty(), meter),
        }
    }

    fn reports_on_primary(&self, fell_back: bool, meter: &Meter) -> Reports {
        Reports {
            reader: Reader::new(&self.fallback, meter),
            source: Target::Primary,
            replica: None,
            freshness: Freshness::now(),
            fell_back,
        }
    }
}
