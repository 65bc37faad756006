//! The schema as text, for tools that generate code from it.

use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::App;
use crate::guard::Introspection;
use crate::schema;

/// The text and its entity tag. The tag is a weak one, since the text may be sent compressed.
static SDL: LazyLock<(String, String)> = LazyLock::new(|| {
    let text = schema::sdl();
    let tag = URL_SAFE_NO_PAD.encode(Sha256::digest(&text));
    (text, format!("W/\"{tag}\""))
});

/// The schema; nothing to a client that has it already, or may not.
pub(super) async fn serve(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if app.guard.introspection() == Introspection::Off {
        return StatusCode::NOT_FOUND.into_response();
    }
    let (text, tag) = &*SDL;
    let common = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, "no-cache")];
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let opaque = tag.trim_start_matches("W/");
    let is_known = |known: &str| known == "*" || known.trim_start_matches("W/") == opaque;
    if known.flat_map(|line| line.split(',')).any(|known| is_known(known.trim())) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.as_str()).into_response()
}
