//! PgBouncer between the server and the databases: its session mode serves, its other modes are refused at the start.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use sea_orm::ConnectionTrait;
use sea_orm::sqlx::postgres::PgConnectOptions;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use trellis::database::{Addresses, administration};

use crate::harness::{SECRET, TEMPLATE, World, cluster, eventually, new_path, one};
use crate::instance::{Instance, run, trellis};

/// A PgBouncer in front of one server. It ends when it is dropped, and when the tests end in any other way.
pub struct Pooler {
    directory: PathBuf,
    shell: Child,
    /// Closes with this process, which ends the pooler.
    input: Option<ChildStdin>,
}

/// Where a pooler listens.
const PORT: u16 = 6432;

/// The user that the private clusters know.
const USER: &str = "trellis";

/// The URL of a database through the pooler in a directory.
fn url(directory: &Path, database: &str) -> String {
    format!("postgres://{USER}@localhost:{PORT}/{database}?host={}", directory.display())
}

impl Pooler {
    /// A pooler in a directory of its own.
    pub fn start(server: &str, settings: &[&str]) -> Self {
        Self::start_in(new_path("pooler"), server, settings)
    }

    /// `server` is the URL of any database of the server.
    pub fn start_in(directory: PathBuf, server: &str, settings: &[&str]) -> Self {
        let server: PgConnectOptions = server.parse().unwrap();
        fs::create_dir(&directory).unwrap();
        let path = directory.display();
        fs::write(directory.join("users"), format!("\"{USER}\" \"\"\n")).unwrap();
        let mut lines = vec![
            "[databases]".to_owned(),
            format!("* = host={} port={}", server.get_socket().unwrap().display(), server.get_port()),
            "[pgbouncer]".to_owned(),
            format!("unix_socket_dir = {path}"),
            format!("listen_port = {PORT}"),
            format!("auth_file = {path}/users"),
            "auth_type = trust".to_owned(),
        ];
        if nix::unistd::Uid::effective().is_root() {
            // It refuses to run as root. Debian's package makes sure that there is this user.
            let postgres = nix::unistd::User::from_name("postgres").unwrap().expect("there is a user called postgres");
            std::os::unix::fs::chown(&directory, Some(postgres.uid.as_raw()), None).unwrap();
            lines.push("user = postgres".to_owned());
        }
        lines.extend(settings.iter().map(|setting| (*setting).to_owned()));
        fs::write(directory.join("ini"), lines.join("\n") + "\n").unwrap();
        // Debian keeps it off the PATH of users.
        let script =
            "PATH=$PATH:/usr/sbin pgbouncer -q \"$0/ini\" 2> \"$0/log\" & cat > /dev/null; kill $!; wait; rm -r \"$0\"";
        let mut shell = Command::new("sh").args(["-c", script]).arg(&directory).stdin(Stdio::piped()).spawn().unwrap();
        Self { input: shell.stdin.take(), directory, shell }
    }

    pub fn url(&self, database: &str) -> String {
        url(&self.directory, database)
    }

    /// Waits until it serves a database.
    pub async fn ready(self, database: &str) -> Self {
        eventually("the pooler serves", || async {
            let connected = administration::connect(&self.url(database)).await;
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            connected.map_err(|error| format!("{error}: {log}"))?.close().await.map_err(|error| error.to_string())
        })
        .await;
        self
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.shell.wait();
    }
}

/// Sessions for as many tests as run at once, each in a database of its own. What a test leaves is closed soon, since the
/// server has no room for all.
const SESSIONS: [&str; 4] =
    ["pool_mode = session", "default_pool_size = 100", "max_client_conn = 2000", "server_idle_timeout = 1"];

/// The addresses through which a server under test is to reach its databases: with `POOLER=pgbouncer` in the environment,
/// through two poolers in session mode, so that every test can be run behind them.
pub async fn told(real: &Addresses) -> Addresses {
    match std::env::var_os("POOLER").as_deref().map(OsStr::as_encoded_bytes) {
        None => real.clone(),
        Some(b"pgbouncer") => through_sessions(real).await,
        Some(other) => panic!("POOLER is pgbouncer or nothing, not {}", String::from_utf8_lossy(other)),
    }
}

async fn through_sessions(real: &Addresses) -> Addresses {
    static POOLERS: OnceCell<[Pooler; 2]> = OnceCell::const_new();
    let poolers = POOLERS.get_or_init(|| async {
        let (primary, replica) = (Pooler::start(&real.primary, &SESSIONS), Pooler::start(&real.replicas[0], &SESSIONS));
        [primary.ready("postgres").await, replica.ready("postgres").await]
    });
    let [primary, replica] = poolers.await;
    let database = real.primary.parse::<PgConnectOptions>().unwrap().get_database().unwrap().to_owned();
    Addresses { primary: primary.url(&database), replicas: vec![replica.url(&database)] }
}

const NESTED: &str = "query($after: Cursor) { workspaces(first: 1) { nodes { name \
    projects(first: 2, after: $after) { pageInfo { hasNextPage endCursor } nodes { name \
    tasks(first: 2) { totalCount nodes { title comments(first: 2) { nodes { body author { name } } } } } } } \
    report { freshness { source replica } totals { total } } } } }";

const CREATE: &str = "mutation($project: ID!) { taskCreate(input: { projectId: $project, title: \"New\" }) { \
    userErrors { message } task { title project { tasks { totalCount } } } } }";

