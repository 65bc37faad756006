//! What one workspace that asks for as much as it can does to another, on a real PostgreSQL: `cargo bench --bench tenants`
//! makes a private one, and measures in one run how long the other waits where nobody is told apart, where whoever has the
//! fewest connections comes next, and where nobody has more than a share besides; and what telling them apart costs.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_graphql::Variables;
use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trellis::config::{Arguments, MigrateAction, Settings};
use trellis::database::line::Line;
use trellis::database::{Database, Meter, Needs, Origin, administration};
use trellis::deployment::Deployment;
use trellis::guard::{Guard, Introspection};
use trellis::http::execution::{self, Checked, Document, Received};
use trellis::metrics::Metrics;
use trellis::schema::{self, Schema};
use trellis::{clock, migrate};
use uuid::Uuid;

const CLIENTS: usize = 64;
const CONNECTIONS: u32 = 4;
const ASKED: usize = 300;

/// After this nothing more is asked: where every question waits for a second, a few tell enough.
const ENOUGH: Duration = Duration::from_secs(15);

const POINT: &str = "query Point($id: ID!) { project(id: $id) { id name createdAt } }";

/// Looks at every task of a project, and finds none.
const SEARCH: &str = "query Search($id: ID!) { project(id: $id) { \
    tasks(first: 1, filter: { titleContains: \"nowhere\" }) { nodes { id } } } }";

/// A user, and a project in a workspace of their own.
#[derive(Clone, Copy)]
struct Tenant {
    user: Uuid,
    project: Uuid,
}

impl Tenant {
    async fn new(primary: &str, tasks: u32) -> Self {
        let (user, project) = (clock::new_id(), clock::new_id());
        let connection = administration::connect(primary).await.unwrap();
        let sql = format!(
            "INSERT INTO users (id, email, name) VALUES ('{user}', '{user}@example.com', 'A user');
             INSERT INTO workspaces (id, name, slug) VALUES ('{user}', 'A workspace', 'w-{user}');
             INSERT INTO members (id, workspace_id, user_id, role) VALUES ('{user}', '{user}', '{user}', 'owner');
             INSERT INTO projects (id, workspace_id, name, status) VALUES ('{project}', '{user}', 'A project', 'active');
             INSERT INTO tasks (id, project_id, title, status, priority)
             SELECT gen_random_uuid(), '{project}', 'Task ' || n, 'todo', 'medium' FROM generate_series(1, {tasks}) n;
             ANALYZE"
        );
        connection.execute_unprepared(&sql).await.unwrap();
        connection.close().await.unwrap();
        Self { user, project }
    }
}

/// A schema and a database, whose callers are told apart or not.
struct Server {
    guard: Guard,
    schema: Schema,
    database: Database,
    tells_apart: bool,
}

impl Server {
    async fn start(settings: &Settings, deployment: &Deployment, tells_apart: bool) -> Arc<Self> {
        let (secret, metrics) = ("a secret of the bench, of 32 bytes or more", Metrics::default());
        let database = Database::connect(&deployment.addresses, &settings.pools, secret, &metrics).await.unwrap();
        let guard = schema::guard(&settings.limits, Introspection::On).unwrap();
        let schema = schema::build(&Arc::new(schema::guard(&settings.limits, Introspection::On).unwrap()));
        Arc::new(Self { guard, schema, database, tells_apart })
    }

    /// All that a request takes, but for HTTP.
    async fn ask(&self, tenant: Tenant, document: &str) {
        let variables = Variables::from_json(json!({ "id": tenant.project }));
        let received = Received { variables, ..Received::from(Document::Text(document.to_owned())) };
        let Checked { request, operation, .. } = execution::check(received, &self.guard).unwrap();
        let mut meter = Meter::default();
        if self.tells_apart {
            let (name, borrower) = (String::new(), self.database.borrower(Some(tenant.user)));
            meter = meter.of(Origin { operation: name.clone(), request_id: name, comment: None, borrower });
        }
        let route = self.database.route(operation, &meter, Needs::default()).await.unwrap();
        let limits = self.guard.limits();
        let answer = execution::run(&self.schema, request, Some(tenant.user), route, limits).await;
        assert!(answer.errors.is_empty(), "{:?}", answer.errors);
    }

    /// Asks for the same again and again, one after the other; how long each took, sorted.
    async fn asked(&self, tenant: Tenant) -> Vec<Duration> {
        let mut took = Vec::with_capacity(ASKED);
        let first = Instant::now();
        while took.len() < ASKED && first.elapsed() < ENOUGH {
            let began = Instant::now();
            self.ask(tenant, POINT).await;
            took.push(began.elapsed());
        }
        took.sort_unstable();
        took
    }

