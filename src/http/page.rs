//! The page for a person in a browser. It loads nothing from another host, and runs nothing that is not in it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};

use super::App;

const PAGE: &str = include_str!("page.html");

/// The page. It carries a token only in the private mode, and only to a browser that asks for this machine by one of
/// its own names: a foreign name that resolves to 127.0.0.1 is another site's.
pub(super) async fn serve(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let is_local = headers.get(header::HOST).and_then(|host| host.to_str().ok()).is_some_and(is_loopback);
    let token = app.page_token.as_deref().filter(|_| is_local).unwrap_or_default();
    let mut nonce = [0; 16];
    if let Err(error) = getrandom::fill(&mut nonce) {
        tracing::error!(%error, "the system gives no random numbers");
        return axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let nonce = format!("{:032x}", u128::from_be_bytes(nonce));
    let page = PAGE
        .replace("{{token}}", token)
        .replace("<style>", &format!("<style nonce=\"{nonce}\">"))
        .replace("<script>", &format!("<script nonce=\"{nonce}\">"));
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(page)).into_response()
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}
