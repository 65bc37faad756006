//! The playground, a page and what it loads, as `build.rs` found them. In a binary that was built without Node.js there
//! is none, and `page` has a page of its own.

use std::io::Read;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

// `BUILT`, and `ASSETS`: the name of each file and its bytes, gzipped.
include!(concat!(env!("OUT_DIR"), "/playground.rs"));

/// The HTML, with a place for the token; none where the playground was not built.
pub(super) const PAGE: Option<&str> = BUILT;

/// What the page and its workers may load. The editor makes style elements as it goes, so styles cannot be strict.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; \
     style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// The only file whose name does not change with its content.
const LICENSES: &str = "licenses.txt";

/// A file that the page loads: as it is stored to whoever takes gzip, as every browser does, and unpacked to others.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((_, packed)) = ASSETS.iter().find(|(known, _)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let common = [
        (header::CONTENT_TYPE, media_type(&name)),
        (header::CACHE_CONTROL, if name == LICENSES { "no-cache" } else { "public, max-age=31536000, immutable" }),
        (header::VARY, "Accept-Encoding"),
        // A worker is under the policy of its own file, not under its page's.
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    if takes_gzip(&headers) {
        return (common, [(header::CONTENT_ENCODING, "gzip")], *packed).into_response();
    }
    let mut plain = Vec::new();
    match GzDecoder::new(*packed).read_to_end(&mut plain) {
        Ok(_) => (common, plain).into_response(),
        Err(error) => {
            tracing::error!(%error, name, "a file of the playground is damaged");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("txt") => "text/plain; charset=utf-8",
        Some("ttf") => "font/ttf",
        _ => "application/octet-stream",
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_refused = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0_f32));
        name.trim().eq_ignore_ascii_case("gzip") && !is_refused
    })
}
