//! Every code that the server gives, with its status; what no answer tells; what is refused before it costs anything.

use std::time::Duration;

use reqwest::StatusCode;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, TransactionTrait};
use serde_json::{Value, json};
use trellis::clock;
use trellis::database::{Addresses, administration};
use trellis::entities::member::Role;
use uuid::Uuid;

use crate::faults::cut_off_in_commit;
use crate::harness::{Answer, World, eventually, new_path, one};

/// Words of statements, of the database and of the source that no answer may hold.
const INTERNALS: [&str; 23] = [
    "SELECT",
    "INSERT",
    "UPDATE ",
    "DELETE",
    "FROM ",
    "JOIN ",
    "LATERAL",
    "deleted_at",
    "_id",
    "relation",
    "constraint",
    "pg_",
    "sqlx",
    "sqlstate",
    "sea_orm",
    "SeaORM",
    "ostgre",
    "localhost",
    "pool",
    ".rs",
    "/tmp",
    "/home",
    "panick",
];
/// Tables; a sentence about rights may speak of members.
const TABLES: [&str; 5] = ["users", "workspaces", "projects", "tasks", "comments"];

/// Sends a document without `X-Debug`, which names statements.
async fn ask(world: &World, user: Uuid, document: &str, variables: Value) -> Answer {
    let request = world.http().post(world.url("/graphql")).bearer_auth(world.token(user));
    Answer::of(request.json(&json!({ "query": document, "variables": variables })).send().await.unwrap()).await
}

/// The one error of an answer, after checking that it has a code and a request id, and tells nothing of the inside.
fn error<'a>(answer: &'a Answer, code: &str) -> &'a Value {
    let errors = answer.body["errors"].as_array().unwrap_or_else(|| panic!("no errors: {}", answer.text));
    assert_eq!(errors.len(), 1, "{}", answer.text);
    let extensions = errors[0]["extensions"].as_object().unwrap();
    let id = answer.headers["x-request-id"].to_str().unwrap();
    assert_eq!(json!(extensions), json!({ "code": code, "requestId": id }), "{}", answer.text);
    for word in INTERNALS {
        assert!(!answer.text.contains(word), "{word}: {}", answer.text);
    }
    let message = errors[0]["message"].as_str().unwrap();
    assert!(!message.is_empty());
    // What is refused for its size is told by the path that the client wrote.
    for table in TABLES.iter().filter(|_| code != "LIMIT_EXCEEDED") {
        assert!(!message.contains(table), "{table}: {message}");
    }
    &errors[0]
}

/// Checks an answer to a request that was not executed.
fn assert_refused(answer: &Answer, status: StatusCode, code: &str) {
    error(answer, code);
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.body.as_object().unwrap().keys().collect::<Vec<_>>(), ["errors"], "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/graphql-response+json; charset=utf-8");
}

/// Checks an answer in which one field failed.
fn assert_failed(answer: &Answer, path: &str, code: &str) {
    assert_eq!(error(answer, code)["path"], json!([path]), "{}", answer.text);
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["data"][path], Value::Null);
    assert!(answer.body["data"].is_object(), "{}", answer.text);
}

async fn ada_of(world: &World) -> Uuid {
    let ada = world.user("ada").await;
    world.workspace("home", ada).await;
    ada
}

