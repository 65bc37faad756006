//! A newer version's migrations under a server that runs: whatever its connections have prepared, every request is
//! answered.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::json;
use trellis::database::administration;
use uuid::Uuid;

use crate::catalog::texts;
use crate::harness::{World, eventually, one};

const READ: &str = "query($id: ID!) { project(id: $id) { name workspace { name slug }
    tasks(first: 5) { totalCount nodes { title description status comments(first: 2) { nodes { body author { name } } } } } } }";

const REPORT: &str = "query($id: ID!) { project(id: $id) { report { totals { total open }
    byAssignee { open assignee { name } } freshness { source fellBack } } } }";

const WRITE: &str = "mutation($id: ID!, $title: String!, $key: String) {
    taskCreate(input: { projectId: $id, title: $title, idempotencyKey: $key }) {
        task { title status project { name workspace { name } report { totals { total } byAssignee { open } } } }
        userErrors { message } } }";

/// As many requests at a time as fill every connection.
const AT_ONCE: usize = 8;

/// What clients send, over and over.
struct Traffic {
    world: World,
    user: Uuid,
    project: Uuid,
    written: usize,
}

impl Traffic {
    async fn new(words: &[&str]) -> Self {
        // More requests at a time than connections: each gets its turn.
        let world = World::with(&[words, &["--acquire-timeout-ms", "20000"]].concat()).await;
        let user = world.user("ada").await;
        let workspace = world.workspace("home", user).await;
        let project = world.project(workspace, "Atlas").await;
        world.fill(workspace, user, [2, 5, 2]).await;
        Self { world, user, project, written: 0 }
    }

    /// Reads, reports and writes at the same time. Every one of them is answered as if nothing had happened.
    async fn flows(&mut self, when: &str) {
        let first = self.written;
        let asked = join_all((0..AT_ONCE).flat_map(|number| {
            let title = format!("Task {}", first + number);
            let key = number.is_multiple_of(2).then(|| format!("key {title}"));
            let write = json!({ "id": self.project, "title": title, "key": key });
            [(READ, json!({ "id": self.project })), (REPORT, json!({ "id": self.project })), (WRITE, write)]
                .map(|(document, variables)| self.world.ask(self.user, document, variables))
        }))
        .await;
        assert_eq!(asked.len(), 3 * AT_ONCE);
        for answer in &asked {
            assert_eq!(answer.body.get("errors"), None, "{when}: {}", answer.text);
            if let Some(written) = answer.body["data"].get("taskCreate") {
                assert_eq!(written["userErrors"], json!([]), "{when}");
                assert!(written["task"]["project"]["report"]["totals"]["total"].as_u64().unwrap() > 0, "{when}");
            }
        }
        self.written += AT_ONCE;
        let count = format!("SELECT count(*) FROM tasks WHERE project_id = '{}'", self.project);
        let count: i64 = one(&self.world.sql, &count).await.try_get_by_index(0).unwrap();
        assert_eq!(usize::try_from(count).unwrap(), self.written, "{when}: each write is done once");
        self.world.replicated().await;
    }

    /// Asks for a report until the replica gives it; a busy machine may take it for silent once.
    async fn reports_on_the_replica(&self, when: &str) {
        let of_replica = json!({ "source": "REPLICA", "fellBack": false });
        eventually(when, async || {
            let answer = self.world.ask(self.user, REPORT, json!({ "id": self.project })).await;
            let freshness = &answer.data()["project"]["report"]["freshness"];
            if *freshness == of_replica { Ok(()) } else { Err(answer.text) }
        })
        .await;
    }
}

