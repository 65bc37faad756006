//! Whether the process lives, whether it can serve, and its figures for a monitoring system.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::App;
use crate::metrics::MEDIA_TYPE;
use crate::rate_limit::RateLimiter;

/// The process answers; the database is not asked.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// 200 where the primary answers; a replica that does not is told, and is no reason to send requests elsewhere. A server
/// that is about to stop says so without asking.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.shutdown.is_announced() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "stopping" }))).into_response();
    }
    let primary = app.database.ping().await.is_ok();
    let lag_ms = |freshness: crate::database::Freshness| u64::try_from(freshness.lag().as_millis()).unwrap_or(u64::MAX);
    let replicas: Vec<_> =
        app.database.replicas().map(|(name, seen)| json!({ "name": name, "lagMs": seen.map(lag_ms) })).collect();
    let degraded = replicas.iter().any(|replica| replica["lagMs"].is_null());
    let (status, word) = match (primary, degraded) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (true, true) => (StatusCode::OK, "degraded"),
        (true, false) => (StatusCode::OK, "ready"),
    };
    (status, Json(json!({ "status": word, "primary": primary, "replicas": replicas }))).into_response()
}

/// Everything that is counted, in OpenMetrics; the database is not asked.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    for (door, size) in app.database.pools() {
        app.metrics.pool_seen(door, size);
    }
    app.metrics.admission().callers(app.rate_limiter.as_ref().map_or(0, RateLimiter::callers));
    let text = app.metrics.text().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok::<_, StatusCode>(([(header::CONTENT_TYPE, MEDIA_TYPE)], text))
}