#[tokio::test]
async fn behind_a_pooler_in_session_mode_all_is_as_without_one() {
    let real = World::new().await.addresses;
    let world = World::on(real.clone(), through_sessions(&real).await, &[]).await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    world.fill(home, ada, [5, 3, 3]).await;
    world.replicated().await;

    let (mut names, mut after) = (Vec::new(), Value::Null);
    loop {
        let answer = world.ask(ada, NESTED, json!({ "after": after })).await;
        let workspace = &answer.data()["workspaces"]["nodes"][0];
        let (projects, report) = (&workspace["projects"], &workspace["report"]);
        assert_eq!(report["totals"]["total"], 15, "{report}");
        assert_eq!(report["freshness"], json!({ "source": "REPLICA", "replica": "replica-1" }));
        for project in projects["nodes"].as_array().unwrap() {
            names.push(project["name"].as_str().unwrap().to_owned());
            assert_eq!(project["tasks"]["totalCount"], 3);
            assert_eq!(project["tasks"]["nodes"][1]["comments"]["nodes"][1]["author"]["name"], "ada");
        }
        after = projects["pageInfo"]["endCursor"].clone();
        if projects["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(names, ["Project 1", "Project 2", "Project 3", "Project 4", "Project 5"]);

    let project = world.project(home, "Boat").await;
    let answer = world.ask(ada, CREATE, json!({ "project": project })).await;
    assert_eq!(answer.data()["taskCreate"]["task"]["project"]["tasks"]["totalCount"], 1, "{}", answer.text);

    // Behind it, too, the sessions are what the doors promise, and the pooler's own connections serve them.
    let sql = "SELECT string_agg(DISTINCT application_name, ',' ORDER BY application_name) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name LIKE 'trellis %' \
               AND application_name <> 'trellis administration'";
    let names: String = one(&world.sql, sql).await.try_get_by_index(0).unwrap();
    assert_eq!(names, "trellis primary,trellis watcher");
}

/// A server of its own process with these addresses.
fn serve(primary: &str, replica: Option<&str>) -> std::process::Command {
    let mut command = trellis();
    command.args(["--database-url", primary, "--jwt-secret", SECRET, "--listen", "127.0.0.1:0"]);
    command.args(replica.iter().flat_map(|url| ["--replica-urls", *url]));
    command
}

/// Leaves a pooler with this many idle connections to its server.
async fn warm(url: &str, connections: usize) {
    let mut open = Vec::new();
    for _ in 0..connections {
        let connection = administration::connect(url).await.unwrap();
        connection.execute_unprepared("BEGIN").await.unwrap();
        open.push(connection);
    }
    for connection in open {
        connection.execute_unprepared("COMMIT").await.unwrap();
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_pooler_that_swaps_connections_is_refused_however_it_chooses_them() {
    let cluster = cluster().await;
    let database = cluster.new_database(Some(TEMPLATE)).await;
    let (primary, replica) = (cluster.primary_url(&database), cluster.replica_url(&database));
    // The settings of the pooler, and how many idle connections it has before.
    let cases: [(&[&str], usize); 6] = [
        (&["pool_mode = transaction"], 0),
        (&["pool_mode = transaction"], 4),
        (&["pool_mode = transaction", "server_round_robin = 1"], 0),
        (&["pool_mode = transaction", "server_round_robin = 1"], 2),
        (&["pool_mode = transaction", "default_pool_size = 1"], 0),
        (&["pool_mode = statement"], 0),
    ];
    for (settings, idle) in cases {
        let pooler = Pooler::start(&primary, settings).ready(&database).await;
        warm(&pooler.url(&database), idle).await;
        let refused = run(&mut serve(&pooler.url(&database), None)).await;
        refused.assert_refused(&["door primary ", "swaps server connections", "pool_mode = session"]);
    }
    let pooler = Pooler::start(&replica, &["pool_mode = transaction"]).ready(&database).await;
    let refused = run(&mut serve(&primary, Some(&pooler.url(&database)))).await;
    refused.assert_refused(&["door replica-1 ", "swaps server connections", "pool_mode = session"]);
}

#[tokio::test]
async fn a_replica_that_comes_up_behind_such_a_pooler_is_not_used_and_one_in_session_mode_is() {
    let cluster = cluster().await;
    let database = cluster.new_database(Some(TEMPLATE)).await;
    let (primary, replica) = (cluster.primary_url(&database), cluster.replica_url(&database));
    for (mode, is_used) in [("pool_mode = transaction", false), ("pool_mode = session", true)] {
        let directory = new_path("pooler");
        let mut server = Instance::spawn(&mut serve(&primary, Some(&url(&directory, &database))));
        let address = server.url().await;
        let lag = async || {
            let ready: Value = reqwest::get(format!("{address}/readyz")).await.unwrap().json().await.unwrap();
            ready["replicas"][0]["lagMs"].clone()
        };
        assert_eq!(lag().await, Value::Null);
        let _pooler = Pooler::start_in(directory, &replica, &[mode]);
        if is_used {
            eventually("the replica is used", async || lag().await.as_u64().ok_or("not yet")).await;
        } else {
            server.logs("not used until the next start").await;
            assert_eq!(lag().await, Value::Null);
        }
        assert_eq!(server.interrupted().await.code, Some(0));
    }
}
