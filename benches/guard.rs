//! What the guard takes of a query, on a real PostgreSQL: `cargo bench --bench guard` makes a private one with the demo,
//! measures both in one run, and tells the ratio: of the guard's checks alone, and with the parse, which is made between them
//! and is the execution's too.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_graphql::Variables;
use async_graphql::parser::parse_query;
use criterion::{BatchSize, Criterion};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use trellis::config::{Arguments, MigrateAction, Settings};
use trellis::database::{Database, Meter, Needs, administration};
use trellis::deployment::Deployment;
use trellis::guard::{Guard, Introspection};
use trellis::http::execution::{self, Checked, Document, Received};
use trellis::metrics::Metrics;
use trellis::schema::{self, Schema};
use trellis::{migrate, seed, token};
use uuid::Uuid;

const POINT: &str = "query Point($id: ID!) { project(id: $id) { id name createdAt } }";

/// As in README.md, with pages of ten.
const NESTED: &str = "query Nested($rows: Int!) { workspaces(first: 3) { nodes { name \
    projects(first: 3) { nodes { name \
    tasks(first: $rows, orderBy: { field: DUE_DATE, direction: ASC }) { totalCount nodes { title dueDate assignee { name } \
    comments(first: 3) { nodes { body author { name } } } } } } } } } }";

/// A schema, a database, and who asks.
struct Server {
    guard: Arc<Guard>,
    schema: Schema,
    database: Database,
    viewer: Uuid,
}

impl Server {
    async fn start(settings: &Settings, deployment: &Deployment) -> Self {
        let primary = &deployment.addresses.primary;
        migrate::run(primary, MigrateAction::Up, drop).await.unwrap();
        seed::demo::run(primary).await.unwrap();
        let connection = administration::connect(primary).await.unwrap();
        let viewer = token::user(&connection, "ada@example.com").await.unwrap();
        connection.close().await.unwrap();
        let secret = "a secret of the bench, of 32 bytes or more";
        let database =
            Database::connect(&deployment.addresses, &settings.pools, secret, &Metrics::default()).await.unwrap();
        let guard = Arc::new(schema::guard(&settings.limits, Introspection::On).unwrap());
        Self { schema: schema::build(&guard), guard, database, viewer }
    }

    /// All that a request takes, but for HTTP.
    async fn answer(&self, request: Received) -> Value {
        let Checked { request, operation, reports, .. } = execution::check(request, &self.guard).unwrap();
        let route =
            self.database.route(operation, &Meter::default(), Needs { reports, ..Needs::default() }).await.unwrap();
        let limits = self.guard.limits();
        let answer = execution::run(&self.schema, request, Some(self.viewer), route, limits).await;
        assert!(answer.errors.is_empty(), "{:?}", answer.errors);
        answer.data.into_json().unwrap()
    }
}

/// A request of a document without variables.
fn asking(document: &str) -> Received {
    Received::from(Document::Text(document.to_owned()))
}

fn main() {
    let runtime = Runtime::new().unwrap();
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-guard");
    let _ = fs::remove_dir_all(&directory);
    // Not in the target directory: as root, PostgreSQL runs as another user.
    let data = std::env::temp_dir().join(format!("trellis-bench-{}", std::process::id()));
    let settings = Arguments::from_words(&["--data-dir", data.to_str().unwrap()]).unwrap().settings;
    let deployment = runtime.block_on(Deployment::open(&settings)).unwrap();
    let server = runtime.block_on(Server::start(&settings, &deployment));

    let projects = "{ workspaces(first: 1) { nodes { projects(first: 1) { nodes { id } } } } }";
    let projects = runtime.block_on(server.answer(asking(projects)));
    let id = &projects["workspaces"]["nodes"][0]["projects"]["nodes"][0]["id"];
    let mut criterion = Criterion::default().configure_from_args().output_directory(&directory);
    let queries = [("point", POINT, json!({ "id": id }), 50), ("nested", NESTED, json!({ "rows": 10 }), 10_000)];
    for (name, document, variables, bytes) in &queries {
        let request = || Received { variables: Variables::from_json(variables.clone()), ..asking(document) };
        let answer = runtime.block_on(server.answer(request())).to_string();
        assert!(answer.len() > *bytes, "{name}: {answer}");
        let mut group = criterion.benchmark_group(*name);
        group.bench_function("guard", |bencher| {
            let check = |request| execution::check(black_box(request), &server.guard).is_ok();
            bencher.iter_batched(request, check, BatchSize::SmallInput);
        });
        // Somebody has to parse it: the guard does, and the library, which gets no text, cannot again.
        group.bench_function("parse", |bencher| bencher.iter(|| parse_query(black_box(document)).is_ok()));
        group.bench_function("whole", |bencher| {
            bencher.iter_batched(request, |request| runtime.block_on(server.answer(request)), BatchSize::SmallInput);
        });
        group.finish();
    }
    for (name, bound) in [("point", 5), ("nested", 1)] {
        let microseconds = |what: &str| median_nanoseconds(&directory, name, what).map(|median| median / 1_000.0);
        if let (Some(check), Some(parse), Some(whole)) =
            (microseconds("guard"), microseconds("parse"), microseconds("whole"))
        {
            let checks = check - parse;
            let percent = |part: f64| part / whole * 100.0;
            println!(
                "{name}: of {whole:.0} us the guard's checks take {checks:.1} ({:.2} %; they may take {bound} %), the parse \
                 {parse:.1}, both {:.2} %",
                percent(checks),
                percent(check)
            );
        }
    }
    drop(server);
    runtime.block_on(deployment.close()).unwrap();
    let _ = fs::remove_dir_all(data);
}

/// What criterion has measured; none where it was told to measure something else.
fn median_nanoseconds(directory: &Path, group: &str, function: &str) -> Option<f64> {
    let estimates = fs::read(directory.join(group).join(function).join("new/estimates.json")).ok()?;
    let estimates: Value = serde_json::from_slice(&estimates).unwrap();
    estimates["median"]["point_estimate"].as_f64()
}
