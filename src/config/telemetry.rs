//! Settings of what is told about requests, besides the log.

use axum::http::Uri;
use clap::Args;

/// What --help calls them.
pub(super) const HEADING: &str = "Traces";

/// Where traces go, and of how many requests.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct TelemetrySettings {
    /// Where traces are sent, by OTLP over HTTP: http://localhost:4318. `/v1/traces` is added. Without it there are none.
    /// Delivery is to a collector on this host or network; it speaks TLS where they go further.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = endpoint, global = true)]
    pub otlp_endpoint: Option<String>,

    /// The name of this server in traces.
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "trellis", value_name = "NAME", global = true)]
    pub service_name: String,

    /// The share of requests that is traced, from 0 to 1, of those that bring no `traceparent`; one that does says itself.
    /// A statement of a traced request is planned anew, since it tells the trace to PostgreSQL.
    #[arg(long, env = "TRELLIS_TRACE_RATIO", default_value_t = 0.1, value_name = "RATIO", value_parser = ratio,
        global = true)]
    pub trace_ratio: f64,
}

/// Reads the address of a collector.
fn endpoint(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let is_http = text.parse::<Uri>().is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some());
    if is_http {
        return Ok(text.to_owned());
    }
    Err("it is http, a host and a port, as in http://localhost:4318; a collector there can go on with https".to_owned())
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "it is a number from 0 to 1, as in 0.1".to_owned())
}
