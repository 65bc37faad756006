//! What the resolvers of one request may reach: the caller, the loaders, the writer.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_graphql::Context;
use uuid::Uuid;

use crate::batch::{Batches, Gate, Key, Scope};
use crate::database::{Command, IdempotencyKey, Reader, Reports, Route};
use crate::error::{Error, Failure, UserError};
use crate::guard::Guard;

/// One request, from the resolvers' side.
pub struct Session {
    viewer: Option<Uuid>,
    route: Route,
    gate: Gate,
    loaded: Mutex<Loaded>,
    /// Whether a write had an idempotency key: what it answers may have been kept since yesterday.
    has_kept: AtomicBool,
    estimates: AtomicU32,
    text_bytes: AtomicU64,
    /// Whether a report has read the primary because every replica's data was too old for it.
    has_fallen_back: AtomicBool,
}

/// Where a report comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportSource {
    /// The server that the route chose.
    Usual,
    /// Another one, by its place among those with newer data: that server's is too old for this report.
    Newer(usize),
}

/// The loaders of rows and of reports; made anew after each write, because they remember what they have read.
struct Loaded {
    rows: Arc<Batches>,
    reports: Arc<Batches>,
    newer_reports: Vec<Arc<Batches>>,
}

impl Loaded {
    fn new(viewer: Uuid, route: &Route, gate: &Gate) -> Self {
        let batches =
            |reader: &Reader| Arc::new(Batches::new(gate.clone(), Scope { reader: reader.renewed(), viewer }));
        let reports = batches(&route.reports.reader);
        let newer_reports = route.newer_reports.iter().map(|newer| batches(&newer.reader)).collect();
        // Where both read one server they are one, and see one snapshot.
        let rows = if route.rows.is(&route.reports.reader) { Arc::clone(&reports) } else { batches(&route.rows) };
        Self { rows, reports, newer_reports }
    }
}

/// A text of the answer that may be long. There may be so many bytes of such.
///
/// # Errors
/// With this one they are too many.
pub fn long_text<'a>(context: &Context<'_>, text: &'a str) -> Result<&'a str, Error> {
    let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
    let before = Session::of(context).text_bytes.fetch_add(bytes, Ordering::Relaxed);
    context.data_unchecked::<Arc<Guard>>().check_answer(before.saturating_add(bytes))?;
    Ok(text)
}

impl Session {
    /// A request of `viewer`, who may be nobody, over `route`, whose batches `gate` dispatches.
    #[must_use]
    pub fn new(viewer: Option<Uuid>, route: Route, gate: Gate) -> Self {
        // Nobody can load anything: `viewer` is asked for first.
        let loaded = Mutex::new(Loaded::new(viewer.unwrap_or_default(), &route, &gate));
        let (has_kept, estimates, text_bytes, has_fallen_back) = Default::default();
        Self { viewer, route, gate, loaded, has_kept, estimates, text_bytes, has_fallen_back }
    }