/// The process lives, and answers.
async fn assert_alive(world: &World, user: Uuid) {
    assert_eq!(ask(world, user, "{ viewer { name } }", json!({})).await.data()["viewer"]["name"], "ada");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_caller_a_field_is_null_and_a_bad_token_ends_the_request() {
    let world = World::new().await;
    assert_failed(&world.ask_anonymously("{ viewer { name } }").await, "viewer", "UNAUTHENTICATED");
    let request = world.http().post(world.url("/graphql")).bearer_auth("x").json(&json!({ "query": "{ __typename }" }));
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_refused(&answer, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_id_fails_its_field_alone_and_before_any_statement() {
    let world = World::new().await;
    let ada = ada_of(&world).await;
    let good = clock::new_id().to_string();
    for id in ["", "7", "null", "%", "ä", &good[1..], &format!("{good}0"), &format!("{good}\0"), &"9".repeat(9_000)] {
        let answer = ask(&world, ada, "query($id: ID!) { task(id: $id) { id } }", json!({ "id": id })).await;
        assert_failed(&answer, "task", "BAD_USER_INPUT");
    }
    let document = "query($id: ID!) { workspace(id: $id) { id } project(id: $id) { id } comment(id: $id) { id } }";
    let answer = world.ask(ada, document, json!({ "id": "7" })).await;
    assert_eq!(answer.codes(), ["BAD_USER_INPUT"; 3]);
    assert!(answer.statements().is_empty(), "{}", answer.text);
    let input = json!({ "taskId": "7", "body": "Yes" });
    let document = "mutation($input: CommentCreateInput!) { commentCreate(input: $input) { comment { id } } }";
    let answer = world.ask(ada, document, json!({ "input": input })).await;
    assert_eq!(answer.codes(), ["BAD_USER_INPUT"]);
    assert!(answer.statements().is_empty(), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_role_does_not_allow_is_forbidden_and_its_siblings_stay() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", grace).await;
    world.member(home, ada, Role::Viewer).await;
    let document = "query($id: ID!) { viewer { name } workspace(id: $id) { tasks(deleted: INCLUDE) { totalCount } } }";
    let answer = ask(&world, ada, document, json!({ "id": home })).await;
    assert_eq!(error(&answer, "FORBIDDEN")["path"], json!(["workspace", "tasks"]));
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["data"], json!({ "viewer": { "name": "ada" }, "workspace": null }));
    assert!(ask(&world, grace, document, json!({ "id": home })).await.body.get("errors").is_none());
}

const UPDATE: &str = "mutation($input: TaskUpdateInput!) { taskUpdate(input: $input) { userErrors { code } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_date_that_cannot_be_right_is_refused_before_anything_is_executed() {
    let world = World::new().await;
    let ada = ada_of(&world).await;
    let id = clock::new_id();
    let dates = [
        json!("yesterday"),
        json!(""),
        json!("2026-02-30T00:00:00Z"),
        json!("2026-01-31"),
        json!("2026-01-31T09:30:00"),
        json!("10000-01-01T00:00:00Z"),
        json!("+10000-01-01T00:00:00Z"),
        json!("0000-01-01T00:00:00Z"),
        json!("-0001-01-01T00:00:00Z"),
        json!("0001-01-01T00:00:00+01:00"),
        json!("9999-12-31T23:59:59-01:00"),
        json!("2026-01-31T09:30:00Z\0"),
        json!(1_769_851_800),
        json!(true),
        json!(["2026-01-31T09:30:00Z"]),
    ];
    for date in dates {
        let answer = ask(&world, ada, UPDATE, json!({ "input": { "id": id, "dueDate": date } })).await;
        assert_refused(&answer, StatusCode::BAD_REQUEST, "BAD_USER_INPUT");
    }
    for date in ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-01-31t09:30:00.5+14:00"] {
        let answer = ask(&world, ada, UPDATE, json!({ "input": { "id": id, "dueDate": date } })).await;
        assert_eq!(answer.data()["taskUpdate"]["userErrors"][0]["code"], "NOT_FOUND", "{date}");
    }
    // A fault in the second of two mutations must not leave the first one written and unanswered.
    let document = "mutation { workspaceCreate(input: { name: \"X\", slug: \"xx\" }) { userErrors { code } } \
        taskUpdate(input: { id: \"7\", dueDate: \"yesterday\" }) { userErrors { code } } }";
    assert_refused(&ask(&world, ada, document, json!({})).await, StatusCode::BAD_REQUEST, "BAD_USER_INPUT");
    assert_eq!(count(&world, "workspaces").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variable_of_the_wrong_type_is_bad_input() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let id = world.workspace("home", ada).await;
    let document = "query($first: Int, $filter: TaskFilter, $id: ID!) { workspaces(first: $first) { totalCount } \
        workspace(id: $id) { tasks(filter: $filter) { totalCount } } }";
    for (name, value) in [
        ("first", json!("ten")),
        ("first", json!(1.5)),
        ("first", json!(3_000_000_000_u64)),
        ("first", json!([1, 2])),
        ("first", json!({})),
        ("filter", json!({ "status": ["DONE"] })),
        ("filter", json!({ "status": [1] })),
        ("filter", json!({ "state": [] })),
        ("id", json!(null)),
        ("id", json!({})),
        ("id", json!(true)),
        ("filter", json!("TODO")),
        ("filter", json!(7)),
    ] {
        let mut variables = json!({ "id": id });
        variables[name] = value;
        let answer = ask(&world, ada, document, variables.clone()).await;
        assert_refused(&answer, StatusCode::BAD_REQUEST, "BAD_USER_INPUT");
    }
    let answer = ask(&world, ada, document, json!({})).await;
    assert_refused(&answer, StatusCode::BAD_REQUEST, "BAD_USER_INPUT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_cannot_be_run_are_told_apart() {
    let world = World::new().await;
    let ada = ada_of(&world).await;
    for document in
        ["", " ", "{", "query", "{ viewer { name }", "viewer", "{ viewer { name } } }", "{ a(b: ) }", "\u{0}"]
    {
        let answer = ask(&world, ada, document, json!({})).await;
        assert_refused(&answer, StatusCode::BAD_REQUEST, "GRAPHQL_PARSE_FAILED");
    }
    let documents = [
        "{ nobody }",
        "{ viewer }",
        "{ viewer { name { first } } }",
        "{ task { title } }",
        "{ task(id: 7, no: 1) { id } }",
        "{ ...Missing }",
        "query($a: String) { __typename }",
        "{ server { version @no } }",
        "subscription { __typename }",
        "{ viewer { name: id name } }",
        "{ a: __typename a: server { version } }",
        "fragment Unused on Query { __typename } { __typename }",
        "{ ...Loop } fragment Loop on Query { ...Loop ...Loop }",
        // The parser would keep the one or the other.
        "mutation { workspaceCreate(input: { name: \"A\", slug: \"xx\", name: \"B\" }) { userErrors { code } } }",
        "{ workspaceBySlug(slug: \"a\") { tasks(filter: { status: [TODO], # {\n status: [IN_PROGRESS] }) { totalCount } } }",
        "query($f: TaskFilter = { status: TODO, status: TODO }) { workspaceBySlug(slug: \"a\") { tasks(filter: $f) { totalCount } } }",
    ];
    for document in documents {
        let answer = ask(&world, ada, document, json!({})).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{document}: {}", answer.text);
        assert!(answer.body.get("data").is_none(), "{document}: {}", answer.text);
        assert!(!answer.codes().is_empty(), "{document}");
        assert!(answer.codes().iter().all(|code| *code == "GRAPHQL_VALIDATION_FAILED"), "{document}: {}", answer.text);
    }
    let answer = ask(&world, ada, "{ nobody }", json!({})).await;
    assert_refused(&answer, StatusCode::BAD_REQUEST, "GRAPHQL_VALIDATION_FAILED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_input_object_is_bad_input_and_names_are_repeated_where_that_is_right() {
    let world = World::new().await;
    let ada = ada_of(&world).await;
    let of_tasks =
        |filter: &str| format!("{{ workspaceBySlug(slug: \"home\") {{ tasks(filter: {filter}) {{ totalCount }} }} }}");
    for filter in ["\"TODO\"", "TODO", "7", "true", "[{ status: TODO }]"] {
        let answer = ask(&world, ada, &of_tasks(filter), json!({})).await;
        assert_refused(&answer, StatusCode::BAD_REQUEST, "BAD_USER_INPUT");
    }
    // The same name in two objects, as an alias, an argument and a string.
    let document =
        "{ status: workspaceBySlug(slug: \"status: status:\") { name: tasks(filter: { status: TODO }, first: 1) \
        { totalCount } tasks(filter: { status: [DONE] }, first: 1) { totalCount } } }"
            .replace("DONE", "COMPLETED");
    let answer = ask(&world, ada, &document, json!({})).await;
    assert_eq!(answer.body["data"], json!({ "status": null }), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_holds_ten_errors_at_most() {
    let world = World::new().await;
    let ada = ada_of(&world).await;
    let ids: Vec<String> = (0..30).map(|number| format!("no{number}")).collect();
    let fields: Vec<String> = (0..10).map(|number| format!("t{number}: task(id: \"x{number}\") {{ id }}")).collect();
    let many = format!("{{ {} nodes(ids: {}) {{ id }} }}", fields[..9].join(" "), json!(ids));
    for (document, status) in
        [(&many, StatusCode::OK), (&"{ viewer { a b c d e f g h i j k l m } }".to_owned(), StatusCode::BAD_REQUEST)]
    {
        let answer = ask(&world, ada, document, json!({})).await;
        assert_eq!((answer.status, answer.codes().len()), (status, 10), "{}", answer.text);
    }
}

/// Locks a table until the transaction ends.
pub async fn lock(world: &World, table: &str) -> DatabaseTransaction {
    let transaction = world.sql.begin().await.unwrap();
    transaction.execute_unprepared(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await.unwrap();
    transaction
}

/// A connection beside the one that holds a lock.
pub async fn beside(world: &World) -> DatabaseConnection {
    administration::connect(&world.addresses.primary).await.unwrap()
}

/// The server's session that waits for a lock.
pub async fn waiting(connection: &DatabaseConnection) -> i32 {
    eventually("the server waits for the lock", || async {
        let sql = "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE datname = current_database() \
            AND application_name = 'trellis primary' AND wait_event_type = 'Lock'";
        let pid: i32 = one(connection, sql).await.try_get_by_index(0).unwrap();
        if pid == 0 { Err("it does not yet") } else { Ok(pid) }
    })
    .await
}

/// Waits until the statement of a session has taken so long.
pub async fn waited(connection: &DatabaseConnection, pid: i32, duration: Duration) {
    let seconds = duration.as_secs_f64();
    let sql = format!(
        "SELECT clock_timestamp() - query_start > interval '{seconds} s' FROM pg_stat_activity WHERE pid = {pid}"
    );
    eventually("it has taken long enough", || async {
        let waited: bool = one(connection, &sql).await.try_get_by_index(0).unwrap();
        waited.then_some(()).ok_or("not yet")
    })
    .await;
}

const TASK: &str = "query($id: ID!) { viewer { name } task(id: $id) { id } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_too_long_fails_its_field_with_timeout() {
    let world = World::with(&["--statement-timeout-ms", "500"]).await;
    let ada = ada_of(&world).await;
    let lock = lock(&world, "tasks").await;
    let answer = ask(&world, ada, TASK, json!({ "id": clock::new_id() })).await;
    assert_failed(&answer, "task", "TIMEOUT");
    assert_eq!(answer.body["data"]["viewer"]["name"], "ada");
    lock.rollback().await.unwrap();
    assert!(ask(&world, ada, TASK, json!({ "id": clock::new_id() })).await.body.get("errors").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_waits_for_a_lock_as_long_as_the_settings_say() {
    let world = World::with(&["--lock-timeout-ms", "100"]).await;
    let ada = ada_of(&world).await;
    let held = lock(&world, "tasks").await;
    let answer = ask(&world, ada, TASK, json!({ "id": clock::new_id() })).await;
    assert_failed(&answer, "task", "TIMEOUT");
    assert_eq!(answer.body["data"]["viewer"]["name"], "ada");
    held.rollback().await.unwrap();

    let patient = World::with(&["--lock-timeout-ms", "60000"]).await;
    let ada = ada_of(&patient).await;
    let beside = beside(&patient).await;
    let held = lock(&patient, "tasks").await;
    let release = async {
        let pid = waiting(&beside).await;
        // By default it would have given up.
        waited(&beside, pid, Duration::from_millis(1_500)).await;
        held.rollback().await.unwrap();
    };
    let asked = ask(&patient, ada, TASK, json!({ "id": clock::new_id() }));
    assert_eq!(tokio::join!(asked, release).0.data()["task"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_too_long_is_given_up_and_may_be_tried_again() {
    let world = World::with(&["--request-timeout-ms", "100"]).await;
    let ada = ada_of(&world).await;
    let lock = lock(&world, "tasks").await;
    let answer = ask(&world, ada, TASK, json!({ "id": clock::new_id() })).await;
    assert_refused(&answer, StatusCode::SERVICE_UNAVAILABLE, "TIMEOUT");
    assert_eq!(answer.headers["retry-after"], "1");
    lock.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_finds_every_connection_busy_is_told_that_the_server_is_overloaded() {
    let world = World::with(&["--primary-connections", "1", "--acquire-timeout-ms", "400"]).await;
    let ada = ada_of(&world).await;
    let lock = lock(&world, "tasks").await;
    let document = "query($id: ID!) { task(id: $id) { id } }";
    let beside = beside(&world).await;
    let first = ask(&world, ada, document, json!({ "id": clock::new_id() }));
    let second = async {
        waiting(&beside).await;
        let answer = ask(&world, ada, "{ viewer { name } }", json!({})).await;
        lock.rollback().await.unwrap();
        answer
    };
    let (first, second) = tokio::join!(first, second);
    assert_refused(&second, StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED");
    assert_eq!(second.headers["retry-after"], "1");
    assert_eq!(*first.data(), json!({ "task": null }), "the one that had the connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_whose_connection_ends_under_it_is_executed_again_over_another() {
    let world = World::new().await;
    let ada = ada_of(&world).await;
    let beside = beside(&world).await;
    let lock = lock(&world, "tasks").await;
    let document = "query($id: ID!) { task(id: $id) { id } viewer { name } }";
    let request = ask(&world, ada, document, json!({ "id": clock::new_id() }));
    let end = async {
        let pid = waiting(&beside).await;
        one(&beside, &format!("SELECT pg_terminate_backend({pid})")).await;
        lock.rollback().await.unwrap();
    };
    let (answer, ()) = tokio::join!(request, end);
    assert_eq!(*answer.data(), json!({ "task": null, "viewer": { "name": "ada" } }));
    assert_alive(&world, ada).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_reached_is_unavailable_until_it_can() {
    let real = World::new().await.addresses;
    // The server is told the socket's directory by another name, which the test takes away.
    let (directory, other_name) = (socket_directory(&real.primary), new_path("socket"));
    std::os::unix::fs::symlink(&directory, &other_name).unwrap();
    let told = real.primary.replace(&directory, other_name.to_str().unwrap());
    assert_ne!(told, real.primary);
    let world = World::on(real, Addresses { primary: told, replicas: Vec::new() }, &[]).await;
    let ada = ada_of(&world).await;
    assert_alive(&world, ada).await;

    std::fs::remove_file(&other_name).unwrap();
    world.flush_statistics(&world.sql).await;
    // The ended connections are found out one by one.
    let answer = eventually("the server has no connection left", || async {
        let answer = ask(&world, ada, "{ viewer { name } }", json!({})).await;
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
            AND application_name = 'trellis primary'";
        let sessions: i64 = one(&world.sql, sessions).await.try_get_by_index(0).unwrap();
        if sessions == 0 && answer.body.get("errors").is_some() { Ok(answer) } else { Err(answer.text) }
    })
    .await;
    assert_refused(&answer, StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE");
    let document = "mutation { workspaceCreate(input: { name: \"X\", slug: \"xx\" }) { userErrors { code } } }";
    let answer = ask(&world, ada, document, json!({})).await;
    assert_refused(&answer, StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE");
    assert_eq!(answer.headers["retry-after"], "1");

    std::os::unix::fs::symlink(&directory, &other_name).unwrap();
    eventually("the server finds the database again", || async {
        let answer = ask(&world, ada, "{ viewer { name } }", json!({})).await;
        if answer.body.get("errors").is_none() { Ok(()) } else { Err(answer.text) }
    })
    .await;
    std::fs::remove_file(&other_name).unwrap();
}

fn socket_directory(address: &str) -> String {
    let (_, after) = address.split_once("?host=").expect("the tests reach PostgreSQL through a socket");
    after.split('&').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_defect_is_one_fixed_sentence() {
    let world = World::new().await;
    let ada = ada_of(&world).await;
    world.execute("DROP TABLE comments").await;
    let (id, sentence) =
        (clock::new_id(), "Something went wrong on our side. The request id identifies the report of it.");
    let answer =
        ask(&world, ada, "query($id: ID!) { comment(id: $id) { id } viewer { name } }", json!({ "id": id })).await;
    assert_failed(&answer, "comment", "INTERNAL");
    assert_eq!(answer.body["errors"][0]["message"], sentence);
    assert_eq!(answer.body["data"]["viewer"]["name"], "ada");
    world.execute("ALTER TABLE projects DROP COLUMN status").await;
    let document =
        "mutation($id: ID!) { projectCreate(input: { workspaceId: $id, name: \"X\" }) { userErrors { code } } }";
    let answer = ask(&world, ada, document, json!({ "id": id })).await;
    assert_failed(&answer, "projectCreate", "INTERNAL");
    assert_eq!(answer.body["errors"][0]["message"], sentence);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_code_can_be_provoked_and_no_answer_tells_of_the_inside() {
    let source = include_str!("../../src/error.rs");
    let list = source.split("pub fn as_str").nth(1).unwrap().split("    }\n}").next().unwrap();
    let mut codes: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(codes.len() >= 12 && codes.contains(&"INTERNAL"), "{codes:?}");
    let mut provoked = |answer: &Answer| {
        let code = answer.body["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("{}", answer.text));
        error(answer, code);
        codes.retain(|left| *left != code);
    };

    let world = World::with(&["--primary-connections", "1", "--acquire-timeout-ms", "200"]).await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", grace).await;
    world.member(home, ada, Role::Viewer).await;
    provoked(&world.ask_anonymously("{ viewer { name } }").await);
    let of_home = |selected: &str| format!("{{ workspace(id: \"{home}\") {{ {selected} }} }}");
    for document in [
        &of_home("tasks(deleted: ONLY) { totalCount }"),
        &of_home("tasks(first: 1, after: \"x\") { totalCount }"),
        "{ task(id: \"7\") { id } }",
        "{ viewer {",
        "{ nobody }",
        &of_home("tasks(first: 100) { nodes { comments(first: 100) { nodes { body } } } }"),
    ] {
        provoked(&ask(&world, ada, document, json!({})).await);
    }
    let request = world.http().post(world.url("/graphql")).json(&json!({ "documentId": "x" }));
    provoked(&Answer::of(request.send().await.unwrap()).await);
    let request = world.http().post(world.url("/graphql")).header("x-consistency-token", "x");
    let request = request.bearer_auth(world.token(ada)).json(&json!({ "query": "{ viewer { name } }" }));
    provoked(&Answer::of(request.send().await.unwrap()).await);

    // The one connection waits for a lock, and its server ends it.
    let lock = lock(&world, "tasks").await;
    let beside = beside(&world).await;
    let write = "mutation($id: ID!) { taskUpdate(input: { id: $id, title: \"X\" }) { userErrors { code } } }";
    let waits = ask(&world, ada, write, json!({ "id": clock::new_id() }));
    let meanwhile = async {
        let pid = waiting(&beside).await;
        let answer = ask(&world, ada, "{ viewer { name } }", json!({})).await;
        one(&beside, &format!("SELECT pg_terminate_backend({pid})")).await;
        answer
    };
    let (ended, found_it_busy) = tokio::join!(waits, meanwhile);
    provoked(&ended);
    provoked(&found_it_busy);
    lock.rollback().await.unwrap();

    let project = world.project(home, "Boat").await;
    provoked(&cut_off_in_commit(&world, grace, project).await);

    let points = ["--max-complexity", "3", "--rate-limit", "1", "--rate-limit-burst", "3"];
    let stingy = World::with(&points).await;
    let refused = eventually("the points are spent", || async {
        let answer = stingy.ask_anonymously("{ server { version } }").await;
        if answer.body.get("errors").is_some() { Ok(answer) } else { Err(answer.text) }
    });
    provoked(&refused.await);

    let impatient = World::with(&["--request-timeout-ms", "100"]).await;
    let ada = ada_of(&impatient).await;
    let lock = self::lock(&impatient, "tasks").await;
    provoked(&ask(&impatient, ada, TASK_ALONE, json!({ "id": clock::new_id() })).await);
    lock.rollback().await.unwrap();

    let broken = World::new().await;
    let ada = ada_of(&broken).await;
    broken.execute("DROP TABLE comments").await;
    provoked(&ask(&broken, ada, "{ comment(id: \"01a0345f-12ad-7541-8788-f04851249340\") { id } }", json!({})).await);
    assert_eq!(codes, [""; 0], "codes that nothing above brings about");
}

const TASK_ALONE: &str = "query($id: ID!) { task(id: $id) { id } }";

async fn count(world: &World, table: &str) -> i64 {
    one(&world.sql, &format!("SELECT count(*) FROM {table}")).await.try_get_by_index(0).unwrap()
}
