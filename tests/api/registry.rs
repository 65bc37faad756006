//! The registry of statements: what it holds, that it runs, and that the server sends what is in it and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use serde_json::{Value, json};
use trellis::database::Addresses;
use trellis::registry::{self, PURPOSES, Parents, Sample};
use uuid::Uuid;

use crate::catalogue::{Catalogue, IdPlace};
use crate::harness::{Answer, SECRET, World, eventually, new_addresses, one};
use crate::instance::{Instance, run, trellis};
use crate::mutations::{MUTATIONS, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_registered_statement_runs_on_a_sample_and_has_a_purpose() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "owner")], ada, "").await;
    world.fill(stage.workspace, ada, [3, 20, 2]).await;
    for parents in [Parents::Ordinary(50), Parents::Largest] {
        let sample = Sample::of(&world.sql, parents).await.unwrap();
        let (mut names, mut titles, mut found) = (BTreeSet::new(), BTreeSet::new(), 0);
        for registered in registry::representative(&sample) {
            let transaction = world.sql.begin().await.unwrap();
            let rows = transaction.query_all_raw(registered.statement.clone().into()).await;
            found += rows.unwrap_or_else(|error| panic!("{}: {error}", registered.title())).len();
            transaction.rollback().await.unwrap();
            names.insert(registered.name());
            assert!(titles.insert(registered.title()), "two statements are called {}", registered.title());
            assert_ne!(registered.purpose(), "", "{}", registered.name());
        }
        assert!(titles.len() > 600, "saw {} variants", titles.len());
        assert!(found > 2_000, "saw {found} rows");
        assert_eq!(names, PURPOSES.iter().map(|(name, _)| *name).collect());
    }
}

/// The ends of transactions, which cannot be run by themselves.
const ENDS: [&str; 4] = [
    "BEGIN",
    "COMMIT; SELECT c.system_identifier, ('x' || left(pg_walfile_name(p.lsn), 8))::bit(32)::int, \
     (p.lsn - '0/0'::pg_lsn)::bigint FROM pg_control_system() c, (SELECT pg_current_wal_flush_lsn() AS lsn) p",
    "ROLLBACK",
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint, r.is_in_recovery, \
     ((CASE WHEN r.is_in_recovery THEN coalesce(pg_last_wal_replay_lsn(), '0/0') ELSE pg_current_wal_flush_lsn() END) \
     - '0/0'::pg_lsn)::bigint FROM (SELECT pg_is_in_recovery() AS is_in_recovery) r",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_sent_is_registered_and_everything_that_is_registered_is_sent() {
    let real = new_addresses().await;
    let logged = |address: &String| format!("{address}&options[log_statement]=all");
    let told = Addresses { primary: logged(&real.primary), replicas: real.replicas.iter().map(logged).collect() };
    // Each document asks for dozens of lists at once, on few connections.
    let words = ["--max-complexity", "1000000", "--acquire-timeout-ms", "60000", "--request-timeout-ms", "60000"];
    let world = World::on(real, told.clone(), &words).await;
    let ada = world.user("ada").await;
    let visitor = Visitor { world: &world, ada };
    visitor.run_processes(&told).await;
    visitor.visit_lists().await;
    visitor.visit_root_fields().await;
    visitor.visit_reports().await;
    visitor.mutate().await;

    let [on_primary, on_replica] = [sent_to(&world.sql).await, sent_to(&world.replica_sql).await];
    assert!(on_primary.len() > 1_500, "the primary was sent {} texts", on_primary.len());
    assert!(on_replica.len() > 10, "the replica was sent {} texts: {on_replica:?}", on_replica.len());
    let sent: BTreeSet<String> = on_primary.union(&on_replica).cloned().collect();

    let (settings, sent): (BTreeSet<_>, BTreeSet<_>) = sent.into_iter().partition(|text| text.contains("lock_timeout"));
    assert!(settings.len() >= 3, "each session begins with its settings: {settings:?}");

    let ends = BTreeSet::from(ENDS.map(str::to_owned));
    let missing: Vec<_> = ends.difference(&sent).collect();
    assert!(missing.is_empty(), "never sent: {missing:#?}");
    let unregistered = registry::unregistered(&sent - &ends);
    assert!(unregistered.is_empty(), "sent and not registered: {unregistered:#?}");

    let sample = Sample::of(&world.sql, Parents::Ordinary(1)).await.unwrap();
    let unsent = registry::representative(&sample).filter(|registered| !sent.contains(registered.statement.sql()));
    let unsent: Vec<String> = unsent.map(|registered| registered.title()).collect();
    assert!(unsent.is_empty(), "registered and never sent: {unsent:#?}");
}

