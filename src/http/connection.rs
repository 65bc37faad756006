//! Accepts connections, and closes those on which nothing comes.

use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{App, router};

/// How large the head of a request may be, in bytes: a URL of up to 64 KiB, and headers.
const MAX_HEAD_BYTES: usize = 96 * 1_024;

/// Serves until told to stop; then the listener closes, and every request that is under way is answered. Dropped before
/// that, it cuts them off.
pub async fn serve(mut listener: TcpListener, app: Arc<App>, stop: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    // Between two requests the same time runs as within the head of one: who may be silent gains nothing by being slow.
    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_millis(app.http.idle_timeout_ms));
    http.max_header_size(MAX_HEAD_BYTES);
    let service = TowerToHyperService::new(router(app));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            (stream, _) = Listener::accept(&mut listener) => {
                // The last packet of a long answer would wait until the client has acknowledged the one before.
                let _ = stream.set_nodelay(true);
                let connection = http.serve_connection(TokioIo::new(stream), service.clone());
                connections.spawn(graceful.watch(connection));
            }
            // A connection that ended in an error has nobody to tell it to.
            Some(_) = connections.join_next() => {}
        }
    }
    drop((listener, service));
    let ended = async { while connections.join_next().await.is_some() {} };
    tokio::join!(graceful.shutdown(), ended);
}
