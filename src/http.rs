//! The router: the GraphQL endpoint, the page and its files, the schema, health.

mod connection;
pub mod execution;
mod graphql;
mod guard;
mod health;
mod json;
mod media_type;
mod page;
mod playground;
mod request;
pub mod response;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};

pub use self::connection::serve;
use crate::clock;
use crate::config::{HttpSettings, Limits};
use crate::database::Database;
use crate::identity::Verifier;
use crate::schema::{self, Schema};

/// What every handler may reach.
pub struct App {
    /// The executable schema.
    pub schema: Schema,
    /// The doors.
    pub database: Arc<Database>,
    /// Checks bearer tokens.
    pub verifier: Verifier,
    /// What one request may ask for.
    pub limits: Limits,
    /// How it speaks HTTP.
    pub http: HttpSettings,
    /// Whether `X-Debug: sql` is answered.
    pub debug_sql: bool,
    /// A token for the page of a browser on this machine; only in the private mode.
    pub page_token: Option<String>,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The routes of the server.
fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(page::serve))
        .route("/assets/{name}", get(playground::asset))
        .route("/graphql", any(graphql::serve))
        .route("/schema.graphql", get(schema_text))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .with_state(app)
        .layer(CatchPanicLayer::custom(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, NewRequestId))
        .layer(axum::middleware::map_request(check_request_id))
}

async fn schema_text() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], schema::sdl())
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
