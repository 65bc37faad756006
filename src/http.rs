//! The router: the GraphQL endpoint, the page and its files, the schema, health.

mod admission;
mod connection;
pub mod execution;
mod graphql;
mod health;
pub mod json;
mod media_type;
mod page;
mod playground;
mod request;
pub mod response;
mod sdl;
mod shutdown;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_http::cors::{AllowHeaders, CorsLayer};
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;

pub use self::admission::Admission;
pub use self::connection::serve;
pub use self::shutdown::Shutdown;
use crate::clock;
use crate::config::HttpSettings;
use crate::database::Database;
use crate::guard::Guard;
use crate::identity::Verifier;
use crate::metrics::Metrics;
use crate::rate_limit::RateLimiter;
use crate::schema::Schema;
use crate::telemetry::Traces;
use crate::trusted_documents::TrustedDocuments;

/// What every handler may reach.
pub struct App {
    /// The executable schema.
    pub schema: Schema,
    /// The doors.
    pub database: Arc<Database>,
    /// What `/metrics` tells.
    pub metrics: Metrics,
    /// Checks bearer tokens.
    pub verifier: Verifier,
    /// What one request may ask for.
    pub guard: Arc<Guard>,
    /// The documents that clients were built with.
    pub trusted_documents: TrustedDocuments,
    /// How much each caller may ask for; none where that is not limited.
    pub rate_limiter: Option<RateLimiter>,
    /// How many requests are worked on at a time.
    pub admission: Admission,
    /// How it speaks HTTP.
    pub http: HttpSettings,
    /// Whether `X-Debug: sql` is answered.
    pub debug_sql: bool,
    /// A token for the page of a browser on this machine; only in the private mode.
    pub page_token: Option<String>,
    /// The traces of requests, where they are wanted.
    pub traces: Option<Traces>,
    /// Whether it is about to stop.
    pub shutdown: Shutdown,
}

/// What a caller may still ask for, and what rule that follows.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header in which a client proves what it has written, and gets proof of what it writes and reads.
const CONSISTENCY_TOKEN: HeaderName = HeaderName::from_static("x-consistency-token");

/// An answer below this many bytes fits into one packet, and is sent as it is.
const COMPRESSED_FROM_BYTES: u64 = 1_024;

/// How long a browser need not ask again whether it may send a request of another origin.
const PREFLIGHT_GOOD_FOR: Duration = Duration::from_hours(2);

/// The routes of the server.
fn router(app: Arc<App>) -> Router {
    let of_other_origins = Router::new()
        .route("/graphql", any(graphql::serve))
        .route("/schema.graphql", get(sdl::serve))
        .layer(cross_origin(&app.http.cors_origins));
    let watched = Arc::clone(&app);
    Router::new()
        .route("/", get(page::serve))
        .route("/assets/{name}", get(playground::asset))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .merge(of_other_origins)
        .layer(axum::middleware::from_fn_with_state(app.shutdown.clone(), shutdown::close_connection))
        .with_state(app)
        .layer(CatchPanicLayer::custom(move |_| {
            watched.metrics.panics().panicked();
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }))
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_FROM_BYTES)))
        .layer(unless_set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(unless_set(header::REFERRER_POLICY, "no-referrer"))
        .layer(unless_set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, NewRequestId))
        .layer(axum::middleware::map_request(check_request_id))
}

fn unless_set(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

/// What pages of other origins may do. There are no cookies, so it makes no difference which headers they send.
fn cross_origin(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(origins.to_vec())
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            REQUEST_ID,
            CONSISTENCY_TOKEN,
            RATE_LIMIT,
            RATE_LIMIT_POLICY,
            header::RETRY_AFTER,
            header::ETAG,
            header::WWW_AUTHENTICATE,
        ])
        .max_age(PREFLIGHT_GOOD_FOR)
}

/// The longest request id that is taken over from a client, in bytes: it is in every line of the log.
const REQUEST_ID_BYTES: usize = 128;

/// Takes away a request id that cannot be logged as it came.
async fn check_request_id(mut request: Request<Body>) -> Request<Body> {
    let is_good = |id: &HeaderValue| (1..=REQUEST_ID_BYTES).contains(&id.len()) && id.to_str().is_ok();
    if request.headers().get(&REQUEST_ID).is_some_and(|id| !is_good(id)) {
        request.headers_mut().remove(&REQUEST_ID);
    }
    request
}

/// Gives an id to a request that brings none.
#[derive(Clone, Copy)]
struct NewRequestId;

impl MakeRequestId for NewRequestId {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        HeaderValue::from_str(&clock::new_id().to_string()).ok().map(RequestId::new)
    }
}
