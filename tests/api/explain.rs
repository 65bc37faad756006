//! `trellis explain`: the statements of a document, their plans, and what is said of them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use trellis::entities::task::Status;
use trellis::registry::PURPOSES;
use uuid::Uuid;

use crate::harness::{TestFile, World, cluster, eventually, one};
use crate::instance::{Ended, run, trellis};

/// A page of the tasks of each project.
const LISTS: &str = "query Lists($status: [TaskStatus!]) { workspaces(first: 1) { nodes { projects(first: 10) { nodes { \
    tasks(first: 5, filter: { status: $status }) { nodes { title } } } } } } }";

/// How many tasks each project has.
const COUNTS: &str = "{ workspaces(first: 1) { nodes { projects(first: 10) { nodes { tasks { totalCount } } } } } }";

impl World {
    /// Explains a document on this world's servers.
    async fn explain(&self, document: &str, words: &[&str]) -> Ended {
        let file = TestFile::new("explain", document);
        let mut command = trellis();
        command.args(["explain", "--log", "error", "--query", file.path()]).args(words);
        command.env("DATABASE_URL", &self.addresses.primary).env("REPLICA_URLS", &self.addresses.replicas[0]);
        run(&mut command).await
    }

    /// The same as JSON; the document has no errors.
    async fn explained(&self, document: &str, words: &[&str]) -> Value {
        let ended = self.explain(document, &[&["--json"], words].concat()).await;
        let report: Value = serde_json::from_str(&ended.out).unwrap_or_default();
        assert_eq!(ended.code, Some(0), "{}{}", ended.err, brief(&report));
        report
    }

    /// A workspace of Ada's with `projects` of `tasks` each and `comments` for each of these, as after an ANALYZE. Only
    /// the test itself analyzes and vacuums from then on.
    async fn large(&self, size: [u32; 3]) -> Uuid {
        let ada = self.user("ada").await;
        let workspace = self.workspace("large", ada).await;
        self.fill(workspace, ada, size).await;
        self.execute("ALTER TABLE tasks SET (autovacuum_enabled = off)").await;
        self.execute("VACUUM ANALYZE").await;
        ada
    }

    /// Leaves the tasks no index but their primary key and these.
    async fn index_tasks(&self, definitions: &[&str]) {
        let indexes = "SELECT string_agg(format('DROP INDEX %I', indexrelid::regclass), '; ') FROM pg_index \
                       WHERE indrelid = 'tasks'::regclass AND NOT indisprimary";
        let drop: String = one(&self.sql, indexes).await.try_get_by_index(0).unwrap();
        assert!(drop.matches("DROP INDEX").count() >= 5, "{drop}");
        self.execute(&drop).await;
        for definition in definitions {
            self.execute(&format!("CREATE INDEX ON tasks {definition}")).await;
        }
        self.execute("VACUUM ANALYZE tasks").await;
    }

    /// A setting of every session that begins from now on.
    async fn set(&self, setting: &str) {
        let name: String = one(&self.sql, "SELECT current_database()::text").await.try_get_by_index(0).unwrap();
        self.execute(&format!("ALTER DATABASE {name} SET {setting}")).await;
    }
}

/// The statement of a report with this name.
fn statement<'a>(report: &'a Value, name: &str) -> &'a Value {
    let found: Vec<&Value> = statements(report).iter().filter(|statement| statement["name"] == name).collect();
    assert_eq!(found.len(), 1, "one {name} in {:?}", names(report));
    found[0]
}

fn statements(report: &Value) -> &Vec<Value> {
    report["statements"].as_array().unwrap()
}

