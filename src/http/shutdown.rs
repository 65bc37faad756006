//! Between the signal and the end: requests are still answered, and clients are asked to go elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// Whether the server is about to stop. Clones are the same server's.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<AtomicBool>);

impl Shutdown {
    /// From now on `/readyz` answers 503, and connections are closed after their next answer.
    pub fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_announced(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Asks a client of a server that is about to stop for a new connection, which a balancer leads elsewhere. One that is
/// closed without a word may be closed while a request is on its way.
pub(super) async fn close_connection(State(shutdown): State<Shutdown>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if shutdown.is_announced() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
