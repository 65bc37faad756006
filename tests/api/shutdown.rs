//! SIGTERM while requests are under way: what becomes of them, of their writes, and of those who come late.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use trellis::database::administration;

use crate::errors::{beside, waiting};
use crate::harness::{PATIENT, SECRET, World, eventually, one};
use crate::instance::{Instance, trellis};

/// As good as for ever: a test that waits for it fails.
const FOR_EVER_MS: &str = "600000";

/// A server in a process of its own, in whose database new workspaces wait for as long as the test holds a lock.
struct Held {
    world: World,
    url: String,
    token: String,
    /// Looks at the database.
    beside: DatabaseConnection,
    /// Holds the lock.
    holder: DatabaseConnection,
}

impl Held {
    async fn new(words: &[&str]) -> (Self, Instance) {
        let world = World::new().await;
        world
            .execute(
                "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN new; END'; \
                 CREATE TRIGGER wait BEFORE INSERT ON workspaces FOR EACH ROW EXECUTE FUNCTION wait()",
            )
            .await;
        let holder = administration::connect(&world.addresses.primary).await.unwrap();
        holder.execute_unprepared("SELECT pg_advisory_lock(1)").await.unwrap();
        let token = world.token(world.user("ada").await);
        let mut command = trellis();
        command.args(["--database-url", &world.addresses.primary, "--jwt-secret", SECRET, "--listen", "127.0.0.1:0"]);
        command.args(["--primary-connections", "4", "--request-timeout-ms", "60000"]).args(PATIENT).args(words);
        if !words.contains(&"--shutdown-grace-ms") {
            command.args(["--shutdown-grace-ms", "0"]);
        }
        let mut server = Instance::spawn(&mut command);
        let url = server.url().await;
        (Self { beside: beside(&world).await, world, url, token, holder }, server)
    }

    async fn release(&self) {
        self.holder.execute_unprepared("SELECT pg_advisory_unlock(1)").await.unwrap();
    }

    /// Creates a workspace, and gives the answer or why there was none.
    fn create(&self, slug: &str) -> JoinHandle<reqwest::Result<(StatusCode, Value)>> {
        let document = format!(
            "mutation {{ workspaceCreate(input: {{ name: \"New\", slug: \"{slug}\" }}) {{ workspace {{ slug }} \
             userErrors {{ message }} }} }}"
        );
        let request = self.world.http().post(format!("{}/graphql", self.url)).bearer_auth(&self.token);
        let request = request.json(&json!({ "query": document }));
        tokio::spawn(async move {
            let response = request.send().await?;
            Ok((response.status(), response.json().await?))
        })
    }

    /// The slugs that are in the database.
    async fn slugs(&self) -> BTreeSet<String> {
        let select = Statement::from_string(DbBackend::Postgres, "SELECT slug FROM workspaces");
        let rows = self.beside.query_all_raw(select).await.unwrap();
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
    }

