//! Whether the process lives, whether it can serve, and its figures for a monitoring system.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::App;
use crate::database::{Freshness, ServerState};
use crate::metrics::MEDIA_TYPE;
use crate::rate_limit::RateLimiter;

/// The process answers; the database is not asked.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// 200 where anything can be served: with all servers well, `ready`; else `degraded`, with what is wrong. The databases are
/// not asked: what was seen of them within the last moment is told, so that a busy pool does not make the server unready. A
/// server that is about to stop says so.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.shutdown.is_announced() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "stopping" }))).into_response();
    }
    let lag_ms = |freshness: Freshness| u64::try_from(freshness.lag().as_millis()).unwrap_or(u64::MAX);
    let (mut primary, mut reads) = (false, false);
    let (mut replicas, mut degraded) = (Vec::new(), Vec::new());
    for (name, state) in app.database.standings() {
        let lag = match state {
            ServerState::Replica(freshness) | ServerState::Late(freshness) | ServerState::Returning(freshness) => {
                freshness.map(lag_ms)
            }
            _ => None,
        };
        let problem = match state {
            ServerState::Primary | ServerState::Replica(Some(_)) => None,
            ServerState::Replica(None) | ServerState::Late(None) => Some("is too far behind to tell"),
            ServerState::Late(Some(_)) => Some("is too far behind to be read"),
            ServerState::Returning(_) => Some("is back, and not read yet"),
            ServerState::Away => Some("does not answer"),
            ServerState::Outdated => Some("is not a replica of the primary any more"),
            ServerState::Foreign => Some("is of another cluster"),
        };
        degraded.extend(problem.map(|problem| format!("{name} {problem}")));
        if state == ServerState::Primary {
            primary = true;
        } else if name != "primary" || lag.is_some() {
            replicas.push(json!({ "name": name, "lagMs": lag }));
        }
        // Late ones and those that return are read too, where there is no other.
        reads |= !matches!(state, ServerState::Away | ServerState::Outdated | ServerState::Foreign);
    }
    if !primary {
        degraded.push("no server takes writes".to_owned());
    }
    let (status, word) = match (reads, degraded.is_empty()) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (true, false) => (StatusCode::OK, "degraded"),
        (true, true) => (StatusCode::OK, "ready"),
    };
    (status, Json(json!({ "status": word, "primary": primary, "degraded": degraded, "replicas": replicas })))
        .into_response()
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
