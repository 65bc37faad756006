//! More than the server takes: what is beyond a bound is refused at once, and health is still told.
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trellis::clock;

use crate::errors::lock;
use crate::harness::{Answer, World, eventually};
use crate::metrics::scrape;

/// Asks for what tells how the server is.
async fn assert_health_is_told(world: &World) {
    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = world.http().get(world.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
}

/// Waits until a figure is as it should be.
async fn eventually_figure(world: &World, sample: &str, value: f64) {
    eventually(sample, || async {
        let found = scrape(world).await.get(sample).copied();
        if found == Some(value) { Ok(()) } else { Err(found) }
    })
    .await;
}

const REFUSED: &str = "trellis_requests_refused_total{reason=\"requests\"}";
const IN_FLIGHT: &str = "trellis_requests_in_flight";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_beyond_the_bound_is_refused_at_once_and_health_is_still_told() {
    let world = World::with(&["--max-requests", "2"]).await;
    let ada = world.user("ada").await;
    let lock = lock(&world, "tasks").await;
    let ask = || world.ask(ada, "query($id: ID!) { task(id: $id) { id } }", json!({ "id": clock::new_id() }));
    let beyond = async {
        eventually_figure(&world, IN_FLIGHT, 2.0).await;
        for _ in 0..3 {
            let answer = world.ask_anonymously("{ __typename }").await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
            assert_eq!(answer.codes(), ["OVERLOADED"]);
            assert_eq!(answer.headers["retry-after"], "1");
        }
        assert_health_is_told(&world).await;
        assert_eq!(scrape(&world).await[REFUSED], 3.0);
        lock.rollback().await.unwrap();
    };
    let (first, second, ()) = tokio::join!(ask(), ask(), beyond);
    for answer in [first, second] {
        assert_eq!(*answer.data(), json!({ "task": null }));
    }
    eventually_figure(&world, IN_FLIGHT, 0.0).await;
    world.ask(ada, "{ viewer { name } }", json!({})).await.data();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_caller_goes_away_or_whose_document_is_refused_gives_its_place_back() {
    let world = World::with(&["--max-requests", "1"]).await;
    let ada = world.user("ada").await;
    let lock = lock(&world, "tasks").await;
    let document = "query($id: ID!) { task(id: $id) { id } }";
    let body = json!({ "query": document, "variables": { "id": clock::new_id() } }).to_string();
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    let head = format!("{AUTHORIZATION}: Bearer {}\r\n{CONTENT_TYPE}: application/json", world.token(ada));
    let request = format!("POST /graphql HTTP/1.1\r\nHost: test\r\n{head}\r\nContent-Length: {}\r\n\r\n", body.len());
    socket.write_all(format!("{request}{body}").as_bytes()).await.unwrap();
    eventually_figure(&world, IN_FLIGHT, 1.0).await;
    assert_eq!(world.ask_anonymously("{").await.codes(), ["OVERLOADED"]);
    drop(socket);
    eventually_figure(&world, IN_FLIGHT, 0.0).await;
    for _ in 0..3 {
        assert_eq!(world.ask_anonymously("{").await.codes(), ["GRAPHQL_PARSE_FAILED"]);
    }
    lock.rollback().await.unwrap();
}

/// A connection that has been answered, and stays open.
async fn kept_open(world: &World) -> TcpStream {
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    socket.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut answer = [0; 4_096];
    assert!(socket.read(&mut answer).await.unwrap() > 0);
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_beyond_the_bound_is_told_so_and_health_is_still_told() {
    let world = World::with(&["--max-connections", "2"]).await;
    let open = [kept_open(&world).await, kept_open(&world).await];
    let ask = || async {
        let request = world.http().post(world.url("/graphql")).json(&json!({ "query": "{ __typename }" }));
        request.send().await
    };
    let answer = Answer::of(ask().await.unwrap()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    assert_eq!(answer.codes(), ["OVERLOADED"]);
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.headers["connection"], "close");
    assert_health_is_told(&world).await;
    // The two, and the one that asks; those that asked before are on their way out.
    eventually_figure(&world, "trellis_http_connections", 3.0).await;
    let samples = scrape(&world).await;
    assert!(samples["trellis_requests_refused_total{reason=\"connections\"}"] >= 5.0, "{samples:?}");

    // Who takes the reserve too is alone to blame, and gets nothing for it.
    let mut idle = Vec::new();
    let ended = loop {
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        assert!(idle.len() < 100, "connections without end");
        let _ = socket.write_all(b"GET /livez HTTP/1.1\r\n").await;
        let silent = tokio::time::timeout(std::time::Duration::from_millis(20), socket.read(&mut [0; 16])).await;
        match silent {
            Err(_) => idle.push(socket),
            Ok(ended) => break ended,
        }
    };
    assert!(matches!(ended, Ok(0) | Err(_)), "closed without a word: {ended:?}");
    assert!(idle.len() >= 30, "{}", idle.len());

    drop((open, idle));
    eventually("the server takes connections again", || async {
        let answer = Answer::of(ask().await.map_err(|error| error.to_string())?).await;
        if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.text) }
    })
    .await;
}