/// Every text that a server of the cluster was sent in sessions that have their statements logged.
async fn sent_to(server: &DatabaseConnection) -> BTreeSet<String> {
    let directory: String = one(server, "SELECT current_setting('data_directory')").await.try_get_by_index(0).unwrap();
    let directory = PathBuf::from(directory);
    let name = directory.file_name().unwrap();
    let log = fs::read(directory.with_file_name("log").join(name).with_extension("log")).unwrap();
    let mut entries: Vec<String> = Vec::new();
    for line in String::from_utf8_lossy(&log).lines() {
        match (line.strip_prefix('\t'), entries.last_mut()) {
            (Some(line), Some(entry)) => entry.extend(["\n", line]),
            _ => entries.push(line.to_owned()),
        }
    }
    let text = |entry: &String| {
        let (_, message) = entry.split_once("LOG:  ")?;
        let prepared = message.strip_prefix("execute ").and_then(|named| named.split_once(": "));
        prepared.map(|(_, text)| text).or_else(|| message.strip_prefix("statement: ")).map(str::to_owned)
    };
    entries.iter().filter_map(text).collect()
}

/// Somebody who asks for everything.
struct Visitor<'a> {
    world: &'a World,
    ada: Uuid,
}

/// A connection: the field that it is below, if any, its name, and its orders, each with the cursors of its first and of
/// its last row.
struct List<'a> {
    way: &'a str,
    name: &'a str,
    orders: Vec<(&'a str, [String; 2])>,
}

const UNORDERED: [&str; 1] = [""];
const BY_AGE: [&str; 2] =
    ["orderBy: { field: CREATED_AT, direction: ASC }", "orderBy: { field: CREATED_AT, direction: DESC }"];
const BY_AGE_OR_DUE_DATE: [&str; 4] = [
    BY_AGE[0],
    BY_AGE[1],
    "orderBy: { field: DUE_DATE, direction: ASC }",
    "orderBy: { field: DUE_DATE, direction: DESC }",
];
const BY_AGE_OR_NAME: [&str; 4] =
    [BY_AGE[0], BY_AGE[1], "orderBy: { field: NAME, direction: ASC }", "orderBy: { field: NAME, direction: DESC }"];

const DELETED: [&str; 3] = ["deleted: EXCLUDE", "deleted: INCLUDE", "deleted: ONLY"];

/// Each field of the filter alone, and some together.
const TASK_FILTERS: [&str; 16] = [
    "filter: { status: [IN_REVIEW, COMPLETED] }",
    "filter: { status: [TODO, IN_PROGRESS] }",
    "filter: { priority: [HIGH, URGENT] }",
    "filter: { assigneeId: [\"01a0345f-12ad-7541-8788-f04851249340\"] }",
    "filter: { assigneeId: [\"01a0345f-12ad-7541-8788-f04851249340\", null] }",
    "filter: { dueBefore: \"2026-01-31T09:30:00Z\" }",
    "filter: { dueAfter: \"2026-01-31T09:30:00Z\" }",
    "filter: { overdue: true }",
    "filter: { overdue: false }",
    "filter: { createdBefore: \"2026-01-31T09:30:00Z\" }",
    "filter: { createdAfter: \"2026-01-31T09:30:00Z\" }",
    "filter: { titleContains: \"as\" }",
    "filter: { status: [TODO], assigneeId: [\"01a0345f-12ad-7541-8788-f04851249340\"] }",
    "filter: { status: [COMPLETED], priority: [LOW], titleContains: \"as\" }",
    "filter: { dueBefore: \"2026-01-31T09:30:00Z\", dueAfter: \"2025-01-31T09:30:00Z\" }",
    "filter: { assigneeId: [null], overdue: true }",
];

const PROJECT_FILTERS: [&str; 4] = [
    "",
    "filter: { status: [ACTIVE, PAUSED] }",
    "filter: { nameContains: \"as\" }",
    "filter: { status: [ACTIVE], nameContains: \"as\" }",
];

/// The columns of a task that an index holds, and one that only the table has.
const COLUMNS: [&str; 2] = ["id title", "id description"];

const REPORT: &str = "report { freshness { source } totals { total } byStatus { count } byPriority { count } \
    byAssignee { count assignee { name } } byProject { count project { name } } overdue { count } \
    throughput { created } days: throughput(interval: DAY, timeZone: \"Europe/Berlin\") { created } \
    cycleTime { samples } january: cycleTime(from: \"2026-01-01T00:00:00Z\", to: \"2026-02-01T00:00:00Z\") { samples } }";

