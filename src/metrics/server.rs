//! Figures of database servers: whether they answer, how old their data is, and when a replica was passed over.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ServerLabels {
    server: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// The figures of all servers.
#[derive(Clone, Debug, Default)]
pub struct ServerFamilies {
    up: Family<ServerLabels, Gauge>,
    lag: Family<ServerLabels, Gauge<f64, AtomicU64>>,
    fallbacks: Family<ReasonLabels, Counter>,
}

impl ServerFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("server_up", "Whether a server answers", self.up.clone());
        registry.register_with_unit(
            "server_lag",
            "How old the data of a server may be, as it was last seen",
            Unit::Seconds,
            self.lag.clone(),
        );
        registry.register(
            "fallbacks",
            "Requests for which a replica would have been read, and the primary was",
            self.fallbacks.clone(),
        );
    }

    /// Those of one server.
    #[must_use]
    pub fn of(&self, server: &str) -> ServerMetrics {
        let labels = ServerLabels { server: server.to_owned() };
        ServerMetrics { up: self.up.get_or_create_owned(&labels), lag: self.lag.get_or_create_owned(&labels) }
    }

    /// Those of replicas that were passed over.
    #[must_use]
    pub fn fallbacks(&self) -> FallbackMetrics {
        FallbackMetrics(self.fallbacks.clone())
    }
}

/// The figures of one server.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    up: Gauge,
    lag: Gauge<f64, AtomicU64>,
}

impl ServerMetrics {
    /// It was looked at: whether it answered, and how old its data may be, where that is known.
    pub fn seen(&self, is_up: bool, lag: Option<Duration>) {
        self.up.set(i64::from(is_up));
        if let Some(lag) = lag {
            self.lag.set(lag.as_secs_f64());
        }
    }
}

/// Why the primary was read instead of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// No replica answers.
    Down,
    /// All of them are too far behind, or have just come back.
    Late,
    /// None of them had reached in time what the caller has written.
    Behind,
    /// They failed in the middle.
    Failed,
}

/// The figures of replicas that were passed over.
#[derive(Clone, Debug)]
pub struct FallbackMetrics(Family<ReasonLabels, Counter>);

impl FallbackMetrics {
    /// The primary was read instead.
    pub fn count(&self, fallback: Fallback) {
        let reason = match fallback {
            Fallback::Down => "down",
            Fallback::Late => "late",
            Fallback::Behind => "behind",
            Fallback::Failed => "failed",
        };
        self.0.get_or_create(&ReasonLabels { reason }).inc();
    }
}
