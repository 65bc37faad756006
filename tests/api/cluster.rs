//! The private cluster of a test process: it starts with the first test that asks for it, and ends when the process does,
//! however it ends. A test has a database of its own there, cloned from a migrated template.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sea_orm::{ConnectionTrait, DatabaseConnection, QueryResult};
use tokio::sync::OnceCell;
use trellis::clock;
use trellis::config::{Arguments, MigrateAction, Settings};
use trellis::database::{Addresses, administration};
use trellis::migrate;

/// A path that no other test uses, and that does not exist: an earlier run that was killed may have left files, and its
/// process may have had the same id.
pub fn new_path(stem: &str) -> PathBuf {
    static RUN: LazyLock<String> = LazyLock::new(|| clock::new_id().simple().to_string().split_off(24));
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("trellis-test-{}-{}-{stem}-{number}", std::process::id(), *RUN))
}

/// The private cluster of this test process.
pub struct TestCluster {
    primary: String,
    replica: String,
    _child: Child,
    /// Closes with this process, which ends the cluster.
    _input: ChildStdin,
}

pub const TEMPLATE: &str = "template_trellis";

/// The cluster, with a migrated template in it.
pub async fn cluster() -> &'static TestCluster {
    static CLUSTER: OnceCell<TestCluster> = OnceCell::const_new();
    CLUSTER
        .get_or_init(|| async {
            let cluster = tokio::task::spawn_blocking(TestCluster::start).await.unwrap();
            administration::ensure_database(&cluster.primary, TEMPLATE).await.unwrap();
            migrate::run(&cluster.primary_url(TEMPLATE), MigrateAction::Up, drop).await.unwrap();
            cluster
        })
        .await
}

impl TestCluster {
    fn start() -> Self {
        let directory = new_path("cluster");
        let mut child = Command::new(env!("CARGO_BIN_EXE_trellis"))
            .args(["cluster", "--temporary", "--log", "warn", "--data-dir"])
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |name| {
            let line = lines.next().expect("the cluster says where it is").unwrap();
            line.strip_prefix(name).expect("a line for each server").trim().to_owned()
        };
        Self { primary: address("primary"), replica: address("replica"), _child: child, _input: input }
    }

    pub fn primary_url(&self, database: &str) -> String {
        self.primary.replace("/postgres?", &format!("/{database}?"))
    }

    pub fn replica_url(&self, database: &str) -> String {
        self.replica.replace("/postgres?", &format!("/{database}?"))
    }

    /// A database that nothing else uses, cloned from `template` or empty; its name.
    pub async fn new_database(&self, template: Option<&str>) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let maintenance = administration::connect(&self.primary).await.unwrap();
        let template = template.unwrap_or("template1");
        maintenance.execute_unprepared(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await.unwrap();
        maintenance.close().await.unwrap();
        name
    }
}

/// The addresses of a migrated database that nothing else uses.
pub async fn new_addresses() -> Addresses {
    let cluster = cluster().await;
    let name = cluster.new_database(Some(TEMPLATE)).await;
    Addresses { primary: cluster.primary_url(&name), replicas: vec![cluster.replica_url(&name)] }
}

/// Patience with a lock that a test holds: it lets go when it has seen what it is about, however long that takes.
pub const PATIENT: [&str; 4] = ["--lock-timeout-ms", "60000", "--statement-timeout-ms", "60000"];

/// The settings of a test: `words`, and small pools and patience where the words say nothing about them.
pub fn settings(words: &[&str]) -> Settings {
    let small = ["--primary-connections", "4", "--report-connections", "3"];
    let unsaid = small.chunks(2).chain(PATIENT.chunks(2)).filter(|pair| !words.contains(&pair[0])).flatten();
    Arguments::from_words(&unsaid.chain(words).copied().collect::<Vec<_>>()).unwrap().settings
}

/// The first row of a statement.
pub async fn one(connection: &DatabaseConnection, sql: &str) -> QueryResult {
    connection.query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql)).await.unwrap().unwrap()
}
