//! How many connections each door has, whether the servers have room for them, and what becomes of a request that has to
//! wait for one.
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;
use trellis::database::Addresses;
use trellis::database::pools::Pools;

use crate::errors::{beside, lock, waiting};
use crate::harness::{PATIENT, SECRET, TEMPLATE, World, cluster, eventually};
use crate::instance::{Instance, run, trellis};

/// The connections of each door, by its name.
fn doors(primary: &str, replicas: &[&str], words: &[&str]) -> Vec<(String, u32)> {
    let address = |host: &&str| format!("postgres://{host}/trellis");
    let addresses = Addresses { primary: address(&primary), replicas: replicas.iter().map(address).collect() };
    let arguments = trellis::config::Arguments::from_words(words).unwrap();
    let pools = Pools::plan(&addresses, &arguments.settings.pools).unwrap();
    let all = pools.of_primary().iter().chain(pools.of_replicas());
    all.map(|pool| (pool.door.clone(), pool.connections)).collect()
}

/// The primary's host, the replicas' hosts, the settings, and the connections of the doors: primary, primary-read-only,
/// each replica.
type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [u32]);

#[test]
fn the_connections_of_a_host_are_split_over_the_instances_and_the_doors_that_lead_there() {
    let (two, eight) = (["--database-cores", "2"], ["--database-cores", "8"]);
    let cases: [Case; 14] = [
        // 2 x 2 + 1 = 5 for the only host.
        ("db", &[], &two, &[3, 2]),
        // 2 x 8 + 1 = 17, of which a quarter is for reports.
        ("db", &[], &eight, &[13, 4]),
        ("db", &[], &["--database-cores", "8", "--database-disks", "4"], &[15, 5]),
        ("db", &[], &["--database-cores", "8", "--instances", "2"], &[6, 2]),
        // A replica's host has a budget of its own, and the replicas on it share that.
        ("db", &["db-2"], &eight, &[13, 4, 17]),
        ("db", &["db-2"], &["--database-cores", "8", "--instances", "3"], &[4, 1, 5]),
        ("db", &["db-2", "db-3"], &eight, &[13, 4, 17, 17]),
        ("db", &["db-2:5432", "DB-2:5433"], &eight, &[13, 4, 8, 8]),
        // A replica beside the primary takes from the same budget.
        ("db:5432", &["db:5433"], &eight, &[9, 4, 4]),
        ("localhost:5432", &["127.0.0.1:5433", "[::1]:5434"], &eight, &[5, 4, 4, 4]),
        ("localhost:5432", &["localhost:5433"], &two, &[2, 1, 2]),
        // With fewer, a door does not work, whatever the budget.
        ("db", &["db-2"], &["--database-cores", "1", "--instances", "10"], &[2, 1, 2]),
        ("db", &[], &["--database-cores", "1", "--instances", "10"], &[2, 2]),
        // What is said goes before what is computed.
        (
            "db",
            &["db-2"],
            &["--database-cores", "8", "--primary-connections", "7", "--report-connections", "3"],
            &[7, 3, 3],
        ),
    ];
    for (primary, replicas, words, expected) in cases {
        let doors = doors(primary, replicas, words);
        let names: Vec<&str> = doors.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[..2], ["primary", "primary-read-only"]);
        assert_eq!(names.len(), 2 + replicas.len(), "{names:?}");
        let connections: Vec<u32> = doors.iter().map(|(_, connections)| *connections).collect();
        assert_eq!(connections, expected, "{primary} {replicas:?} {words:?}");
    }
}

/// `trellis` on a database of the cluster, with settings of connections.
async fn serve(words: &[&str]) -> Command {
    let cluster = cluster().await;
    let database = cluster.new_database(Some(TEMPLATE)).await;
    let mut command = trellis();
    command.args([
        "--database-url",
        &cluster.primary_url(&database),
        "--jwt-secret",
        SECRET,
        "--listen",
        "127.0.0.1:0",
    ]);
    command.args(words);
    command
}

