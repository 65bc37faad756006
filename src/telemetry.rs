//! The log, and one line in it for each request. Never bodies, tokens or personal data.

mod export;
mod trace;

use std::io::IsTerminal;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::database::{Meter, Operation, Target};
use crate::metrics::Metrics;
pub use trace::{TRACE_RESPONSE, Trace, Traces};

/// Starts the log on standard error.
///
/// # Errors
/// The filter cannot be read.
pub fn start(filter: &str, json: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        anyhow::anyhow!("TRELLIS_LOG={filter} is not a filter such as info or warn,trellis=debug: {error}")
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let started = if json { log.json().flatten_event(true).try_init() } else { log.try_init() };
    // A second start in one process, as in tests, keeps the first.
    drop(started);
    Ok(())
}

/// A request that has been answered.
pub struct Answered<'a> {
    /// The document's name of the operation; `-` where it has none.
    pub operation: &'a str,
    /// The statements that it ran.
    pub meter: &'a Meter,
    /// What kind of operation it is; none where it was refused before that was known.
    pub kind: Option<Operation>,
    /// From the first byte of the request to the answer.
    pub total: Duration,
    /// `OK`, or the code of the first error.
    pub code: &'static str,
    /// The id in the request's and the answer's header.
    pub request_id: &'a str,
    /// The trace that it belongs to, where there are any.
    pub trace: Option<&'a Trace>,
}

impl Answered<'_> {
    /// Writes the line, counts the request, and ends its trace.
    pub fn tell(&self, metrics: &Metrics) {
        let executed = self.meter.executed();
        let kind = self.kind.map_or("none", Operation::name);
        metrics.request_answered(kind, self.code, self.total, executed.len());
        if self.kind.is_some() {
            metrics.operation_answered(self.operation, self.code, self.total, executed.len());
        }
        let database: Duration = executed.iter().map(|statement| statement.elapsed).sum();
        let uses = |target| executed.iter().any(|statement| statement.target == target);
        let route = match (uses(Target::Primary), uses(Target::Replica)) {
            (true, true) => "primary+replica",
            (true, false) => "primary",
            (false, true) => "replica",
            (false, false) => "none",
        };
        tracing::info!(
            operation = self.operation,
            route,
            statements = executed.len(),
            database_ms = milliseconds(database),
            pool_wait_ms = milliseconds(self.meter.waited()),
            total_ms = milliseconds(self.total),
            code = self.code,
            request_id = self.request_id,
            trace_id = self.trace.map(Trace::id),
            "request"
        );
        if let Some(trace) = self.trace {
            trace.end(self);
        }
    }
}

/// Milliseconds to the microsecond.
#[must_use]
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
