//! What becomes of a request that has to wait for a connection.
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use serde_json::json;
use tokio::task::JoinHandle;

use crate::errors::{beside, lock, waiting};
use crate::harness::{SECRET, World, eventually};
use crate::instance::{Instance, trellis};

/// A server of one connection for rows in a process of its own, and someone who asks it.
struct Narrow {
    world: World,
    token: String,
    server: Instance,
    url: String,
}

impl Narrow {
    async fn new(words: &[&str]) -> Self {
        let world = World::new().await;
        let token = world.token(world.user("ada").await);
        let mut command = trellis();
        command.args(["--database-url", &world.addresses.primary, "--jwt-secret", SECRET, "--listen", "127.0.0.1:0"]);
        command.args(["--primary-connections", "1"]).args(words);
        let mut server = Instance::spawn(&mut command);
        let url = server.url().await;
        Self { world, token, server, url }
    }

    /// Sends a query that reads a table, and gives the answer's text.
    fn ask(&self, name: &str) -> JoinHandle<String> {
        let body = json!({ "query": format!("query {name} {{ workspaces(first: 1) {{ nodes {{ name }} }} }}") });
        let request = self.world.http().post(format!("{}/graphql", self.url)).bearer_auth(&self.token).json(&body);
        tokio::spawn(async move { request.send().await.unwrap().text().await.unwrap() })
    }

    /// The value of a sample of the primary's pool.
    async fn figure(&self, name: &str, labels: &str) -> f64 {
        let text = reqwest::get(format!("{}/metrics", self.url)).await.unwrap().text().await.unwrap();
        let sample = format!("trellis_pool_{name}{{door=\"primary\"{labels}}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&sample)?.parse().ok());
        value.unwrap_or_else(|| panic!("there is {sample}: {text}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_is_given_up_is_in_the_metrics_and_in_the_line_of_the_request() {
    let mut narrow = Narrow::new(&["--acquire-timeout-ms", "300"]).await;
    let beside = beside(&narrow.world).await;
    let lock = lock(&narrow.world, "workspaces").await;
    // It holds the only connection, and gives up the lock after a second; the other one must have given up before.
    let first = narrow.ask("First");
    waiting(&beside).await;
    let second = narrow.ask("Second").await.unwrap();
    assert!(second.contains("OVERLOADED"), "{second}");
    assert_eq!(narrow.figure("connections", ",state=\"in_use\"").await, 1.0);
    assert_eq!(narrow.figure("connections", ",state=\"idle\"").await, 0.0);
    assert_eq!(narrow.figure("max_connections", "").await, 1.0);
    lock.rollback().await.unwrap();
    let first = first.await.unwrap();
    assert!(!first.contains("errors"), "{first}");

    let line = narrow.server.logs("operation=\"Second\"").await;
    assert!(line.contains("statements=0") && line.contains("database_ms=0"), "the wait is no statement: {line}");
    assert!(wait_ms(&line) >= 300.0, "{line}");
    let line = narrow.server.logs("operation=\"First\"").await;
    assert!(line.contains("statements=1"), "{line}");
    assert_eq!(narrow.figure("timeouts_total", "").await, 1.0);
    assert_eq!(narrow.figure("waiting", "").await, 0.0);
    assert!(narrow.figure("wait_seconds_sum", "").await >= 0.3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_is_rewarded_is_no_time_of_the_database() {
    let mut narrow = Narrow::new(&["--acquire-timeout-ms", "10000"]).await;
    let beside = beside(&narrow.world).await;
    let lock = lock(&narrow.world, "workspaces").await;
    let first = narrow.ask("First");
    waiting(&beside).await;
    let second = narrow.ask("Second");
    eventually("the second request waits for the connection", async || {
        let waiting = narrow.figure("waiting", "").await;
        (waiting >= 1.0).then_some(()).ok_or(waiting)
    })
    .await;
    lock.rollback().await.unwrap();
    for answer in [first, second] {
        let answer = answer.await.unwrap();
        assert!(!answer.contains("errors"), "{answer}");
    }
    let (first, second) = (narrow.server.logs("\"First\"").await, narrow.server.logs("\"Second\"").await);
    assert!(second.contains("statements=1"), "{second}");
    // The second one waited for the first one's statement, which waited for the lock.
    assert!(wait_ms(&second) > wait_ms(&first), "{first}{second}");
    let total_ms = value(&second, "total_ms");
    assert!(wait_ms(&second) + value(&second, "database_ms") <= total_ms, "each moment counts once: {second}");
    assert_eq!(narrow.figure("timeouts_total", "").await, 0.0);
    assert_eq!(narrow.figure("waiting", "").await, 0.0);
    eventually("the connection is back", async || {
        let idle = narrow.figure("connections", ",state=\"idle\"").await;
        (idle == 1.0).then_some(()).ok_or(idle)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_the_end_of_the_request_cuts_off_counts_too() {
    let mut narrow = Narrow::new(&["--acquire-timeout-ms", "10000", "--request-timeout-ms", "300"]).await;
    let lock = lock(&narrow.world, "workspaces").await;
    let answers = tokio::join!(narrow.ask("Some"), narrow.ask("Some"));
    for answer in [answers.0.unwrap(), answers.1.unwrap()] {
        assert!(answer.contains("TIMEOUT"), "{answer}");
    }
    lock.rollback().await.unwrap();
    assert_eq!(narrow.figure("waiting", "").await, 0.0);
    assert!(narrow.figure("wait_seconds_sum", "").await > 0.1, "one of them had no connection");
    assert_eq!(narrow.figure("timeouts_total", "").await, 0.0);
    let line = narrow.server.logs("operation=\"Some\"").await;
    assert!(line.contains("pool_wait_ms="), "{line}");
}

fn wait_ms(line: &str) -> f64 {
    value(line, "pool_wait_ms")
}

/// The number of a field in a request's line.
fn value(line: &str, field: &str) -> f64 {
    let value = line.split(&format!(" {field}=")).nth(1).unwrap_or_else(|| panic!("the line tells {field}: {line}"));
    value.split_whitespace().next().unwrap().parse().unwrap()
}