impl Visitor<'_> {
    async fn ask(&self, document: &str) -> Value {
        self.world.ask(self.ada, document, json!({})).await.data().clone()
    }

    /// Serves in a process of its own, which removes old keys at its start, and mints a token in another one.
    async fn run_processes(&self, addresses: &Addresses) {
        let [primary, replica] = [&addresses.primary, &addresses.replicas[0]].map(String::as_str);
        let settings = ["--database-url", primary, "--replica-urls", replica, "--jwt-secret", SECRET];
        let mut server = Instance::spawn(trellis().args(settings).args(["--listen", "127.0.0.1:0"]));
        let ready = reqwest::get(format!("{}/readyz", server.url().await)).await.unwrap();
        assert_eq!(ready.status(), 200);
        eventually("old idempotency keys are removed", || async {
            let sent = sent_to(&self.world.sql).await;
            if sent.iter().any(|text| text.starts_with("DELETE FROM idempotency_keys")) { Ok(()) } else { Err(sent) }
        })
        .await;
        assert_eq!(server.interrupted().await.code, Some(0));
        let minted = run(trellis().args(["token", "--email", "ada@example.com"]).args(settings)).await;
        assert_eq!(minted.code, Some(0), "{minted:?}");
    }

    /// Asks for every list in every order, from either end and from a row, either way; with each filter; and for how
    /// many rows it has.
    async fn visit_lists(&self) {
        let home = self.world.workspace("home", self.ada).await;
        self.world.fill(home, self.ada, [2, 4, 2]).await;
        self.world.execute("UPDATE tasks SET due_date = now() WHERE title IN ('Task 1', 'Task 2')").await;
        let data =
            self.ask("{ workspaces { nodes { projects { nodes { id tasks(first: 1) { nodes { id } } } } } } }").await;
        let project = &data["workspaces"]["nodes"][0]["projects"]["nodes"][0];
        let (task, project) = (&project["tasks"]["nodes"][0]["id"], &project["id"]);
        let [in_workspace, in_project, of_task] =
            [format!("workspace(id: \"{home}\")"), format!("project(id: {project})"), format!("task(id: {task})")];

        let workspaces = self.list("", "workspaces", &UNORDERED).await;
        self.visit_pages(&workspaces, "", "id").await;
        let members = self.list(&in_workspace, "members", &UNORDERED).await;
        for filter in ["", "filter: { role: [ADMIN, MEMBER] }"] {
            self.visit_pages(&members, filter, "id").await;
        }
        let projects = self.list(&in_workspace, "projects", &BY_AGE_OR_NAME).await;
        let comments = self.list(&of_task, "comments", &BY_AGE).await;
        for deleted in DELETED {
            self.visit_pages(&comments, deleted, "id").await;
            for filter in PROJECT_FILTERS {
                self.visit_pages(&projects, &format!("{deleted} {filter}"), "id").await;
            }
        }
        for (way, name) in [(in_workspace.as_str(), "tasks"), (&in_project, "tasks"), ("viewer", "assignedTasks")] {
            let tasks = self.list(way, name, &BY_AGE_OR_DUE_DATE).await;
            for columns in COLUMNS {
                let shown = if way == "viewer" { &[""][..] } else { &DELETED };
                for deleted in shown {
                    self.visit_pages(&tasks, deleted, columns).await;
                }
            }
            for filter in TASK_FILTERS {
                self.visit_pages(&tasks, filter, COLUMNS[0]).await;
            }
        }
        for (filter, columns) in
            [""].iter().chain(&TASK_FILTERS).flat_map(|filter| COLUMNS.map(|columns| (filter, columns)))
        {
            let tasks = format!("tasks {{ totalCount pageInfo {{ hasNextPage }} nodes {{ {columns} }} }}");
            self.ask(&format!("{{ {in_project} {{ board(first: 2 {filter}) {{ {tasks} }} }} }}")).await;
        }
    }

    /// A list below a field, or at the root.
    async fn list<'a>(&self, way: &'a str, name: &'a str, orders: &[&'a str]) -> List<'a> {
        let mut list = List { way, name, orders: Vec::new() };
        for order in orders {
            let data = self.ask(&list.document(&format!("{name}(first: 100 {order}) {{ edges {{ cursor }} }}"))).await;
            let connection = if way.is_empty() { &data } else { &data[way.split('(').next().unwrap()] };
            let rows = connection[name]["edges"].as_array().unwrap();
            let cursor = |row: Option<&Value>| row.unwrap()["cursor"].as_str().unwrap().to_owned();
            list.orders.push((order, [cursor(rows.first()), cursor(rows.last())]));
        }
        list
    }

    async fn visit_pages(&self, list: &List<'_>, filter: &str, columns: &str) {
        let mut pages = Vec::new();
        for (order, cursors) in &list.orders {
            pages.extend(["first: 2", "last: 2"].map(|page| format!("{page} {order}")));
            for cursor in cursors {
                pages.extend(["first: 2 after", "last: 2 before"].map(|page| format!("{page}: \"{cursor}\" {order}")));
            }
        }
        let selected = format!("totalCount pageInfo {{ hasNextPage hasPreviousPage }} nodes {{ {columns} }}");
        let name = list.name;
        let fields: Vec<String> = pages
            .iter()
            .enumerate()
            .map(|(n, page)| format!("page_{n}: {name}({page} {filter}) {{ {selected} }}"))
            .collect();
        self.ask(&list.document(&fields.join(" "))).await;
    }

    /// Asks for every root field of the schema, and for everything by its id.
    async fn visit_root_fields(&self) {
        let catalogue = Catalogue::of(self.world).await;
        let fields = catalogue.fields("Query");
        assert!(fields.len() >= 10, "{fields:?}");
        for field in fields {
            let place = IdPlace { root: "Query", field: field["name"].as_str().unwrap().to_owned(), path: Vec::new() };
            let document = catalogue.document(place.root, &place.field, &place.path);
            let variables = catalogue.variables(&place, &BTreeMap::new(), self.ada);
            self.world.ask(self.ada, &document, variables).await.data();
        }
        self.ask("{ workspaceBySlug(slug: \"home\") { viewerRole } }").await;
    }

    /// Asks for every part of both kinds of report: on the replica, on the primary, and with the token of a write.
    async fn visit_reports(&self) {
        let data = self.ask("{ workspaceBySlug(slug: \"home\") { projects { nodes { id } } } }").await;
        let project = &data["workspaceBySlug"]["projects"]["nodes"][0]["id"];
        let document =
            format!("{{ workspaceBySlug(slug: \"home\") {{ {REPORT} }} project(id: {project}) {{ {REPORT} }} }}");
        eventually("the replica answers the reports", || async {
            let data = self.ask(&document).await;
            if data["project"]["report"]["freshness"]["source"] == "REPLICA" { Ok(()) } else { Err(data) }
        })
        .await;
        self.ask(&document.replace("report {", "report(maxStalenessMs: 0) {")).await;
        let create = format!(
            "mutation {{ taskCreate(input: {{ projectId: {project}, title: \"New\" }}) {{ consistencyToken task {{ \
             project {{ {REPORT} }} }} }} }}"
        );
        let token = self.ask(&create).await["taskCreate"]["consistencyToken"].as_str().unwrap().to_owned();
        let request = self.world.http().post(self.world.url("/graphql")).bearer_auth(self.world.token(self.ada));
        let request = request.header("x-consistency-token", token).json(&json!({ "query": document }));
        Answer::of(request.send().await.unwrap()).await.data();
    }

    /// Sends every mutation: with ids that do not exist, for a row that has changed, and twice under a key.
    async fn mutate(&self) {
        let catalogue = Catalogue::of(self.world).await;
        let mut conflicts = 0;
        for mutation in &MUTATIONS {
            let name = mutation.name;
            let run = async |input: &Value| {
                mutation.run(self.world, self.ada, input).await.data()[name]["userErrors"].clone()
            };
            if name != "workspaceCreate" {
                assert_eq!(run(&Stage::missing().input(name)).await[0]["code"], "NOT_FOUND", "{name}");
            }
            let stage = Stage::set(self.world, &[(self.ada, "owner")], self.ada, name).await;
            let mut input = stage.input(name);
            if catalogue.fields(mutation.input).iter().any(|field| field["name"] == "expectedUpdatedAt") {
                input["expectedUpdatedAt"] = json!("2026-01-31T09:30:00Z");
                assert_eq!(run(&input).await[0]["code"], "CONFLICT", "{name}");
                conflicts += 1;
            }
            let mut input = stage.input(name);
            input["idempotencyKey"] = json!(name);
            for _ in 0..2 {
                assert_eq!(run(&input).await, json!([]), "{name}");
            }
        }
        assert_eq!(conflicts, 10, "every update and every deletion takes expectedUpdatedAt");
    }
}

impl List<'_> {
    /// A document that selects something where the list is.
    fn document(&self, selected: &str) -> String {
        match self.way {
            "" => format!("{{ {selected} }}"),
            way => format!("{{ {way} {{ {selected} }} }}"),
        }
    }
}