#[tokio::test]
async fn the_start_shows_the_arithmetic_and_warns_where_the_host_is_asked_for_too_much() {
    // The private clusters of the tests have max_connections = 200, of which 3 are reserved.
    let cases: [(&[&str], &str, &str); 3] = [
        (
            &["--database-cores", "4", "--instances", "2"],
            "INFO",
            "2 x (primary 2 + primary-read-only 2 + watcher 1) + 2 for administration = 12 connections of 197 \
             (max_connections 200 - 3 reserved); on the host 2 x 4 = 8 of 2 x 4 cores + 1 disk = 9",
        ),
        (
            &["--database-cores", "1", "--database-disks", "2", "--primary-connections", "20"],
            "WARN",
            "1 x (primary 20 + primary-read-only 2 + watcher 1) + 2 for administration = 25 connections of 197 \
             (max_connections 200 - 3 reserved); on the host 1 x 22 = 22 of 2 x 1 core + 2 disks = 4: more than",
        ),
        (
            &["--database-cores", "2", "--instances", "3"],
            "WARN",
            "3 x (primary 2 + primary-read-only 2 + watcher 1) + 2 for administration = 17 connections of 197 \
             (max_connections 200 - 3 reserved); on the host 3 x 4 = 12 of 2 x 2 cores + 1 disk = 5: more than",
        ),
    ];
    for (words, level, arithmetic) in cases {
        let mut server = Instance::spawn(&mut serve(words).await);
        server.url().await;
        let line = server.logs("connections: ").await;
        assert!(line.contains(level) && line.contains("door=\"primary\"") && line.contains(arithmetic), "{line}");
    }
}

#[tokio::test]
async fn a_server_without_room_for_all_instances_is_refused_with_the_arithmetic() {
    let alone = run(&mut serve(&["--primary-connections", "150", "--report-connections", "60"]).await).await;
    alone.assert_refused(&[
        "door primary: 1 x (primary 150 + primary-read-only 60 + watcher 1) + 2 for administration = 213 connections of 197",
        "max_connections 200 - 3 reserved",
        "not enough: some day a connection is refused; raise max_connections, or lower TRELLIS_INSTANCES",
    ]);
    let together = run(&mut serve(&["--database-cores", "2", "--instances", "50"]).await).await;
    together.assert_refused(&[
        "50 x (primary 2 + primary-read-only 2 + watcher 1) + 2 for administration = 252 connections of 197",
    ]);

    let world = World::new().await;
    world.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 9").await;
    let url = world.addresses.primary.replacen("//trellis@", "//few@", 1);
    let mut command = trellis();
    command.args([
        "--database-url",
        &url,
        "--jwt-secret",
        SECRET,
        "--listen",
        "127.0.0.1:0",
        "--primary-connections",
        "8",
    ]);
    run(&mut command).await.assert_refused(&["connections of 9 (the role's or database's limit)", "not enough"]);
    world.execute("DROP ROLE few").await;
}

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
        command.args(["--primary-connections", "1", "--slow-statement-ms", "0"]).args(PATIENT).args(words);
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
    // It holds the only connection while it waits for the lock.
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
    let mut narrow = Narrow::new(&["--acquire-timeout-ms", "60000"]).await;
    // To open a connection is a wait for one too.
    narrow.ask("Opens").await.unwrap();
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
    let since = Instant::now();
    eventually("it has waited long enough to tell", async || {
        let waited = since.elapsed();
        if waited > Duration::from_millis(300) { Ok(()) } else { Err(waited) }
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
    assert!(wait_ms(&second) >= 300.0 && value(&first, "database_ms") >= 300.0, "{first}{second}");
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
    let narrow = Narrow::new(&["--acquire-timeout-ms", "60000", "--request-timeout-ms", "300"]).await;
    let lock = lock(&narrow.world, "workspaces").await;
    let answers = tokio::join!(narrow.ask("Some"), narrow.ask("Some"));
    for answer in [answers.0.unwrap(), answers.1.unwrap()] {
        assert!(answer.contains("TIMEOUT"), "{answer}");
    }
    lock.rollback().await.unwrap();
    assert_eq!(narrow.figure("waiting", "").await, 0.0);
    assert!(narrow.figure("wait_seconds_sum", "").await > 0.1, "one of them had no connection");
    assert_eq!(narrow.figure("timeouts_total", "").await, 0.0);
    let ended = narrow.server.interrupted().await;
    let lines: Vec<&str> = ended.err.lines().filter(|line| line.contains("operation=\"Some\"")).collect();
    assert_eq!(lines.len(), 2, "{}", ended.err);
    assert!(lines.iter().any(|line| wait_ms(line) > 100.0), "{lines:?}");
}

fn wait_ms(line: &str) -> f64 {
    value(line, "pool_wait_ms")
}

/// The number of a field in a request's line.
fn value(line: &str, field: &str) -> f64 {
    let value = line.split(&format!(" {field}=")).nth(1).unwrap_or_else(|| panic!("the line tells {field}: {line}"));
    value.split_whitespace().next().unwrap().parse().unwrap()
}