    /// How many transactions of the server are open.
    async fn transactions(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'trellis primary' AND xact_start IS NOT NULL";
        one(&self.beside, sql).await.try_get_by_index(0).unwrap()
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_under_way_at_sigterm_is_answered_and_what_it_wrote_stays() {
    let (held, mut server) = Held::new(&["--drain-timeout-ms", FOR_EVER_MS]).await;
    let created = held.create("late");
    waiting(&held.beside).await;
    server.signal(Signal::SIGTERM);
    server.logs("SIGTERM: stopping").await;
    eventually("nobody is let in any more", async || {
        TcpStream::connect(held.address()).await.map_or(Ok(()), |_| Err("somebody was"))
    })
    .await;
    assert!(!created.is_finished(), "it still waits");
    held.release().await;
    let (status, answer) = created.await.unwrap().unwrap();
    assert_eq!((status, &answer["data"]["workspaceCreate"]["workspace"]["slug"]), (StatusCode::OK, &json!("late")));
    server.logs("closing the database connections").await;
    assert_eq!(held.slugs().await, BTreeSet::from(["late".to_owned()]));
    let ended = server.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_client_has_gone_is_finished_before_the_end() {
    let (held, mut server) = Held::new(&["--drain-timeout-ms", FOR_EVER_MS]).await;
    let created = held.create("orphan");
    waiting(&held.beside).await;
    created.abort();
    assert!(created.await.unwrap_err().is_cancelled());
    server.signal(Signal::SIGTERM);
    server.logs("closing the database connections").await;
    assert!(held.slugs().await.is_empty());
    held.release().await;
    eventually("it is written", async || {
        let slugs = held.slugs().await;
        if slugs.contains("orphan") { Ok(()) } else { Err(slugs) }
    })
    .await;
    assert_eq!(server.ended().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigterm_a_balancer_is_told_and_requests_are_still_answered_for_a_while() {
    let (held, server) = Held::new(&["--shutdown-grace-ms", FOR_EVER_MS]).await;
    let client = reqwest::Client::new();
    let ask = async |path: &str| client.get(format!("{}{path}", held.url)).send().await.unwrap();
    let ready = ask("/readyz").await;
    assert_eq!(ready.status(), StatusCode::OK);
    assert!(!ready.headers().contains_key("connection"));
    server.signal(Signal::SIGTERM);
    eventually("it says that it stops", async || match ask("/readyz").await.status() {
        StatusCode::SERVICE_UNAVAILABLE => Ok(()),
        status => Err(status),
    })
    .await;
    assert_eq!(ask("/readyz").await.text().await.unwrap(), "{\"status\":\"stopping\"}");
    assert_eq!(ask("/livez").await.status(), StatusCode::OK);
    let answer = ask("/graphql?query=%7B__typename%7D").await;
    assert_eq!(answer.headers()["connection"], "close");
    assert_eq!(answer.text().await.unwrap(), "{\"data\":{\"__typename\":\"Query\"}}");
    // Also one that asked for the connection to be kept is told so, and it is closed.
    let mut socket = TcpStream::connect(held.address()).await.unwrap();
    socket.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("ok\n"), "{answer}");
    server.signal(Signal::SIGTERM);
    let ended = server.ended().await;
    ended.assert_refused(&["SIGTERM: a second signal: what was under way was cut off"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once_and_nothing_is_half_written() {
    let (held, mut server) = Held::new(&["--drain-timeout-ms", FOR_EVER_MS]).await;
    let created = held.create("cut");
    waiting(&held.beside).await;
    server.signal(Signal::SIGTERM);
    server.logs("SIGTERM: stopping").await;
    server.signal(Signal::SIGINT);
    let ended = server.ended().await;
    ended.assert_refused(&["SIGINT: a second signal: what was under way was cut off"]);
    let answer = created.await.unwrap();
    let is_acknowledged = answer.as_ref().is_ok_and(|(_, body)| body["data"]["workspaceCreate"].is_object());
    assert!(!is_acknowledged, "{answer:?}");
    held.release().await;
    eventually("its transaction has ended", async || match held.transactions().await {
        0 => Ok(()),
        transactions => Err(transactions),
    })
    .await;
    assert!(held.slugs().await.is_empty(), "and nothing was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_done_by_the_deadline_is_cut_off_and_the_exit_code_tells() {
    let (held, server) = Held::new(&["--drain-timeout-ms", "200"]).await;
    let created = held.create("cut");
    waiting(&held.beside).await;
    server.signal(Signal::SIGTERM);
    let ended = server.ended().await;
    ended.assert_refused(&["requests were cut off when TRELLIS_DRAIN_TIMEOUT_MS was over"]);
    assert_eq!(ended.code, Some(1));
    assert!(created.await.unwrap().is_err(), "nothing was acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_request_on_a_connection_that_was_made_in_time_is_answered() {
    // A server that stops waits for a second. Where a busy machine misses that, another one is stopped.
    eventually("it is answered", async || {
        let (held, server) = Held::new(&["--drain-timeout-ms", FOR_EVER_MS]).await;
        let mut socket = TcpStream::connect(held.address()).await.unwrap();
        server.signal(Signal::SIGTERM);
        eventually("nobody listens any more", async || match TcpStream::connect(held.address()).await {
            Err(_) => Ok(()),
            Ok(_) => Err("somebody listens"),
        })
        .await;
        let asked = socket.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").await;
        let mut answer = String::new();
        let read = socket.read_to_string(&mut answer).await;
        assert_eq!(server.ended().await.code, Some(0));
        let is_answered = answer.contains("connection: close\r\n") && answer.ends_with("ok\n");
        if is_answered { Ok(()) } else { Err((asked, read, answer)) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_connections_on_which_no_request_comes() {
    let (held, server) = Held::new(&["--drain-timeout-ms", FOR_EVER_MS]).await;
    let mut silent = TcpStream::connect(held.address()).await.unwrap();
    let mut half = TcpStream::connect(held.address()).await.unwrap();
    half.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    let mut idle = TcpStream::connect(held.address()).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    assert_ne!(idle.read(&mut [0; 1_024]).await.unwrap(), 0);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().await.code, Some(0));
    for socket in [&mut silent, &mut half, &mut idle] {
        // The end of the stream, or a reset: both are the end.
        while socket.read(&mut [0; 1_024]).await.is_ok_and(|read| read > 0) {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_when_it_stops_under_load() {
    let (held, server) = Held::new(&["--drain-timeout-ms", FOR_EVER_MS]).await;
    let held = Arc::new(held);
    held.release().await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (held, acknowledged) = (Arc::clone(&held), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                let mut slugs = Vec::new();
                // Until nobody answers any more.
                while let Ok((status, answer)) = held.create(&format!("w-{client}-{}", slugs.len())).await.unwrap() {
                    let slug = answer["data"]["workspaceCreate"]["workspace"]["slug"].as_str();
                    assert_eq!(status, StatusCode::OK, "{answer}");
                    slugs.push(slug.unwrap_or_else(|| panic!("{answer}")).to_owned());
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                slugs
            })
        })
        .collect();
    eventually("they are at work", async || match acknowledged.load(Ordering::Relaxed) {
        50.. => Ok(()),
        few => Err(few),
    })
    .await;
    server.signal(Signal::SIGTERM);
    let mut told = BTreeSet::new();
    for client in clients {
        told.extend(client.await.unwrap());
    }
    assert!(told.len() >= 50, "saw {} writes", told.len());
    let written = held.slugs().await;
    let lost: Vec<_> = told.difference(&written).collect();
    assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
    assert_eq!(server.ended().await.code, Some(0));
}
