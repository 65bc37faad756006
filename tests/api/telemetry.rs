//! What the log tells of statements that are slow.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::errors::{beside, lock, waited, waiting};
use crate::harness::{PATIENT, SECRET, World};
use crate::instance::{Instance, trellis};

/// A server in a process of its own, and someone who asks it.
struct Server {
    world: World,
    ada: Uuid,
    url: String,
}

impl Server {
    async fn new(words: &[&str]) -> (Self, Instance) {
        let world = World::new().await;
        let ada = world.user("ada").await;
        let mut command = trellis();
        command.args(["--database-url", &world.addresses.primary, "--jwt-secret", SECRET, "--listen", "127.0.0.1:0"]);
        command.args(["--primary-connections", "4"]).args(words);
        let mut instance = Instance::spawn(&mut command);
        let url = instance.url().await;
        (Self { world, ada, url }, instance)
    }

    fn ask(&self, document: &str, request_id: &str) -> JoinHandle<Value> {
        let request = self.world.http().post(format!("{}/graphql", self.url)).bearer_auth(self.world.token(self.ada));
        let request = request.header("x-request-id", request_id).json(&json!({ "query": document }));
        tokio::spawn(async move { request.send().await.unwrap().json().await.unwrap() })
    }
}

const BY_SLUG: &str = "query Find { workspaceBySlug(slug: \"a-secret\") { name } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_statement_is_told_with_its_operation_and_without_its_values() {
    let (server, mut instance) = Server::new(&[&PATIENT[..], &["--slow-statement-ms", "100"]].concat()).await;
    let beside = beside(&server.world).await;
    let held = lock(&server.world, "workspaces").await;
    let answer = server.ask(BY_SLUG, "slow-1");
    let pid = waiting(&beside).await;
    waited(&beside, pid, Duration::from_millis(150)).await;
    held.rollback().await.unwrap();
    assert_eq!(answer.await.unwrap(), json!({ "data": { "workspaceBySlug": null } }));
    let line = instance.logs("slow statement").await;
    for part in ["WARN", "statement=\"workspace_by_slug\"", "target=\"primary\"", "rows=0", "keys=1"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    for part in ["failure=\"none\"", "operation=\"Find\"", "request_id=\"slow-1\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let duration: u64 = line.split("duration_ms=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((100..60_000).contains(&duration), "{line}");
    let ended = instance.interrupted().await;
    assert!(!ended.err.contains("a-secret"), "no values: {}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_was_given_up_with_its_request_is_told_too() {
    let words = ["--slow-statement-ms", "100", "--request-timeout-ms", "2000"];
    let (server, mut instance) = Server::new(&[&PATIENT[..], &words].concat()).await;
    let held = lock(&server.world, "workspaces").await;
    let answer = server.ask(BY_SLUG, "gone-1").await.unwrap();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "TIMEOUT");
    let line = instance.logs("slow statement").await;
    assert!(line.contains("failure=\"given up\"") && line.contains("request_id=\"gone-1\""), "{line}");
    let line = instance.logs("code=\"TIMEOUT\"").await;
    assert!(line.contains("statements=1"), "{line}");
    held.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_statement_counts_as_slow_none_is_told() {
    let (server, instance) = Server::new(&["--slow-statement-ms", "0"]).await;
    let held = lock(&server.world, "workspaces").await;
    let answer = server.ask(BY_SLUG, "silent-1").await.unwrap();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "TIMEOUT", "it waited a second for the lock");
    held.rollback().await.unwrap();
    let ended = instance.interrupted().await;
    assert!(ended.err.contains("request_id=\"silent-1\"") && !ended.err.contains("slow statement"), "{}", ended.err);
}