fn names(report: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = statements(report).iter().map(|statement| statement["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

/// The findings of one kind, in all statements.
fn findings<'a>(report: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = statements(report).iter().flat_map(|statement| statement["findings"].as_array().unwrap());
    let all: Vec<&Value> = all.collect();
    assert_eq!(report["findings"].as_u64().unwrap(), all.len() as u64, "the sum is right");
    all.into_iter().filter(|finding| finding["kind"] == kind).collect()
}

/// What to show of a report where an assertion fails: plans are long.
fn brief(report: &Value) -> String {
    let nodes = |statement: &Value| {
        let text = statement["explain"].to_string();
        text.split("\"Node Type\":\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let statements = report["statements"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines = statements.iter().map(|statement| {
        format!("{}: {:?} {}\n{:#}", statement["name"], nodes(statement), statement["indexes"], statement["findings"])
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn figure(finding: &Value, name: &str) -> f64 {
    finding["figures"][name].as_f64().unwrap_or_else(|| panic!("{name} in {finding}"))
}

/// The document of the README's first query.
fn review() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```graphql\nquery Review").unwrap();
    format!("query Review{}", rest.split_once("```").unwrap().0)
}

#[tokio::test]
async fn the_query_of_the_readme_is_explained_statement_by_statement() {
    let world = World::new().await;
    let ada = world.large([30, 100, 2]).await;
    world.execute("UPDATE tasks SET status = 'in_review', due_date = now() WHERE title LIKE '%7'").await;
    world.execute("VACUUM ANALYZE tasks").await;
    let answer = world.ask(ada, &review(), json!({})).await;
    assert_eq!(answer.statements().len(), 6, "{:?}", answer.statements());

    let report = world.explained(&review(), &[]).await;
    assert_eq!(report["user"], "ada@example.com");
    assert_eq!(report["planning"], "custom");
    assert_eq!(report["errors"], json!([]));
    assert_eq!(names(&report), answer.statements(), "they are those of the server");
    let tasks = statement(&report, "tasks_of_project_by_due_date");
    // Which of them is the best depends on how the rows happen to lie.
    let [index] = tasks["indexes"].as_array().unwrap().as_slice() else { panic!("{}", brief(&report)) };
    assert!(index.as_str().unwrap().starts_with("idx_tasks_"), "{index}");
    assert_eq!((&tasks["target"], &tasks["door"]), (&json!("primary"), &json!("primary")));
    assert_eq!((&tasks["keys"], tasks["rows"].as_f64()), (&json!(2), Some(4.0)));
    let root = &tasks["explain"][0]["Plan"];
    assert_eq!(root["Node Type"], "Nested Loop", "PostgreSQL's plan is there as it is");
    assert_eq!(tasks["buffers"]["hit"], root["Shared Hit Blocks"]);
    assert!(tasks["buffers"]["hit"].as_u64().unwrap() > 0 && tasks["ms"].as_f64().unwrap() > 0.0, "{tasks}");
    assert!(tasks["sql"].as_str().unwrap().contains("unnest($1::uuid[])"), "{tasks}");
    assert_eq!(tasks["values"].as_array().unwrap().len(), 3, "parents, limit and statuses: {tasks}");
    assert_eq!(statement(&report, "comments_of_task")["indexes"], json!(["idx_comments_list"]));

    let text = world.explain(&review(), &[]).await;
    assert_eq!(text.code, Some(0), "{text:?}");
    for part in [
        "tasks_of_project_by_due_date  2 keys, 4 rows, ",
        "Index Scan using idx_comments_list on comments t",
        "Index Cond: (task_id = k.parent)",
        "6 statements as ada@example.com: 6 on the primary, 0 on a replica; ",
    ] {
        assert!(text.out.contains(part), "{part} in {}", text.out);
    }
    assert!(!text.out.contains('\u{1b}') && !text.out.contains("SELECT"), "{}", text.out);
    let longest = text.out.lines().max_by_key(|line| line.chars().count()).unwrap();
    assert!(longest.chars().count() <= 120, "{} columns: {longest}", longest.chars().count());
    let with_sql = world.explain(&review(), &["--sql"]).await;
    assert!(with_sql.out.contains("  SELECT k.ord, t.* FROM unnest($1::uuid[])"), "{}", with_sql.out);
    assert!(with_sql.out.contains("  $2 = '2'\n"), "{}", with_sql.out);
}

#[tokio::test]
async fn a_scan_and_a_sort_are_found_where_an_index_is_missing_and_gone_where_it_is_there() {
    let world = World::new().await;
    world.large([4, 3_000, 0]).await;
    assert_eq!(world.explained(LISTS, &["--fail-on-findings"]).await["findings"], 0);

    // One that has none of the rows that are asked for is no help.
    world.index_tasks(&["(project_id, created_at, id) WHERE deleted_at IS NOT NULL"]).await;
    let report = world.explained(LISTS, &[]).await;
    let scans = findings(&report, "sequential_scan");
    assert_eq!(scans.len(), 1, "{}", brief(&report));
    assert_eq!(scans[0]["table"], "tasks");
    assert!(figure(scans[0], "rows_read") >= 12_000.0, "{}", scans[0]);
    let advice = scans[0]["advice"].as_str().unwrap();
    assert!(advice.contains("tasks (project_id) WHERE deleted_at IS NULL"), "{advice}");
    let sorts = findings(&report, "sort");
    assert_eq!(sorts.len(), 1, "{}", brief(&report));
    let advice = sorts[0]["advice"].as_str().unwrap();
    assert!(advice.contains("tasks (project_id, created_at, id) WHERE deleted_at IS NULL"), "{advice}");

    let text = world.explain(LISTS, &["--fail-on-findings"]).await;
    assert_eq!(text.code, Some(1), "{text:?}");
    assert!(
        text.out.contains("! sequential scan: All of tasks is read, 4 times: ")
            && text.out.contains("→ An index on tasks ("),
        "{}",
        text.out
    );
    assert!(text.err.contains("2 findings"), "{text:?}");
}

#[tokio::test]
async fn an_index_that_is_there_is_named_in_whatever_order_a_condition_has_its_columns() {
    let world = World::new().await;
    world.large([4, 3_000, 0]).await;
    for scan in ["indexscan", "indexonlyscan", "bitmapscan"] {
        world.set(&format!("enable_{scan} = off")).await;
    }
    let variables = TestFile::new("explain", "{ \"status\": [\"IN_PROGRESS\"] }");
    world.index_tasks(&[]).await;
    for (number, columns) in ["status, project_id", "project_id, status, title"].into_iter().enumerate() {
        world.execute(&format!("CREATE INDEX its_{number} ON tasks ({columns})")).await;
        let report = world.explained(LISTS, &["--variables", variables.path()]).await;
        let scans = findings(&report, "sequential_scan");
        assert_eq!(scans.len(), 1, "{}", brief(&report));
        assert_eq!(scans[0]["advice"], format!("ANALYZE tasks: its_{number} would find them."), "{}", brief(&report));
        world.execute(&format!("DROP INDEX its_{number}")).await;
    }
}

#[tokio::test]
async fn an_index_without_a_condition_on_its_first_column_is_found() {
    let world = World::new().await;
    world.large([4, 3_000, 0]).await;
    world.index_tasks(&["(status, project_id, created_at, id)"]).await;
    world.set("enable_seqscan = off").await;
    let report = world.explained(COUNTS, &[]).await;
    let unused = findings(&report, "unused_leading_column");
    assert_eq!(unused.len(), 2, "{}", brief(&report));
    assert_eq!(unused[0]["index"], "tasks_status_project_id_created_at_id_idx");
    assert!(figure(unused[0], "rows") >= 1_000.0, "{}", unused[0]);
    let advice = unused[0]["advice"].as_str().unwrap();
    assert!(advice.contains("condition on status") && advice.contains("begins with project_id"), "{advice}");
}

#[tokio::test]
async fn rows_that_a_filter_throws_away_and_functions_on_columns_are_found() {
    let world = World::new().await;
    world.large([4, 3_000, 0]).await;
    world.index_tasks(&["(project_id)"]).await;
    world.set("enable_seqscan = off").await;
    let variables = TestFile::new("explain", "{ \"status\": [\"IN_PROGRESS\"] }");
    let report = world.explained(LISTS, &["--variables", variables.path()]).await;
    let removed = findings(&report, "rows_removed");
    assert_eq!(removed.len(), 1, "{}", brief(&report));
    assert!((figure(removed[0], "rows_removed") - 12_000.0).abs() < 1.0, "{}", removed[0]);
    assert!(removed[0]["advice"].as_str().unwrap().contains("goes on with deleted_at, status"), "{}", removed[0]);
    assert_eq!(findings(&report, "function_on_column").len(), 0, "{}", brief(&report));

    // A filter that the server never writes, in the place of the table.
    world.execute("ALTER TABLE tasks RENAME TO kept").await;
    world.execute("CREATE VIEW tasks AS SELECT * FROM kept WHERE lower(title) = 'task 7' AND created_at < now()").await;
    let report = world.explained(LISTS, &[]).await;
    let functions = findings(&report, "function_on_column");
    assert_eq!(functions.len(), 1, "{}", brief(&report));
    assert_eq!(functions[0]["table"], "kept");
    assert!(functions[0]["observation"].as_str().unwrap().contains("lower(title)"), "{}", functions[0]);
    world.execute("CREATE OR REPLACE VIEW tasks AS SELECT * FROM kept WHERE created_at::date = '2001-01-01'").await;
    let report = world.explained(LISTS, &[]).await;
    let functions = findings(&report, "function_on_column");
    assert_eq!(functions.len(), 1, "{}", brief(&report));
    assert!(functions[0]["observation"].as_str().unwrap().contains("(created_at::date)"), "{}", functions[0]);
}

#[tokio::test]
async fn a_misestimate_is_found_after_many_writes_and_gone_after_analyze() {
    let world = World::new().await;
    world.large([40, 10, 0]).await;
    let count_one = COUNTS.replace("projects(first: 10)", "projects(first: 1)");
    let report = world.explained(&count_one, &[]).await;
    assert_eq!(findings(&report, "misestimate").len(), 0, "{}", brief(&report));
    let tasks = "INSERT INTO tasks (id, project_id, assignee_id, title, status, priority) \
                 SELECT gen_random_uuid(), p.id, NULL, 'One more', 'todo', 'medium' \
                 FROM projects p, generate_series(1, 20000) WHERE p.name = 'Project 1'";
    world.execute(tasks).await;
    let report = world.explained(&count_one, &[]).await;
    let wrong = findings(&report, "misestimate");
    assert_eq!(wrong.len(), 1, "{}", brief(&report));
    assert!(figure(wrong[0], "rows") >= 10.0 * figure(wrong[0], "estimated_rows"), "{}", wrong[0]);
    assert!(wrong[0]["advice"].as_str().unwrap().starts_with("ANALYZE tasks"), "{}", wrong[0]);
    world.execute("ANALYZE tasks").await;
    let report = world.explained(&count_one, &[]).await;
    assert_eq!(findings(&report, "misestimate").len(), 0, "{}", brief(&report));
}

#[tokio::test]
async fn heap_fetches_are_found_after_updates_and_gone_after_vacuum() {
    let world = World::new().await;
    world.large([40, 100, 0]).await;
    let fetches = || async {
        let report = world.explained(COUNTS, &[]).await;
        let plan = statement(&report, "task_count_of_project")["explain"].to_string();
        let reads_index_alone = plan.contains("Index Only Scan") && plan.contains("\"Heap Fetches\":0");
        let found = findings(&report, "heap_fetches").first().map(|found| (*found).clone());
        match found {
            None if reads_index_alone => Ok(()),
            found => Err(found.unwrap_or_else(|| brief(&report).into())),
        }
    };
    let vacuumed = || async {
        world.execute("VACUUM ANALYZE tasks").await;
        fetches().await
    };
    // A snapshot that another test holds keeps VACUUM from its work for as long.
    eventually("an index-only scan looks at no row", vacuumed).await;
    world.execute("UPDATE tasks SET updated_at = now()").await;
    let found = fetches().await.unwrap_err();
    assert_eq!(found["table"], "tasks");
    assert!(found["index"].as_str().unwrap().starts_with("idx_tasks_"), "{found}");
    assert!(figure(&found, "heap_fetches") >= 1_000.0, "{found}");
    assert!(found["advice"].as_str().unwrap().starts_with("VACUUM tasks."), "{found}");
    eventually("an index-only scan looks at no row any more", vacuumed).await;
}

#[tokio::test]
async fn a_report_is_explained_on_the_replica_and_a_sort_on_its_disk_is_found() {
    let world = World::new().await;
    world.large([2, 5_000, 0]).await;
    world.execute("UPDATE tasks SET status = 'completed', completed_at = now() - interval '1 hour'").await;
    world.execute("VACUUM ANALYZE tasks").await;
    world.set("work_mem = '64kB'").await;
    world.replicated().await;
    let cycle = "{ workspaces(first: 1) { nodes { report { cycleTime { samples } totals { open } } } } }";
    let report = world.explained(cycle, &[]).await;
    let on = |name| {
        let statement = statement(&report, name);
        (statement["target"].as_str().unwrap(), statement["door"].as_str().unwrap())
    };
    assert_eq!(on("workspaces_of_user"), ("primary", "primary"));
    assert_eq!(on("tally_of_workspace"), ("replica", "replica-1"));
    assert!(!findings(&report, "spill").is_empty(), "{}", brief(&report));
}

#[tokio::test]
async fn a_generic_plan_shows_parameters_in_the_place_of_values() {
    let world = World::new().await;
    world.large([40, 100, 0]).await;
    let plan = |report: &Value| statement(report, "task_count_of_project")["explain"].to_string();
    let custom = plan(&world.explained(COUNTS, &[]).await);
    assert!(!custom.contains("$1") && custom.contains("::uuid[]"), "{custom}");
    let report = world.explained(COUNTS, &["--generic"]).await;
    assert_eq!(report["planning"], "generic");
    let generic = plan(&report);
    assert!(generic.contains("$1") && !generic.contains("::uuid[]"), "{generic}");
    assert!(generic.contains("\"jit\":\"off\""), "the session has the settings of the server's: {generic}");
}

#[tokio::test]
async fn a_mutation_is_explained_and_leaves_no_trace() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = world.project(world.workspace("ours", ada).await, "Maps").await;
    let task = world.task_with(project, "Before", |row| row.status = sea_orm::ActiveValue::Set(Status::Todo)).await;
    let document = format!(
        "mutation {{ \
           made: taskCreate(input: {{ projectId: \"{project}\", title: \"New\", idempotencyKey: \"once\" }}) \
             {{ task {{ title project {{ name }} }} userErrors {{ message }} }} \
           changed: taskUpdate(input: {{ id: \"{task}\", title: \"After\" }}) {{ task {{ title }} userErrors {{ message }} }} }}"
    );
    let traces = "SELECT (SELECT string_agg(title, ',') FROM tasks), (SELECT count(*) FROM idempotency_keys), \
                  (SELECT max(updated_at) FROM tasks)::text";
    let seen = || async {
        let row = one(&world.sql, traces).await;
        let seen: (String, i64, String) =
            (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap(), row.try_get_by_index(2).unwrap());
        seen
    };
    let before = seen().await;
    assert_eq!((before.0.as_str(), before.1), ("Before", 0));
    let report = world.explained(&document, &[]).await;
    assert_eq!(seen().await, before);
    assert_eq!(report["errors"], json!([]));
    assert_eq!(
        names(&report),
        ["idempotency_claim", "idempotency_keep", "project_by_id", "task_create", "task_update"]
    );
    let nodes = |name| statement(&report, name)["explain"].to_string();
    assert!(nodes("task_create").contains("\"Operation\":\"Insert\""), "{}", nodes("task_create"));
    assert!(nodes("task_update").contains("\"Operation\":\"Update\""), "{}", nodes("task_update"));

    // The same document over HTTP does leave something.
    assert!(world.ask(ada, &document, json!({})).await.data()["made"]["task"]["title"] == "New");
    assert_ne!(seen().await, before);
}

#[tokio::test]
async fn every_statement_of_the_registry_is_explained_with_values_of_the_database_and_leaves_no_trace() {
    let world = World::new().await;
    world.large([3, 30, 2]).await;
    let listed = run(trellis().args(["explain", "--list"])).await;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let listed: Vec<&str> = listed.out.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(listed, PURPOSES.map(|(name, _)| name));

    let explain = |words: &'static [&'static str]| {
        let mut command = trellis();
        command.args(["explain", "--log", "error"]).args(words);
        command.env("DATABASE_URL", &world.addresses.primary).env("REPLICA_URLS", &world.addresses.replicas[0]);
        async move { run(&mut command).await }
    };
    let rows = "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM comments) + (SELECT count(*) FROM workspaces), \
                (SELECT max(xmin::text::bigint) FROM tasks)";
    let seen = || async {
        let row = one(&world.sql, rows).await;
        let seen: (i64, i64) = (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap());
        seen
    };
    let before = seen().await;
    let all = explain(&["--all", "--json"]).await;
    assert_eq!(all.code, Some(0), "{all:?}");
    assert_eq!(seen().await, before);
    let report: Value = serde_json::from_str(&all.out).unwrap();
    let mut explained = names(&report);
    assert!(explained.len() > 600, "saw {} variants", explained.len());
    explained.dedup();
    assert_eq!(explained, listed);
    for statement in statements(&report) {
        let is_report = ["tally", "assignees", "overdue", "cycle", "throughput", "projects_of_report"];
        let is_report = is_report.iter().any(|start| statement["name"].as_str().unwrap().starts_with(start));
        assert_eq!(statement["target"], if is_report { "replica" } else { "primary" }, "{}", statement["name"]);
    }

    let named =
        explain(&["--statement", "comments_of_task", "--variant", "after a cursor", "--json", "--largest"]).await;
    let report: Value = serde_json::from_str(&named.out).unwrap();
    let found = statements(&report);
    assert!(found.len() > 2 && found.iter().all(|found| found["name"] == "comments_of_task"), "{}", brief(&report));
    let variants = found.iter().map(|found| found["variant"].as_str().unwrap());
    assert!(variants.clone().all(|variant| variant.contains("after a cursor")), "{:?}", variants.collect::<Vec<_>>());
    assert_eq!(report["user"], "ada@example.com");

    let text = explain(&["--statement", "task_update", "--brief"]).await;
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.out.contains("task_update: of an expected version  1 key, 1 row, "), "{}", text.out);
    assert!(!text.out.contains("Update on tasks"), "a plan of which there is nothing to say is left out: {}", text.out);
    explain(&["--statement", "task_upsert"]).await.assert_refused(&["no statement is called task_upsert", "--list"]);
    explain(&["--statement", "server_seen", "--variant", "x"]).await.assert_refused(&["no variant", "\"x\""]);
    explain(&[]).await.assert_refused(&["--query <FILE>", "--statement <NAME>"]);
    assert_eq!(seen().await, before);
}

#[tokio::test]
async fn the_document_comes_from_standard_input_and_runs_as_whom_one_names() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    world.workspace("first", ada).await;
    world.workspace("second", grace).await;
    let ask = |words: &[&str]| {
        let file = TestFile::new("explain", "{ viewer { name } } ");
        let script = format!("exec \"$0\" \"$@\" < {}", file.path());
        let mut command = std::process::Command::new("sh");
        let binary = env!("CARGO_BIN_EXE_trellis");
        command.args(["-c", &script, binary, "explain", "--query", "-", "--json", "--log", "error"]).args(words);
        command.env("DATABASE_URL", &world.addresses.primary).env_remove("TRELLIS_JWT_SECRET");
        async move {
            let ended = run(&mut command).await;
            drop(file);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            serde_json::from_str::<Value>(&ended.out).unwrap()
        }
    };
    let unnamed = ask(&[]).await;
    assert_eq!(unnamed["user"], "ada@example.com", "the owner of the oldest workspace");
    assert_eq!(names(&unnamed), ["user_by_id"]);
    let named = ask(&["--as", "Grace@example.com"]).await;
    let values = statement(&named, "user_by_id")["values"].to_string();
    assert!(values.contains(&grace.to_string()) && !values.contains(&ada.to_string()), "{values}");
}

