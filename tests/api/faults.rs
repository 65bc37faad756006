//! What clients see of servers and connections that fail, and that nothing stays behind.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::errors::{beside, lock, waiting};
use crate::harness::{Answer, World, eventually, one};

const CREATE: &str = "mutation($id: ID!) { taskCreate(input: { projectId: $id, title: \"New\" }) { task { id } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_stands_still_is_given_up_after_a_deadline_and_not_used_again() {
    let world = World::with(&["--statement-timeout-ms", "3000"]).await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    let project = world.project(home, "Boat").await;
    let lock = lock(&world, "tasks").await;
    let beside = beside(&world).await;
    let ask = async || {
        world.ask(ada, "query($id: ID!) { project(id: $id) { tasks { totalCount } } }", json!({ "id": project })).await
    };
    let create = world.ask(ada, CREATE, json!({ "id": project }));
    let (answer, frozen) = tokio::join!(create, async {
        let pid = waiting(&beside).await;
        // PostgreSQL's own timeout cannot fire in a process that does not run.
        kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
        pid
    });
    assert_eq!(
        (answer.status, answer.codes()),
        (StatusCode::SERVICE_UNAVAILABLE, vec!["UNAVAILABLE"]),
        "{}",
        answer.text
    );
    lock.rollback().await.unwrap();
    for _ in 0..20 {
        assert_eq!(ask().await.data()["project"]["tasks"]["totalCount"], 0);
    }
    let pid = Pid::from_raw(frozen);
    kill(pid, Signal::SIGCONT).unwrap();
    eventually("the session ends, since nobody has it any more", || async {
        let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
        let sessions: i64 = one(&beside, &sessions).await.try_get_by_index(0).unwrap();
        if sessions == 0 { Ok(()) } else { Err(sessions) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_aborted_at_any_moment_leave_no_transaction_and_no_statement_behind() {
    let world = World::with(&["--acquire-timeout-ms", "20000", "--request-timeout-ms", "60000"]).await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    let project = world.project(home, "Boat").await;
    let documents = [
        CREATE,
        "query($id: ID!) { project(id: $id) { name tasks { totalCount nodes { title } } report { totals { total } byStatus { count } } } }",
    ];
    let mut cut = 0;
    for round in 0..400_u64 {
        let body = json!({ "query": documents[usize::from(round % 2 == 0)], "variables": { "id": project } });
        let request = world.http().post(world.url("/graphql")).bearer_auth(world.token(ada)).json(&body);
        // From before the first byte to about when the answer comes.
        let patience = Duration::from_micros(round * 37 % 9_000);
        cut += u64::from(tokio::time::timeout(patience, request.send()).await.is_err());
    }
    assert!(cut > 50, "{cut} of them were cut off");
    for connection in [&world.sql, &world.replica_sql] {
        eventually("every session is at rest", || async {
            let restless = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND application_name LIKE 'trellis %' AND application_name <> 'trellis administration' AND state <> 'idle'";
            let restless: i64 = one(connection, restless).await.try_get_by_index(0).unwrap();
            if restless == 0 { Ok(()) } else { Err(restless) }
        })
        .await;
    }
    for document in documents.iter().cycle().take(40) {
        world.ask(ada, document, json!({ "id": project })).await.data();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_statement_of_an_aborted_request_ends_with_it() {
    let words = ["--statement-timeout-ms", "600000", "--request-timeout-ms", "600000", "--primary-connections", "2"];
    let world = World::with(&words).await;
    let ada = world.user("ada").await;
    world.workspace("home", ada).await;
    let beside = beside(&world).await;
    world.execute("ALTER TABLE members RENAME TO real_members").await;
    world.execute("CREATE VIEW members AS SELECT * FROM real_members WHERE (SELECT pg_sleep(600)) IS NOT NULL").await;
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let sleeping = async || one(&beside, sleeping).await.try_get_by_index::<i64>(0).unwrap();
    let request = tokio::spawn({
        let body = json!({ "query": "{ workspaces { nodes { name } } }" });
        world.http().post(world.url("/graphql")).bearer_auth(world.token(ada)).json(&body).send()
    });
    eventually("the statement sleeps", async || if sleeping().await > 0 { Ok(()) } else { Err("not yet") }).await;
    request.abort();
    eventually("it ends", async || if sleeping().await == 0 { Ok(()) } else { Err("not yet") }).await;
    assert_eq!(world.ask(ada, "{ viewer { name } }", json!({})).await.data()["viewer"]["name"], "ada");
}

const KEYED: &str = "mutation($id: ID!) { taskCreate(input: { projectId: $id, title: \"New\", idempotencyKey: \"k\" }) { \
    task { title } } }";

/// Creates a task under a key, in a transaction whose session is ended while it commits.
pub async fn cut_off_in_commit(world: &World, user: Uuid, project: Uuid) -> Answer {
    let beside = beside(world).await;
    let slow = "BEGIN PERFORM pg_sleep(600); RETURN NULL; END";
    world.execute(&format!("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ {slow} $$")).await;
    let trigger = "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
        EXECUTE FUNCTION slow()";
    world.execute(trigger).await;
    let end = async {
        let committing = "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE datname = current_database() \
            AND wait_event = 'PgSleep' AND query LIKE 'COMMIT%'";
        let pid = eventually("the transaction commits", async || {
            let pid: i32 = one(&beside, committing).await.try_get_by_index(0).unwrap();
            if pid == 0 { Err("not yet") } else { Ok(pid) }
        })
        .await;
        one(&beside, &format!("SELECT pg_terminate_backend({pid})")).await;
    };
    let (answer, ()) = tokio::join!(world.ask(user, KEYED, json!({ "id": project })), end);
    world.execute("DROP TRIGGER slow ON tasks").await;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_not_answered_has_an_unknown_outcome_and_its_key_finds_out() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    let project = world.project(home, "Boat").await;
    let answer = cut_off_in_commit(&world, ada, project).await;
    assert_eq!((answer.status, answer.codes()), (StatusCode::OK, vec!["OUTCOME_UNKNOWN"]), "{}", answer.text);
    assert_eq!(answer.body["data"], json!({ "taskCreate": Value::Null }));
    assert!(answer.body["errors"][0]["message"].as_str().unwrap().contains("idempotencyKey"), "{}", answer.text);
    for _ in 0..2 {
        let answer = world.ask(ada, KEYED, json!({ "id": project })).await;
        assert_eq!(answer.data()["taskCreate"]["task"]["title"], "New");
    }
    let tasks: i64 = one(&world.sql, "SELECT count(*) FROM tasks").await.try_get_by_index(0).unwrap();
    assert_eq!(tasks, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_given_up_at_the_deadline_has_an_unknown_outcome_and_its_key_finds_out() {
    let world = World::with(&["--request-timeout-ms", "1000"]).await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    let project = world.project(home, "Boat").await;
    // It has a connection, so that it begins to write at once.
    world.ask(ada, "{ viewer { name } }", json!({})).await.data();
    let lock = lock(&world, "tasks").await;
    let answer = world.ask(ada, KEYED, json!({ "id": project })).await;
    assert_eq!(
        (answer.status, answer.codes()),
        (StatusCode::INTERNAL_SERVER_ERROR, vec!["OUTCOME_UNKNOWN"]),
        "{}",
        answer.text
    );
    assert!(!answer.headers.contains_key("retry-after"), "nothing invites to send it again without a look");
    lock.rollback().await.unwrap();
    eventually("the key finds out", async || {
        let answer = world.ask(ada, KEYED, json!({ "id": project })).await;
        if answer.codes().is_empty() { Ok(()) } else { Err(answer.text) }
    })
    .await;
    let tasks: i64 = one(&world.sql, "SELECT count(*) FROM tasks").await.try_get_by_index(0).unwrap();
    assert_eq!(tasks, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_wait_for_the_disk_also_where_the_database_says_otherwise() {
    let first = World::new().await;
    let name: String = one(&first.sql, "SELECT current_database()::text").await.try_get_by_index(0).unwrap();
    first.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    let world = World::on(first.addresses.clone(), first.addresses, &[]).await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    let project = world.project(home, "Boat").await;
    world.execute("CREATE TABLE seen (setting text)").await;
    world
        .execute(
            "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO seen SELECT current_setting('synchronous_commit'); RETURN NULL; END $$",
        )
        .await;
    world.execute("CREATE TRIGGER look AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION look()").await;
    world.ask(ada, CREATE, json!({ "id": project })).await.data();
    let seen: String = one(&world.sql, "SELECT string_agg(setting, ' ') FROM seen").await.try_get_by_index(0).unwrap();
    assert_eq!(seen, "on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_full_nothing_is_written_and_everything_is_read() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    let project = world.project(home, "Boat").await;
    // What PostgreSQL says then; a full disk in earnest is among the faults of bin/faults.
    let full = "BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END";
    world.execute(&format!("CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ {full} $$")).await;
    world.execute("CREATE TRIGGER full_disk BEFORE INSERT ON tasks EXECUTE FUNCTION full_disk()").await;
    let answer = world.ask(ada, CREATE, json!({ "id": project })).await;
    assert_eq!((answer.status, answer.codes()), (StatusCode::SERVICE_UNAVAILABLE, vec!["UNAVAILABLE"]));
    assert_eq!(answer.headers["retry-after"], "1");
    let read = "query($id: ID!) { project(id: $id) { name report { totals { total } } } }";
    assert_eq!(world.ask(ada, read, json!({ "id": project })).await.data()["project"]["name"], "Boat");
    world.execute("DROP TRIGGER full_disk ON tasks").await;
    world.ask(ada, CREATE, json!({ "id": project })).await.data();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_committed_is_not_told_as_one_to_send_again_where_its_answer_cannot_be_read() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    let project = world.project(home, "Boat").await;
    let task = world.task(project, "Paint").await;
    // Whoever reads projects finds the server busy; whoever writes, not.
    let busy = "BEGIN IF current_query() LIKE 'SELECT%' THEN RAISE EXCEPTION 'no memory' USING ERRCODE = '53200'; END IF; \
        RETURN true; END";
    world.execute(&format!("CREATE FUNCTION look() RETURNS boolean LANGUAGE plpgsql AS $$ {busy} $$")).await;
    world.execute("ALTER TABLE projects RENAME TO real_projects").await;
    world.execute("CREATE VIEW projects AS SELECT * FROM real_projects WHERE look()").await;
    let update = "mutation($id: ID!) { tasksUpdate(input: { ids: [$id], priority: URGENT }) { \
        userErrors { message } tasks { priority project { name } } } }";
    let answer = world.ask(ada, update, json!({ "id": task })).await;
    assert_eq!((answer.status, answer.codes()), (StatusCode::OK, vec!["UNAVAILABLE"]), "{}", answer.text);
    assert_eq!(answer.body["data"], json!({ "tasksUpdate": Value::Null }));
    assert_eq!(answer.body["errors"][0]["path"], json!(["tasksUpdate", "tasks"]));
    assert!(!answer.headers.contains_key("retry-after"), "it has been done");
    let token = answer.headers["x-consistency-token"].to_str().unwrap();
    assert_eq!(answer.body["extensions"]["consistency"]["token"], token);
    let priority: String = one(&world.sql, "SELECT priority FROM tasks").await.try_get_by_index(0).unwrap();
    assert_eq!(priority, "urgent");
    // A query that fails like that has done nothing, and may come again.
    let read = "query($id: ID!) { project(id: $id) { name } }";
    let answer = world.ask(ada, read, json!({ "id": project })).await;
    assert_eq!((answer.status, answer.codes()), (StatusCode::SERVICE_UNAVAILABLE, vec!["UNAVAILABLE"]));
}