/// The processes that serve requests on a server.
async fn sessions(server: &DatabaseConnection) -> BTreeSet<String> {
    let sessions = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() \
                    AND application_name ~ '^trellis (primary|replica)'";
    texts(server, sessions).await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_that_get_another_type_or_are_added_under_a_server_that_runs_fail_no_request() {
    fails_no_request(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_they_where_rows_are_read_on_a_replica() {
    fails_no_request(&["--read-from-replicas"]).await;
}

async fn fails_no_request(words: &[&str]) {
    let mut traffic = Traffic::new(words).await;
    traffic.flows("before").await;
    traffic.flows("and once more, with all of it prepared").await;
    traffic.reports_on_the_replica("the replica is warm too").await;

    let before = sessions(&traffic.world.sql).await;
    assert!(before.len() >= 3, "there are several connections: {before:?}");
    for table in ["users", "workspaces", "members", "projects", "tasks", "comments", "idempotency_keys"] {
        traffic.world.execute(&format!("ALTER TABLE {table} ADD COLUMN estimate integer DEFAULT 3")).await;
    }
    traffic.world.replicated().await;
    traffic.flows("with a new column in every table").await;
    let after = sessions(&traffic.world.sql).await;
    assert!(before.is_subset(&after), "a new column makes no connection useless: {before:?}, {after:?}");

    for change in [
        "ALTER TABLE tasks ALTER COLUMN title TYPE varchar(500)",
        "ALTER TABLE tasks ALTER COLUMN status TYPE varchar(20)",
        "ALTER TABLE users ALTER COLUMN name TYPE varchar(200)",
        "ALTER TABLE workspaces ALTER COLUMN name TYPE varchar(200), ALTER COLUMN slug TYPE varchar(63)",
        "ALTER TABLE members ALTER COLUMN role TYPE varchar(20)",
        "ALTER TABLE projects ALTER COLUMN name TYPE varchar(200)",
        "ALTER TABLE idempotency_keys ALTER COLUMN response TYPE varchar",
        "ALTER TABLE comments ALTER COLUMN body TYPE varchar(50000)",
        "ALTER TABLE tasks ALTER COLUMN created_at TYPE timestamptz(6), ALTER COLUMN title TYPE text",
    ] {
        let before = [sessions(&traffic.world.sql).await, sessions(&traffic.world.replica_sql).await];
        traffic.world.execute(change).await;
        traffic.world.replicated().await;
        traffic.flows(change).await;
        traffic.reports_on_the_replica(change).await;
        // What is written and read of a task has its status in it.
        if change.contains("COLUMN status") {
            let servers = [&traffic.world.sql, &traffic.world.replica_sql];
            // Without words for it, no rows are read on the replica, and reports have types of their own.
            for (server, before) in servers.into_iter().zip(&before).take(1 + words.len()) {
                assert!(!before.is_empty());
                eventually("connections that had the table as it was are replaced", async || {
                    let left: Vec<String> = sessions(server).await.intersection(before).cloned().collect();
                    if left.len() < before.len() { Ok(()) } else { Err(left) }
                })
                .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_gets_another_type_while_requests_wait_for_it_fails_none_of_them() {
    let mut traffic = Traffic::new(&[]).await;
    traffic.flows("before").await;
    traffic.flows("and once more, with all of it prepared").await;
    let migration = administration::connect(&traffic.world.addresses.primary).await.unwrap();
    let change = "BEGIN; ALTER TABLE tasks ALTER COLUMN title TYPE varchar(500)";
    migration.execute_unprepared(change).await.unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock' AND application_name ~ '^trellis primary'";
    let ask = |_| traffic.world.ask(traffic.user, READ, json!({ "id": traffic.project }));
    let asked = join_all((0..AT_ONCE).map(ask));
    let commit = async {
        eventually("requests wait for the table", || async {
            let waiting: i64 = one(&migration, waiting).await.try_get_by_index(0).unwrap();
            if waiting > 0 { Ok(()) } else { Err(waiting) }
        })
        .await;
        migration.execute_unprepared("COMMIT").await.unwrap();
    };
    let (answers, ()) = tokio::join!(asked, commit);
    assert_eq!(answers.len(), AT_ONCE);
    for answer in answers {
        assert_eq!(answer.data()["project"]["name"], "Atlas", "{}", answer.text);
    }
}
