//! The figures of the pools of connections.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// The connections of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSize {
    /// Handed out.
    pub in_use: u32,
    /// Open and free.
    pub idle: u32,
    /// How many there may be.
    pub max: u32,
}

impl PoolSize {
    /// Whether there are any.
    #[must_use]
    pub fn is_used(self) -> bool {
        self.in_use + self.idle > 0
    }
}

/// Why a wait for a connection was in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedOut {
    /// All were busy.
    Busy,
    /// Those were that the caller's workspace, or the caller, may have.
    Share,
}

/// The figures of one door's pool.
#[derive(Clone, Debug)]
pub struct PoolMetrics {
    pub(super) wait: Histogram,
    pub(super) timeouts: Counter,
    pub(super) share_timeouts: Counter,
    pub(super) waiting: Gauge,
}

impl PoolMetrics {
    /// Somebody waits for a connection.
    pub fn wait_began(&self) {
        self.waiting.inc();
    }

    /// They wait no longer: they got one, or gave up, or were given up.
    pub fn wait_ended(&self, waited: Duration) {
        self.waiting.dec();
        self.wait.observe(waited.as_secs_f64());
    }

    /// They gave up.
    pub fn timed_out(&self, why: TimedOut) {
        self.timeouts.inc();
        if why == TimedOut::Share {
            self.share_timeouts.inc();
        }
    }
}