    /// The session of the request that a resolver belongs to.
    #[must_use]
    pub fn of<'a>(context: &Context<'a>) -> &'a Self {
        context.data_unchecked::<Self>()
    }

    /// The caller.
    ///
    /// # Errors
    /// `Unauthenticated` where there is none.
    pub fn viewer(&self) -> Result<Uuid, Error> {
        self.viewer.ok_or(Error::Unauthenticated)
    }

    /// The source of a report whose data may be this old at most; of any age that the server's settings allow, where
    /// nothing is said.
    ///
    /// # Errors
    /// `Unavailable` where no server has data that is new enough.
    pub fn report_source(&self, max_staleness: Option<Duration>) -> Result<ReportSource, Error> {
        let Route { reports, newer_reports, .. } = &self.route;
        let is_too_old = |reports: &Reports| {
            reports.replica.is_some() && max_staleness.is_some_and(|limit| reports.freshness.lag() > limit)
        };
        if !is_too_old(reports) {
            return Ok(ReportSource::Usual);
        }
        let Some(place) = newer_reports.iter().position(|newer| !is_too_old(newer)) else {
            let cause = "the primary is away, and the replicas' data is too old for this report";
            return Err(Error::Unavailable(Arc::new(sea_orm::DbErr::Custom(cause.to_owned()))));
        };
        let is_fallback = newer_reports[place].replica.is_none();
        if is_fallback && !self.has_fallen_back.swap(true, Ordering::Relaxed) {
            self.route.count_late();
        }
        Ok(ReportSource::Newer(place))
    }

    /// The server that answers reports from a source.
    #[must_use]
    pub fn reports(&self, source: ReportSource) -> &Reports {
        let newer = match source {
            ReportSource::Usual => None,
            ReportSource::Newer(place) => self.route.newer_reports.get(place),
        };
        newer.unwrap_or(&self.route.reports)
    }

    /// Counts an estimate, and tells how many there have been, with this one.
    ///
    /// # Errors
    /// There is no caller.
    pub fn count_estimate(&self) -> Result<u64, Error> {
        self.viewer()?;
        Ok(u64::from(self.estimates.fetch_add(1, Ordering::Relaxed)) + 1)
    }

    /// Loads rows.
    ///
    /// # Errors
    /// There is no caller, or the batch failed.
    pub async fn load<K: Key>(&self, key: K) -> Result<K::Value, Error> {
        self.viewer()?;
        let batches = Arc::clone(&self.loaded().rows);
        batches.load(key).await
    }

    /// Whether the caller sees what lies below a row that is at hand. A row that this request has read is seen; the
    /// answer to a write under an idempotency key may be older than the row's deletion, or than the caller's leaving.
    ///
    /// # Errors
    /// There is no caller, or the batch failed.
    pub async fn sees_below<V, K: Key<Value = Option<V>>>(
        &self,
        deleted_at: Option<chrono::DateTime<chrono::Utc>>,
        row: K,
    ) -> Result<bool, Error> {
        Ok(deleted_at.is_none() && (!self.has_kept.load(Ordering::Relaxed) || self.load(row).await?.is_some()))
    }

    /// Loads a report.
    ///
    /// # Errors
    /// There is no caller, or the batch failed.
    pub async fn load_report<K: Key>(&self, source: ReportSource, key: K) -> Result<K::Value, Error> {
        self.viewer()?;
        let batches = {
            let Loaded { reports, newer_reports, .. } = &*self.loaded();
            let newer = match source {
                ReportSource::Usual => None,
                ReportSource::Newer(place) => newer_reports.get(place),
            };
            Arc::clone(newer.unwrap_or(reports))
        };
        batches.load(key).await
    }

    /// Writes unless decoding the input has found `faults`, and forgets what was read before.
    ///
    /// # Errors
    /// The input was refused, or the write failed; nothing was written then.
    pub async fn execute<C: Command>(
        &self,
        faults: Vec<UserError>,
        command: C,
        idempotency_key: Option<String>,
    ) -> Result<C::Output, Failure<C::Output>> {
        let viewer = self.viewer()?;
        self.has_kept.fetch_or(idempotency_key.is_some(), Ordering::Relaxed);
        let key = idempotency_key.map(|key| IdempotencyKey { viewer, key });
        // The library runs mutation fields under a mutation operation only, and that has a writer.
        let writer = self.route.writer.as_ref().ok_or_else(no_writer)?;
        let outcome = writer.execute(faults, command, key).await;
        *self.loaded() = Loaded::new(viewer, &self.route, &self.gate);
        outcome
    }

    /// Proof of what this request has written until now.
    #[must_use]
    pub fn consistency_token(&self) -> Option<String> {
        self.route.writer.as_ref()?.consistency_token()
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_writer() -> Error {
    Error::Internal(Arc::new(sea_orm::DbErr::Custom("a mutation has no writer".to_owned())))
}