#[tokio::test]
async fn what_cannot_be_explained_is_refused_in_one_clear_line() {
    let world = World::new().await;
    let refused = |ended: &Ended, words: &[&str]| {
        assert_eq!(ended.code, Some(1), "{ended:?}");
        ended.assert_refused(words);
    };
    let good = "{ viewer { name } }";
    refused(&world.explain(good, &[]).await, &["nobody owns a workspace", "trellis seed", "--as"]);
    let ada = world.user("ada").await;
    world.workspace("ours", ada).await;
    refused(
        &world.explain(good, &["--as", "nobody@example.com"]).await,
        &["no user has the address nobody@example.com"],
    );
    refused(
        &world.explain(good, &["--variables", "/nowhere.json"]).await,
        &["the variables in /nowhere.json", "No such"],
    );
    let list = TestFile::new("explain", "[1]");
    refused(&world.explain(good, &["--variables", list.path()]).await, &["not a JSON object"]);
    let mut missing = trellis();
    missing.args(["explain", "--query", "/nowhere.graphql"]).env("DATABASE_URL", &world.addresses.primary);
    refused(&run(&mut missing).await, &["the document in /nowhere.graphql cannot be read"]);
    let empty = cluster().await.primary_url(&cluster().await.new_database(None).await);
    let file = TestFile::new("explain", good);
    let mut unmigrated = trellis();
    unmigrated.args(["explain", "--query", file.path()]).env("DATABASE_URL", empty);
    refused(&run(&mut unmigrated).await, &["trellis migrate up"]);

    // The errors of documents are those of the server.
    for document in ["{ viewer { nme } }", "{ viewer ", "query A { viewer { name } } query B { viewer { name } }"] {
        let answer = world.ask(ada, document, json!({})).await;
        let ended = world.explain(document, &["--json"]).await;
        refused(&ended, &["the answer to the document has 1 error"]);
        let report: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(report["errors"][0]["message"], answer.body["errors"][0]["message"]);
        assert_eq!(report["errors"][0]["extensions"]["code"], answer.body["errors"][0]["extensions"]["code"]);
        let text = world.explain(document, &[]).await;
        assert!(text.out.contains(answer.codes()[0]), "{}", text.out);
    }
    let chosen =
        world.explained("query A { viewer { name } } query B { server { version } }", &["--operation", "A"]).await;
    assert_eq!(names(&chosen), ["user_by_id"]);
}
