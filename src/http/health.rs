//! Whether the process lives, and whether it can serve.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;

use super::App;

/// The process answers; the database is not asked.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// 200 where the primary answers; a replica that does not is told, and is no reason to send requests elsewhere.
pub(super) async fn ready(State(app): State<Arc<App>>) -> impl IntoResponse {
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
    (status, Json(json!({ "status": word, "primary": primary, "replicas": replicas })))
}
