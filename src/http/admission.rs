//! How many requests are worked on at a time. One that comes when there are as many is refused at once: a line in which
//! it would wait could only grow, and whoever waits has given up before its end.

use std::sync::Arc;

use crate::config::HttpSettings;
use crate::database::line::{self, Line, Taken};
use crate::database::{Claim, Database};
use crate::error::Error;
use crate::metrics::{AdmissionMetrics, Metrics, Refusal};

/// Requests for each database connection. Where a request takes four statements of 4 ms, the last of them waits for
/// 64 x 16 ms: about the second after which a wait for a connection is given up anyway.
const REQUESTS_PER_CONNECTION: u32 = 64;

/// The places for requests.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Line>,
    metrics: AdmissionMetrics,
}

/// A request's place, which it has until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _place: line::Place,
    metrics: AdmissionMetrics,
}

impl Admission {
    /// As many places as the settings say, or as the database's connections are worth.
    #[must_use]
    pub fn new(settings: &HttpSettings, database: &Database, metrics: &Metrics) -> Self {
        let connections: u32 = database.pools().map(|(_, size)| size.max).sum();
        let places = settings.max_requests.unwrap_or(connections.saturating_mul(REQUESTS_PER_CONNECTION));
        Self { places: Arc::new(Line::new(places)), metrics: metrics.admission() }
    }

    /// Gives a request a place.
    ///
    /// # Errors
    /// `Overloaded`: there is none left; `ShareTaken`: none that the claim allows.
    pub(super) fn enter(&self, claim: &Claim) -> Result<Place, Error> {
        let place = self.places.enter(claim).map_err(|taken| {
            let (refusal, error) = match taken {
                Taken::All => (Refusal::Requests, Error::Overloaded),
                Taken::Share => (Refusal::Share, Error::ShareTaken),
            };
            self.metrics.refused(refusal);
            error
        })?;
        self.metrics.entered();
        Ok(Place { _place: place, metrics: self.metrics.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.left();
    }
}
