//! Accepts connections up to a bound, closes those on which nothing comes or goes, and ends them in order when the server
//! stops.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::socket::Socket;
use super::{App, router};
use crate::metrics::Refusal;

/// How large the head of a request may be, in bytes: a URL of up to 64 KiB, and headers.
const MAX_HEAD_BYTES: usize = 96 * 1_024;

/// How long a server that stops waits for the first request of a connection. Browsers open some without need.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Connections beyond the bound that are still answered, once each: whoever asks for GraphQL is told that the server is
/// busy, and whoever watches over the server gets to see how it is. Past these a connection is closed without a word.
const RESERVE: usize = 32;

/// How long such a connection may take for the head of its request.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a request came on: an extension of each.
#[derive(Clone, Copy)]
pub(super) struct Connection {
    /// Where the other end is.
    pub peer: IpAddr,
    /// Whether there were as many connections as the server takes.
    pub is_beyond_bound: bool,
}

/// Serves until told to stop; then the listener closes, and every request that is under way is answered. Dropped before
/// that, it cuts them off.
pub async fn serve(mut listener: TcpListener, app: Arc<App>, stop: impl Future<Output = ()>) {
    let idle = Duration::from_millis(app.http.idle_timeout_ms);
    let patience = Duration::from_millis(app.http.send_timeout_ms);
    let bound = usize::try_from(app.http.max_connections).unwrap_or(usize::MAX);
    let admission = app.metrics.admission();
    let (closing, closed) = watch::channel(false);
    let service = TowerToHyperService::new(router(app));
    let mut connections = JoinSet::new();
    let accept = |connections: &mut JoinSet<()>, (stream, address): (TcpStream, SocketAddr)| {
        // A connection that ended in an error has nobody to tell it to.
        while connections.try_join_next().is_some() {}
        let connection = Connection { peer: address.ip(), is_beyond_bound: connections.len() >= bound };
        if connection.is_beyond_bound {
            admission.refused(Refusal::Connections);
        }
        if connections.len() < bound.saturating_add(RESERVE) {
            let socket = Socket::new(stream, patience);
            connections.spawn(answer(socket, connection, service.clone(), idle, closed.clone()));
        }
        admission.connections(connections.len());
    };
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = Listener::accept(&mut listener) => accept(&mut connections, accepted),
            Some(_) = connections.join_next() => admission.connections(connections.len()),
        }
    }
    // Who has connected, and was not accepted yet, would be refused after all. The kernel knows them; the runtime is told
    // a moment later.
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, address)) = listener.accept() {
            if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                accept(&mut connections, (stream, address));
            }
        }
    }
    closing.send_replace(true);
    while connections.join_next().await.is_some() {}
}

/// Answers the requests of one connection.
async fn answer(
    socket: Socket,
    connection: Connection,
    service: TowerToHyperService<Router>,
    idle: Duration,
    mut closed: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    // Between two requests the same time runs as within the head of one: who may be silent gains nothing by being slow.
    http.timer(TokioTimer::new()).header_read_timeout(if connection.is_beyond_bound { RESERVE_TIMEOUT } else { idle });
    http.max_header_size(MAX_HEAD_BYTES).keep_alive(!connection.is_beyond_bound);
    let asked = Notify::new();
    let service = service_fn(|request: Request<Incoming>| {
        asked.notify_one();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection);
        service.call(request)
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    tokio::select! {
        // What has come already is read before the connection is closed for being idle.
        biased;
        _ = connection.as_mut() => return,
        _ = closed.wait_for(|closed| *closed) => {}
    }
    // What nothing has come on yet would be closed at once, though a request may be on its way.
    tokio::select! {
        _ = connection.as_mut() => return,
        asked = timeout(FIRST_REQUEST, asked.notified()) => if asked.is_err() { return },
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
