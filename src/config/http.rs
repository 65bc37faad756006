//! Settings of how HTTP is spoken.

use std::path::PathBuf;

use axum::http::{HeaderValue, Uri};
use clap::{Args, ValueEnum};

use super::Limits;

/// What --help calls them.
pub(super) const HEADING: &str = "HTTP";

/// Who may call from a page, how many at a time, and how long a client may take.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct HttpSettings {
    /// The origins whose pages may call, separated by commas: https://app.example,http://localhost:3000. None, where
    /// nothing is said. Pages of this server's own origin always may, and so may what is no browser.
    #[arg(long, env = "TRELLIS_CORS_ORIGINS", value_name = "ORIGINS", value_delimiter = ',', value_parser = origin,
        global = true)]
    pub cors_origins: Vec<HeaderValue>,

    /// Milliseconds that a connection may be silent between requests, or take for the head of one; then it is closed.
    /// A proxy that keeps connections open should let go of them sooner, or it sends into closed ones now and then.
    #[arg(long, env = "TRELLIS_IDLE_TIMEOUT_MS", default_value_t = 75_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=3_600_000), global = true)]
    pub idle_timeout_ms: u64,

    /// A manifest of the documents that clients were built with, to be asked for by documentId: what graphql-codegen
    /// (persistedDocuments), relay-compiler (persistConfig) and Apollo's generate-persisted-query-manifest write. Each is checked
    /// at the start, and parsed once.
    #[arg(long, env = "TRELLIS_DOCUMENTS", value_name = "FILE", global = true)]
    pub documents: Option<PathBuf>,

    /// What becomes of a document that is not in the manifest.
    #[arg(long, env = "TRELLIS_TRUSTED_DOCUMENTS", default_value = "off", value_name = "MODE", global = true)]
    pub trusted_documents: Trust,

    /// GraphQL requests that are worked on at a time; one more is answered with OVERLOADED at once. By default 64 for each
    /// database connection: where a request takes four statements of 4 ms, the last in line waits for about a second.
    /// Too few: requests are refused that could have been answered. Too many: they wait, and are refused later.
    #[arg(long, env = "TRELLIS_MAX_REQUESTS", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000), global = true)]
    pub max_requests: Option<u32>,

    /// HTTP connections that are open at a time. On 32 more, each request is answered with OVERLOADED, but /livez, /readyz
    /// and /metrics as ever; past these, connections are closed. Each is an open file, of which many systems allow a
    /// process 1,024 (ulimit -n), and takes 230 KB at most while a request comes.
    #[arg(long, env = "TRELLIS_MAX_CONNECTIONS", default_value_t = 800, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000), global = true)]
    pub max_connections: u32,

    /// Points that a caller may spend each second; 0 is no limit. A request costs its complexity, one point at least, also
    /// where it is refused; `X-Debug: cost` tells it. A caller is the user of the token or, without one, an address. Answers say in
    /// RateLimit headers what is left; beyond it they are 429 RATE_LIMITED with Retry-After. It is off by default, since
    /// what is much depends on the clients: a page of 100 tasks with 10 fields each costs 1,000, a script that reads such
    /// pages one after the other spends 50,000 a second. Behind a proxy, all without a token are one caller.
    #[arg(long, env = "TRELLIS_RATE_LIMIT", default_value_t = 0, value_name = "POINTS",
        value_parser = clap::value_parser!(u32).range(0..=10_000_000), global = true)]
    pub rate_limit: u32,

    /// Points that a caller may spend at once who has spent none for a while, --max-complexity or more. By default what
    /// comes back in 30 seconds, and at least --max-complexity.
    #[arg(long, env = "TRELLIS_RATE_LIMIT_BURST", value_name = "POINTS",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000_000), global = true)]
    pub rate_limit_burst: Option<u32>,

    /// Milliseconds in which the body of a request must have arrived.
    #[arg(long, env = "TRELLIS_BODY_TIMEOUT_MS", default_value_t = 10_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=600_000), global = true)]
    pub body_timeout_ms: u64,

    /// Milliseconds that a client may take nothing of its answer; then the connection is closed. Likewise where it has
    /// fallen as far behind 4 KiB a second. Too short, and clients whose network fails for a moment lose long answers.
    #[arg(long, env = "TRELLIS_SEND_TIMEOUT_MS", default_value_t = 30_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=3_600_000), global = true)]
    pub send_timeout_ms: u64,

    /// Milliseconds that connections are still accepted after SIGTERM, while /readyz says 503 already: as long as a
    /// balancer takes to notice. Too short, and it sends requests to a closed port. Ctrl-C does not wait.
    #[arg(long, env = "TRELLIS_SHUTDOWN_GRACE_MS", default_value_t = 2_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(0..=600_000), global = true)]
    pub shutdown_grace_ms: u64,

    /// Milliseconds that requests and writes under way may take after that. What is not done then is cut off, and the exit
    /// code is 1. Both times together should be shorter than what the platform waits before it kills the process.
    #[arg(long, env = "TRELLIS_DRAIN_TIMEOUT_MS", default_value_t = 15_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(0..=3_600_000), global = true)]
    pub drain_timeout_ms: u64,
}

/// What becomes of a document that is not in the manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Trust {
    /// It is answered
    #[default]
    Off,
    /// It is answered, and the log tells of each operation once
    Log,
    /// It is refused, also from the page and from tools that ask for the schema
    Enforce,
}

/// For how many seconds' points a caller may save.
const BURST_SECONDS: u32 = 30;

impl HttpSettings {
    /// Points in a full bucket.
    #[must_use]
    pub fn rate_limit_burst(&self, limits: &Limits) -> u32 {
        let usual = self.rate_limit.saturating_mul(BURST_SECONDS).max(limits.max_complexity);
        self.rate_limit_burst.unwrap_or(usual)
    }
}

/// Reads an origin as browsers send it, such as `https://app.example`: they are compared as text.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let text = text.trim();
    let is_origin = text.parse::<Uri>().is_ok_and(|uri| match (uri.scheme_str(), uri.authority()) {
        (Some(scheme @ ("http" | "https")), Some(authority)) => {
            let own_port = if scheme == "http" { 80 } else { 443 };
            text == format!("{scheme}://{authority}").to_ascii_lowercase()
                && !authority.as_str().contains(['@', '*'])
                && authority.port_u16() != Some(own_port)
        }
        _ => false,
    });
    let origin = HeaderValue::from_str(text).ok().filter(|_| is_origin);
    origin.ok_or_else(|| {
        "an origin is a scheme, a host in lower case and a port that is not the scheme's own, as in \
                          https://app.example or http://localhost:3000"
            .to_owned()
    })
}
