//! Delivers traces to a collector, on the server's own runtime, and says once when it cannot.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, Bytes, to_bytes};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

/// How long a delivery may take. Meanwhile new spans wait in a queue of 2,048, and past that are dropped.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer of a collector, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1_024;

/// A client of the collector.
#[derive(Debug)]
pub(super) struct Collector {
    client: Client<HttpConnector, Body>,
    runtime: Handle,
    /// The last delivery failed, and the log has been told.
    fails: AtomicBool,
}

impl Collector {
    /// It delivers on the runtime of the caller: the thread that batches spans has none.
    pub(super) fn new() -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, runtime: Handle::current(), fails: AtomicBool::new(false) }
    }

    fn tell(&self, failure: Option<String>) {
        if self.fails.swap(failure.is_some(), Ordering::Relaxed) == failure.is_some() {
            return;
        }
        if let Some(failure) = failure {
            tracing::warn!(failure, "traces cannot be delivered, and are dropped until they can");
        } else {
            tracing::info!("traces are delivered again");
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let delivery = async move { tokio::time::timeout(TIMEOUT, deliver(client, request)).await };
        let delivered: Result<_, HttpError> = match self.runtime.spawn(delivery).await {
            Ok(Ok(delivered)) => delivered,
            Ok(Err(_)) => Err("the collector does not answer".into()),
            Err(ended) => Err(ended.into()),
        };
        self.tell(match &delivered {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(causes(error.as_ref())),
        });
        delivered
    }
}

async fn deliver(client: Client<HttpConnector, Body>, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (head, body) = client.request(request.map(Body::from)).await?.into_parts();
    Ok(Response::from_parts(head, to_bytes(Body::new(body), MAX_ANSWER_BYTES).await?))
}

/// An error with everything that led to it: the first of them says only that there was one.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    all.collect::<Vec<_>>().join(": ")
}