    /// The same while another one hammers, and how often that one is answered in a second.
    async fn asked_beside(self: &Arc<Self>, tenant: Tenant, greedy: Tenant) -> (Vec<Duration>, f64) {
        let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (mut clients, began) = (JoinSet::new(), Instant::now());
        for _ in 0..CLIENTS {
            let (server, is_over, answered) = (Arc::clone(self), Arc::clone(&is_over), Arc::clone(&answered));
            clients.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    server.ask(greedy, SEARCH).await;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while answered.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = self.asked(tenant).await;
        is_over.store(true, Ordering::Relaxed);
        clients.join_all().await;
        let seconds = began.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "there are few")]
        let answered = answered.load(Ordering::Relaxed) as f64;
        (took, answered / seconds)
    }
}

fn milliseconds(sorted: &[Duration], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1_000.0
}

async fn measure(deployment: &Deployment, data: &str) {
    let primary = &deployment.addresses.primary;
    migrate::run(primary, MigrateAction::Up, drop).await.unwrap();
    let (greedy, quiet) = (Tenant::new(primary, 20_000).await, Tenant::new(primary, 10).await);
    println!("{CLIENTS} clients of one workspace, {CONNECTIONS} connections; another one's point query, in ms:");
    println!("{:42} {:>8} {:>8} {:>10} {:>16}", "", "median", "99 %", "to alone", "greedy, 1/s");
    let mut alone = None;
    for (name, share, tells_apart) in [
        ("nobody is told apart", "100", false),
        ("the fewest connections come next", "100", true),
        ("and nobody has more than 75 %", "75", true),
    ] {
        let words = ["--data-dir", data, "--primary-connections", &CONNECTIONS.to_string(), "--workspace-share", share];
        let words = [&words[..], &["--acquire-timeout-ms", "60000", "--request-timeout-ms", "60000"]].concat();
        let settings = Arguments::from_words(&words).unwrap().settings;
        let server = Server::start(&settings, deployment, tells_apart).await;
        for tenant in [greedy, quiet] {
            server.ask(tenant, POINT).await;
        }
        let base = if let Some(base) = alone {
            base
        } else {
            let took = server.asked(quiet).await;
            let base = milliseconds(&took, 50);
            println!("{:42} {base:8.2} {:8.2} {:10.1} {:>16}", "alone", milliseconds(&took, 99), 1.0, "-");
            *alone.insert(base)
        };
        let (took, answered) = server.asked_beside(quiet, greedy).await;
        let (median, most) = (milliseconds(&took, 50), milliseconds(&took, 99));
        println!("{name:42} {median:8.2} {most:8.2} {:10.1} {answered:16.1}", median / base);
        if share == "75" {
            tell_cost(&server.database, greedy, base);
        }
    }
}

/// What a place in the line takes when nobody waits, beside one of a semaphore.
fn tell_cost(database: &Database, tenant: Tenant, whole_ms: f64) {
    const TIMES: u32 = 100_000;
    let claim = database.borrower(Some(tenant.user)).claim();
    let (line, semaphore) = (Arc::new(Line::new(CONNECTIONS)), Arc::new(Semaphore::new(4)));
    let began = Instant::now();
    for _ in 0..TIMES {
        drop(black_box(line.enter(black_box(&claim))));
    }
    let of_line = began.elapsed() / TIMES;
    let began = Instant::now();
    for _ in 0..TIMES {
        drop(black_box(Arc::clone(&semaphore).try_acquire_owned()));
    }
    let of_semaphore = began.elapsed() / TIMES;
    let percent = of_line.as_secs_f64() * 100_000.0 / whole_ms;
    println!(
        "a place that is free takes {} ns, {percent:.2} % of the point query alone; a semaphore's {} ns",
        of_line.as_nanos(),
        of_semaphore.as_nanos()
    );
}

fn main() {
    let runtime = Runtime::new().unwrap();
    // Not in the target directory: as root, PostgreSQL runs as another user.
    let data = std::env::temp_dir().join(format!("trellis-bench-tenants-{}", std::process::id()));
    let path = data.to_str().unwrap();
    let settings = Arguments::from_words(&["--data-dir", path]).unwrap().settings;
    let deployment = runtime.block_on(Deployment::open(&settings)).unwrap();
    runtime.block_on(measure(&deployment, path));
    runtime.block_on(deployment.close()).unwrap();
    let _ = fs::remove_dir_all(data);
}
