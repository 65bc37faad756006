//! Figures for a monitoring system, in the text format of OpenMetrics: requests, statements, pools.
//!
//! Every label has few values. The names of operations come from clients: only those of trusted documents, and the first
//! hundred others that did something for a caller, get series of their own.

mod pool;
mod server;

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub use pool::{PoolMetrics, PoolSize, TimedOut};
pub use server::{Fallback, FallbackMetrics, ServerFamilies, ServerMetrics};

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From half a millisecond, which a statement by key takes, to the ten seconds that a request may take.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// A level of a query is a statement, or two with its counts.
const STATEMENTS: [f64; 9] = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

/// Keys of a batch: a level of a query may have thousands.
const KEYS: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 5_000.0];

/// How many operations are told apart by name, beside those of trusted documents.
const MAX_NAMES: usize = 100;

/// The longest name of those, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The name under which all others are counted.
const OTHER: &str = "other";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    name: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NameLabels {
    name: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BatchLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatementLabels {
    statement: &'static str,
    target: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DoorLabels {
    door: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ConnectionLabels {
    door: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusalLabels {
    reason: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// Every figure of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_duration: Histograms<OperationLabels>,
    request_statements: Histograms<OperationLabels>,
    admission: AdmissionMetrics,
    panics: PanicMetrics,
    trusted_names: HashSet<String>,
    names: RwLock<HashSet<String>>,
    operations: Family<OutcomeLabels, Counter>,
    operation_duration: Family<NameLabels, Counter<f64, AtomicU64>>,
    operation_statements: Family<NameLabels, Counter>,
    statement_duration: Histograms<StatementLabels>,
    batch_keys: Histograms<BatchLabels>,
    pool_wait: Histograms<DoorLabels>,
    pool_timeouts: Family<DoorLabels, Counter>,
    pool_share_timeouts: Family<DoorLabels, Counter>,
    pool_waiting: Family<DoorLabels, Gauge>,
    pool_connections: Family<ConnectionLabels, Gauge>,
    pool_max_connections: Family<DoorLabels, Gauge>,
    servers: ServerFamilies,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("trellis"),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(seconds),
            request_statements: Family::new_with_constructor(|| Histogram::new(STATEMENTS)),
            admission: AdmissionMetrics::default(),
            panics: PanicMetrics::default(),
            trusted_names: HashSet::new(),
            names: RwLock::default(),
            operations: Family::default(),
            operation_duration: Family::default(),
            operation_statements: Family::default(),
            statement_duration: Family::new_with_constructor(seconds),
            batch_keys: Family::new_with_constructor(|| Histogram::new(KEYS)),
            pool_wait: Family::new_with_constructor(seconds),
            pool_timeouts: Family::default(),
            pool_share_timeouts: Family::default(),
            pool_waiting: Family::default(),
            pool_connections: Family::default(),
            pool_max_connections: Family::default(),
            servers: ServerFamilies::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        let in_seconds = || Unit::Seconds;
        registry.register("requests", "Requests answered, by operation and code", self.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "From the first byte of a request to its answer",
            in_seconds(),
            self.request_duration.clone(),
        );
        registry.register("request_statements", "Statements of a request", self.request_statements.clone());
        let AdmissionMetrics { in_flight, connections, refused, callers } = &self.admission;
        registry.register("requests_in_flight", "GraphQL requests that are worked on now", in_flight.clone());
        registry.register("http_connections", "HTTP connections that are open now", connections.clone());
        registry.register("requests_refused", "Requests and connections beyond a bound, by which", refused.clone());
        registry.register("rate_limit_callers", "Callers who have spent points", callers.clone());
        registry.register("panics", "Requests that ended in a panic", self.panics.0.clone());
        registry.register("operations", "Operations by name, and whether they had an error", self.operations.clone());
        registry.register_with_unit(
            "operation_duration",
            "Time that operations took in all, by name",
            in_seconds(),
            self.operation_duration.clone(),
        );
        registry.register(
            "operation_statements",
            "Statements that operations took in all, by name",
            self.operation_statements.clone(),
        );
        registry.register("batch_keys", "Keys that were loaded together, by kind", self.batch_keys.clone());
        registry.register_with_unit(
            "statement_duration",
            "A statement on its connection, without the wait for one",
            in_seconds(),
            self.statement_duration.clone(),
        );
        registry.register_with_unit(
            "pool_wait",
            "Wait for a connection of a door, also where none came",
            in_seconds(),
            self.pool_wait.clone(),
        );
        registry.register("pool_timeouts", "Waits for a connection that were given up", self.pool_timeouts.clone());
        registry.register(
            "pool_share_timeouts",
            "Those of them that waited though others may have had one: their workspace had its share",
            self.pool_share_timeouts.clone(),
        );
        registry.register("pool_waiting", "Waits for a connection now", self.pool_waiting.clone());
        registry.register("pool_connections", "Open connections of a door", self.pool_connections.clone());
        registry.register(
            "pool_max_connections",
            "Connections that a door may open",
            self.pool_max_connections.clone(),
        );
        self.servers.register(registry);
    }

    /// These names of operations have series of their own, however many others come first.
    pub fn trust<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.trusted_names.extend(names.map(str::to_owned));
    }

    /// A request was answered: `query`, `mutation` or, where it was refused before that was known, `none`; `OK` or the
    /// code of its first error.
    pub fn request_answered(&self, operation: &'static str, code: &'static str, total: Duration, statements: usize) {
        self.requests.get_or_create(&RequestLabels { operation, code }).inc();
        let labels = OperationLabels { operation };
        self.request_duration.get_or_create(&labels).observe(total.as_secs_f64());
        let statements = u32::try_from(statements).unwrap_or(u32::MAX);
        self.request_statements.get_or_create(&labels).observe(f64::from(statements));
    }

    /// The figures of who gets in.
    #[must_use]
    pub fn admission(&self) -> AdmissionMetrics {
        self.admission.clone()
    }

    /// The figure of defects.
    #[must_use]
    pub fn panics(&self) -> PanicMetrics {
        self.panics.clone()
    }

    /// An operation was answered that a document calls `name`; `-` where it has none.
    pub fn operation_answered(&self, name: &str, code: &'static str, total: Duration, statements: usize) {
        let is_ok = code == "OK";
        // Whoever has no valid token makes no statement, and can use up no name.
        let name = if self.is_told_apart(name, is_ok && statements > 0) { name } else { OTHER }.to_owned();
        let outcome = if is_ok { "ok" } else { "error" };
        self.operations.get_or_create(&OutcomeLabels { name: name.clone(), outcome }).inc();
        let labels = NameLabels { name };
        self.operation_duration.get_or_create(&labels).inc_by(total.as_secs_f64());
        self.operation_statements.get_or_create(&labels).inc_by(u64::try_from(statements).unwrap_or(u64::MAX));
    }

    /// Whether a name has series of its own; one that `may_begin` to gets them while there are any left.
    fn is_told_apart(&self, name: &str, may_begin: bool) -> bool {
        if self.trusted_names.contains(name) || self.names.read().unwrap_or_else(PoisonError::into_inner).contains(name)
        {
            return true;
        }
        if !may_begin || name.len() > MAX_NAME_BYTES {
            return false;
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.len() < MAX_NAMES && (names.insert(name.to_owned()) || names.contains(name))
    }

    /// The figures of statements, for those who run them.
    #[must_use]
    pub fn statements(&self) -> StatementMetrics {
        StatementMetrics { duration: self.statement_duration.clone(), batch_keys: self.batch_keys.clone() }
    }

    /// The figures of one door's pool.
    #[must_use]
    pub fn pool(&self, door: &str) -> PoolMetrics {
        let labels = DoorLabels { door: door.to_owned() };
        PoolMetrics {
            wait: self.pool_wait.get_or_create_owned(&labels),
            timeouts: self.pool_timeouts.get_or_create_owned(&labels),
            share_timeouts: self.pool_share_timeouts.get_or_create_owned(&labels),
            waiting: self.pool_waiting.get_or_create_owned(&labels),
        }
    }

    /// The figures of servers.
    #[must_use]
    pub fn servers(&self) -> &ServerFamilies {
        &self.servers
    }

    /// How a door's pool looks now.
    pub fn pool_seen(&self, door: &str, size: PoolSize) {
        let door = door.to_owned();
        let max = self.pool_max_connections.get_or_create_owned(&DoorLabels { door: door.clone() });
        max.set(i64::from(size.max));
        for (state, connections) in [("in_use", size.in_use), ("idle", size.idle)] {
            let labels = ConnectionLabels { door: door.clone(), state };
            self.pool_connections.get_or_create(&labels).set(i64::from(connections));
        }
    }

    /// All of it, as [`MEDIA_TYPE`].
    ///
    /// # Errors
    /// Never in practice: text can always be written.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The figure of defects.
#[derive(Clone, Debug, Default)]
pub struct PanicMetrics(Counter);

impl PanicMetrics {
    /// A request ended in a panic.
    pub fn panicked(&self) {
        self.0.inc();
    }
}

/// By which bound something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Requests that are worked on at a time.
    Requests,
    /// Connections that are open at a time.
    Connections,
    /// Points of a caller.
    Rate,
    /// Requests of one workspace, or of one caller, that are worked on at a time.
    Share,
}

/// The figures of who gets in.
#[derive(Clone, Debug, Default)]
pub struct AdmissionMetrics {
    in_flight: Gauge,
    connections: Gauge,
    refused: Family<RefusalLabels, Counter>,
    callers: Gauge,
}

impl AdmissionMetrics {
    /// A request is worked on.
    pub fn entered(&self) {
        self.in_flight.inc();
    }

    /// It is not any more.
    pub fn left(&self) {
        self.in_flight.dec();
    }

    /// So many connections are open now.
    pub fn connections(&self, open: usize) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// So many callers have spent points that have not come back yet.
    pub fn callers(&self, callers: usize) {
        self.callers.set(i64::try_from(callers).unwrap_or(i64::MAX));
    }

    /// A request or a connection was beyond a bound.
    pub fn refused(&self, refusal: Refusal) {
        let reason = match refusal {
            Refusal::Requests => "requests",
            Refusal::Connections => "connections",
            Refusal::Rate => "rate",
            Refusal::Share => "share",
        };
        self.refused.get_or_create(&RefusalLabels { reason }).inc();
    }
}

/// The figures of statements.
#[derive(Clone, Debug)]
pub struct StatementMetrics {
    duration: Histograms<StatementLabels>,
    batch_keys: Histograms<BatchLabels>,
}

impl StatementMetrics {
    /// A statement ended on a kind of server, well or not.
    pub fn ran(&self, statement: &'static str, target: &'static str, elapsed: Duration) {
        self.duration.get_or_create(&StatementLabels { statement, target }).observe(elapsed.as_secs_f64());
    }

    /// Keys of a kind are loaded together.
    pub fn batched(&self, kind: &'static str, keys: usize) {
        let keys = u32::try_from(keys).unwrap_or(u32::MAX);
        self.batch_keys.get_or_create(&BatchLabels { kind }).observe(f64::from(keys));
    }
}
