//! The page for a person in a browser. It loads nothing from another host, and runs nothing that is not in it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::connection::Connection;
use super::{App, playground};

/// The page of a binary that was built without Node.js.
const SMALL_PAGE: &str = include_str!("page.html");

/// The playground, or the small page. It carries a token only in the private mode, and only to a browser on this machine
/// that asks for it by one of its own names: a foreign name that resolves to 127.0.0.1 is another site's.
pub(super) async fn serve(
    State(app): State<Arc<App>>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_local = connection.peer.to_canonical().is_loopback() && host.is_some_and(is_loopback);
    let token = app.page_token.as_deref().filter(|_| is_local).unwrap_or_default();
    let shown = playground::PAGE.map_or_else(small, |page| Ok((page.to_owned(), playground::POLICY.to_owned())));
    let (page, policy) = match shown {
        Ok(shown) => shown,
        Err(error) => {
            tracing::error!(%error, "the system gives no random numbers");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let headers = [(header::CONTENT_SECURITY_POLICY, policy.as_str()), (header::CACHE_CONTROL, "no-store")];
    (headers, Html(page.replace("{{token}}", token))).into_response()
}

/// The small page and its policy: only what carries this answer's nonce is run.
fn small() -> Result<(String, String), getrandom::Error> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)?;
    let nonce = format!("{:032x}", u128::from_be_bytes(nonce));
    let page = SMALL_PAGE
        .replace("<style>", &format!("<style nonce=\"{nonce}\">"))
        .replace("<script>", &format!("<script nonce=\"{nonce}\">"));
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    Ok((page, policy))
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}
