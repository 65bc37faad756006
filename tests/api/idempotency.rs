//! A write that is sent twice is done once: idempotency keys.

use futures_util::future::join_all;
use serde_json::{Value, json};
use trellis::database::Database;
use trellis::entities::member::Role;
use trellis::metrics::Metrics;
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::harness::{Answer, SECRET, World, eventually, settings};
use crate::mutations::{Barrier, MUTATIONS, Mutation, Stage, contents, named, number, send};

/// An input with a key.
fn keyed(mut input: Value, key: &str) -> Value {
    input["idempotencyKey"] = json!(key);
    input
}

/// The code and the field of the only fault.
fn fault(answer: &Answer, mutation: &str) -> (Value, Value) {
    let payload = &answer.data()[mutation];
    assert_eq!(payload["userErrors"].as_array().unwrap().len(), 1, "{}", answer.text);
    assert_eq!(payload[named(mutation).row], named(mutation).nothing());
    (payload["userErrors"][0]["code"].clone(), payload["userErrors"][0]["field"].clone())
}

fn on_the_key(code: &str) -> (Value, Value) {
    (json!(code), json!(["input", "idempotencyKey"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mutation_that_is_repeated_gives_the_first_answer_and_writes_nothing() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let catalogue = Catalogue::of(&world).await;
    let mut repeated = 0;
    for mutation in &MUTATIONS {
        let name = mutation.name;
        assert!(catalogue.fields(mutation.input).iter().any(|field| field["name"] == "idempotencyKey"), "{name}");
        let stage = Stage::set(&world, &[(ada, "owner")], ada, name).await;
        let input = keyed(stage.input(name), &format!("key of {name}"));
        let first = mutation.run(&world, ada, &input).await;
        assert_eq!(first.data()[name]["userErrors"], json!([]), "{name}");
        assert_ne!(first.data()[name][mutation.row], mutation.nothing(), "{name}");
        let before = contents(&world, None).await;
        assert_eq!(mutation.run(&world, ada, &input).await.body["data"], first.body["data"], "{name}");
        assert_eq!(contents(&world, None).await, before, "{name}");
        // Somebody else changes what was written: the answer is still the first one.
        let row = &first.data()[name][mutation.row];
        let id: Uuid = serde_json::from_value(row.get("id").unwrap_or(&row[0]["id"]).clone()).unwrap();
        let change = "updated_at = updated_at + interval '1 hour', created_at = created_at - interval '1 hour', \
                      deleted_at = CASE WHEN deleted_at IS NULL THEN now() END";
        world.execute(&format!("UPDATE {} SET {change} WHERE id = '{id}'", mutation.table)).await;
        let before = contents(&world, None).await;
        assert_eq!(mutation.run(&world, ada, &input).await.body["data"], first.body["data"], "{name} after a change");
        assert_eq!(contents(&world, None).await, before, "{name}");
        repeated += 1;
    }
    assert_eq!(repeated, catalogue.fields("Mutation").len());
    assert_eq!(repeated, 20);
    assert_eq!(number(&world, "SELECT count(*) FROM idempotency_keys WHERE response IS NOT NULL").await, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_update_with_an_expectation_is_no_conflict_with_itself() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "member")], ada, "taskUpdate").await;
    let read = "query($id: ID!) { task(id: $id) { updatedAt } }";
    let seen = world.ask(ada, read, json!({ "id": stage.task })).await.data()["task"]["updatedAt"].clone();
    let input = json!({ "id": stage.task, "title": "Drawn", "expectedUpdatedAt": seen, "idempotencyKey": "k" });
    let first = named("taskUpdate").run(&world, ada, &input).await;
    assert_eq!(first.data()["taskUpdate"]["userErrors"], json!([]));
    assert_eq!(named("taskUpdate").run(&world, ada, &input).await.body["data"], first.body["data"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_equal_writes_that_meet_in_the_database_are_one_write_with_one_answer() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let mut rounds = 0;
    for _ in 0..5 {
        for name in ["workspaceCreate", "memberAdd", "taskCreate", "commentCreate"] {
            let mutation = named(name);
            let stage = Stage::set(&world, &[(ada, "owner")], ada, name).await;
            let input = keyed(stage.input(name), &format!("key {rounds}"));
            let count = format!("SELECT count(*) FROM {}", mutation.table);
            let before = number(&world, &count).await;
            let barrier = Barrier::raise(&world, &format!("LOCK TABLE {} IN SHARE MODE", mutation.table)).await;
            let release = async {
                barrier.meets(&world, 2).await;
                barrier.fall().await;
            };
            let (one, two, ()) =
                tokio::join!(mutation.run(&world, ada, &input), mutation.run(&world, ada, &input), release);
            assert_eq!(one.data()[name]["userErrors"], json!([]), "{name}");
            assert_eq!(one.body["data"], two.body["data"], "{name}");
            assert_eq!(number(&world, &count).await, before + 1, "{name}");
            rounds += 1;
        }
    }
    assert_eq!(rounds, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_equal_writes_at_once_are_one_write() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "member")], ada, "taskCreate").await;
    let mutation = named("taskCreate");
    for round in 1..=10 {
        let input = keyed(stage.input("taskCreate"), &format!("key {round}"));
        let answers = join_all((0..5).map(|_| mutation.run(&world, ada, &input))).await;
        assert_eq!(answers.len(), 5);
        assert!(answers[0].data()["taskCreate"]["task"]["id"].is_string());
        for answer in &answers {
            assert_eq!(answer.body["data"], answers[0].body["data"], "round {round}");
        }
        assert_eq!(number(&world, "SELECT count(*) FROM tasks WHERE title = 'New'").await, round);
    }
}

/// Sends a write, waits until it stands before the barrier, and drops its connection there.
async fn send_and_die(world: &World, caller: Uuid, input: &Value, barrier: &Barrier) {
    let request = reqwest::Client::new().post(world.url("/graphql")).bearer_auth(world.token(caller));
    let body = json!({ "query": named("taskCreate").document(), "variables": { "input": input } });
    tokio::select! {
        answer = request.json(&body).send() => panic!("answered before the barrier fell: {answer:?}"),
        () = barrier.meets(world, 1) => {}
    }
}

const TASKS_LOCKED: &str = "LOCK TABLE tasks IN SHARE MODE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_caller_went_away_in_the_middle_is_repeated_and_done_once() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "member")], ada, "taskCreate").await;
    let mutation = named("taskCreate");
    let count = "SELECT count(*) FROM tasks WHERE title = 'New'";
    let mut rounds = 0;
    for _ in 0..5 {
        // The repetition comes while the first one is still at it.
        let input = keyed(stage.input("taskCreate"), &format!("key {rounds}"));
        let barrier = Barrier::raise(&world, TASKS_LOCKED).await;
        send_and_die(&world, ada, &input, &barrier).await;
        let release = async {
            barrier.meets(&world, 2).await;
            barrier.fall().await;
        };
        let (repeated, ()) = tokio::join!(mutation.run(&world, ada, &input), release);
        rounds += 1;
        assert_eq!(repeated.data()["taskCreate"]["userErrors"], json!([]));
        assert_eq!(number(&world, count).await, rounds);
        // It comes when the first one has come to its end.
        let input = keyed(stage.input("taskCreate"), &format!("key {rounds}"));
        let barrier = Barrier::raise(&world, TASKS_LOCKED).await;
        send_and_die(&world, ada, &input, &barrier).await;
        barrier.fall().await;
        rounds += 1;
        eventually("the first write ends without its caller", || async {
            let written = number(&world, count).await;
            (written == rounds).then_some(()).ok_or(written)
        })
        .await;
        let id: Uuid = {
            let sql = "SELECT id FROM tasks WHERE title = 'New' ORDER BY id DESC LIMIT 1";
            crate::harness::one(&world.sql, sql).await.try_get_by_index(0).unwrap()
        };
        let repeated = mutation.run(&world, ada, &input).await;
        assert_eq!(repeated.data()["taskCreate"]["task"]["id"], json!(id));
        assert_eq!(number(&world, count).await, rounds);
    }
    assert_eq!(rounds, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_the_database_rolled_back_leaves_its_key_to_the_repetition() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "member")], ada, "taskCreate").await;
    let mutation = named("taskCreate");
    let input = keyed(stage.input("taskCreate"), "k");
    let barrier = Barrier::raise(&world, TASKS_LOCKED).await;
    let end = async {
        barrier.meets(&world, 1).await;
        let waiting = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
                       AND application_name = 'trellis primary' AND wait_event_type = 'Lock'";
        assert_eq!(number(&world, waiting).await, 1);
    };
    let (failed, ()) = tokio::join!(mutation.run(&world, ada, &input), end);
    barrier.fall().await;
    assert_eq!(failed.codes(), ["UNAVAILABLE"]);
    assert_eq!(number(&world, "SELECT count(*) FROM idempotency_keys").await, 0);
    let repeated = mutation.run(&world, ada, &input).await;
    assert_eq!(repeated.data()["taskCreate"]["userErrors"], json!([]));
    assert_eq!(number(&world, "SELECT count(*) FROM tasks WHERE title = 'New'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_input_or_another_mutation_under_a_key_is_a_mismatch_and_writes_nothing() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "owner")], ada, "taskUpdate").await;
    let input = json!({
        "projectId": stage.project, "title": "New", "dueDate": "2030-01-31T09:30:00Z", "idempotencyKey": "k",
    });
    let first = named("taskCreate").run(&world, ada, &input).await;
    assert_eq!(first.data()["taskCreate"]["userErrors"], json!([]));
    let before = contents(&world, None).await;
    // The same input, written otherwise.
    let same = json!({
        "title": "New", "projectId": stage.project.to_string().to_uppercase(), "status": "TODO", "priority": "MEDIUM",
        "dueDate": "2030-01-31T10:30:00.000000+01:00", "description": null, "assigneeId": null, "idempotencyKey": "k",
    });
    assert_eq!(named("taskCreate").run(&world, ada, &same).await.body["data"], first.body["data"]);
    for (field, value) in [
        ("title", json!("New ")),
        ("priority", json!("LOW")),
        ("dueDate", Value::Null),
        ("description", json!("")),
        ("projectId", json!(stage.gone_project)),
        ("assigneeId", json!(ada)),
    ] {
        let mut other = input.clone();
        other[field] = value;
        let answer = named("taskCreate").run(&world, ada, &other).await;
        assert_eq!(fault(&answer, "taskCreate"), on_the_key("IDEMPOTENCY_MISMATCH"), "{field}");
    }
    let mut mismatches = 0;
    for mutation in MUTATIONS.iter().filter(|mutation| mutation.name != "taskCreate") {
        let answer = mutation.run(&world, ada, &keyed(stage.input(mutation.name), "k")).await;
        assert_eq!(fault(&answer, mutation.name), on_the_key("IDEMPOTENCY_MISMATCH"), "{}", mutation.name);
        mismatches += 1;
    }
    assert_eq!(mismatches, 19);
    assert_eq!(contents(&world, None).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_field_and_a_field_that_is_null_are_two_inputs_where_null_clears() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "member")], ada, "taskUpdate").await;
    let absent = json!({ "id": stage.task, "title": "Drawn", "idempotencyKey": "k" });
    let null = json!({ "id": stage.task, "title": "Drawn", "description": null, "idempotencyKey": "k" });
    let first = named("taskUpdate").run(&world, ada, &absent).await;
    assert_eq!(first.data()["taskUpdate"]["userErrors"], json!([]));
    let answer = named("taskUpdate").run(&world, ada, &null).await;
    assert_eq!(fault(&answer, "taskUpdate"), on_the_key("IDEMPOTENCY_MISMATCH"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_of_another_caller_is_another_key() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let stage = Stage::set(&world, &[(ada, "member"), (grace, "member")], ada, "taskCreate").await;
    let input = keyed(stage.input("taskCreate"), "k");
    let adas = named("taskCreate").run(&world, ada, &input).await;
    let graces = named("taskCreate").run(&world, grace, &input).await;
    assert_eq!(graces.data()["taskCreate"]["userErrors"], json!([]));
    assert_ne!(adas.data()["taskCreate"]["task"]["id"], graces.data()["taskCreate"]["task"]["id"]);
    assert_eq!(number(&world, "SELECT count(*) FROM tasks WHERE title = 'New'").await, 2);
    assert_eq!(named("taskCreate").run(&world, ada, &input).await.body["data"], adas.body["data"]);
    assert_eq!(named("taskCreate").run(&world, grace, &input).await.body["data"], graces.body["data"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_write_does_not_use_up_its_key() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let stage = Stage::set(&world, &[(ada, "owner"), (grace, "viewer")], ada, "taskUpdate").await;
    let taken = json!({ "name": "New", "slug": format!("w{}", stage.workspace.simple()) });
    let conflicting = json!({ "id": stage.task, "title": "Drawn", "expectedUpdatedAt": "2020-01-01T00:00:00Z" });
    let refusals = [
        ("INVALID", "taskCreate", ada, json!({ "projectId": stage.project, "title": " " })),
        ("NOT_FOUND", "taskCreate", ada, json!({ "projectId": stage.gone_project, "title": "New" })),
        ("FORBIDDEN", "taskCreate", grace, stage.input("taskCreate")),
        ("CONFLICT", "taskUpdate", ada, conflicting),
        ("NOT_UNIQUE", "workspaceCreate", ada, taken.clone()),
        ("LIMIT_EXCEEDED", "tasksUpdate", ada, json!({ "ids": vec![stage.task; 101] })),
    ];
    let mut refused = 0;
    for (code, name, caller, input) in refusals {
        let answer = named(name).run(&world, caller, &keyed(input, "k")).await;
        assert_eq!(answer.data()[name]["userErrors"][0]["code"], code);
        refused += 1;
    }
    assert_eq!(refused, 6);
    assert_eq!(number(&world, "SELECT count(*) FROM idempotency_keys").await, 0);
    // The very same write succeeds once nothing stands in its way.
    world.execute(&format!("UPDATE workspaces SET slug = 'moved' WHERE id = '{}'", stage.workspace)).await;
    let answer = named("workspaceCreate").run(&world, ada, &keyed(taken, "k")).await;
    assert_eq!(answer.data()["workspaceCreate"]["userErrors"], json!([]));
}

/// Makes every key older, so that the purge and the claim see it so.
async fn age(world: &World, interval: &str) {
    world.execute(&format!("UPDATE idempotency_keys SET created_at = now() - interval '{interval}'")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_lasts_24_hours_and_then_the_write_is_done_anew() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "member")], ada, "taskCreate").await;
    let mutation = named("taskCreate");
    let input = keyed(stage.input("taskCreate"), "k");
    let first = mutation.run(&world, ada, &input).await;
    age(&world, "23 hours 59 minutes").await;
    assert_eq!(mutation.run(&world, ada, &input).await.body["data"], first.body["data"]);
    age(&world, "24 hours 1 second").await;
    let second = mutation.run(&world, ada, &input).await;
    assert_ne!(second.data()["taskCreate"]["task"]["id"], first.data()["taskCreate"]["task"]["id"]);
    assert_eq!(mutation.run(&world, ada, &input).await.body["data"], second.body["data"]);
    assert_eq!(number(&world, "SELECT count(*) FROM tasks WHERE title = 'New'").await, 2);
    // An old key takes any other input too.
    age(&world, "24 hours 1 second").await;
    let answer = named("commentCreate").run(&world, ada, &keyed(stage.input("commentCreate"), "k")).await;
    assert_eq!(answer.data()["commentCreate"]["userErrors"], json!([]));
    assert_eq!(number(&world, "SELECT count(*) FROM idempotency_keys").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_purge_removes_keys_older_than_25_hours_and_no_others() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "member")], ada, "taskCreate").await;
    for key in ["old", "older", "ended", "young", "new"] {
        named("taskCreate").run(&world, ada, &keyed(stage.input("taskCreate"), key)).await;
    }
    // A claim may have found the key that has ended, a moment ago.
    let ages =
        [("old", "25 hours 1 second"), ("older", "30 days"), ("ended", "24 hours 1 second"), ("young", "23 hours")];
    for (key, age) in ages {
        let sql = format!("UPDATE idempotency_keys SET created_at = now() - interval '{age}' WHERE key = '{key}'");
        world.execute(&sql).await;
    }
    let database =
        Database::connect(&world.addresses, &settings(&[]).pools, SECRET, &Metrics::default()).await.unwrap();
    database.purge_idempotency_keys().await.unwrap();
    database.close().await;
    let left = "SELECT string_agg(key, ' ' ORDER BY key) FROM idempotency_keys";
    let left: String = crate::harness::one(&world.sql, left).await.try_get_by_index(0).unwrap();
    assert_eq!(left, "ended new young");
    assert_eq!(number(&world, "SELECT count(*) FROM tasks WHERE title = 'New'").await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_1_to_255_characters_and_no_nul() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "member")], ada, "taskCreate").await;
    let bad = [String::new(), "k".repeat(256), "🦀".repeat(256), "\0".to_owned(), "a\0b".to_owned()];
    let mut refused = 0;
    for key in bad {
        let before = contents(&world, None).await;
        let answer = named("taskCreate").run(&world, ada, &keyed(stage.input("taskCreate"), &key)).await;
        assert_eq!(fault(&answer, "taskCreate"), on_the_key("INVALID"), "{key:?}");
        assert_eq!(contents(&world, None).await, before, "{key:?}");
        refused += 1;
    }
    assert_eq!(refused, 5);
    for key in ["k".to_owned(), " ".to_owned(), "k".repeat(255), "🦀".repeat(255)] {
        let input = keyed(stage.input("taskCreate"), &key);
        let first = named("taskCreate").run(&world, ada, &input).await;
        assert_eq!(first.data()["taskCreate"]["userErrors"], json!([]), "{key:?}");
        assert_eq!(named("taskCreate").run(&world, ada, &input).await.body["data"], first.body["data"], "{key:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_key_is_told_together_with_every_other_fault() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "owner")], ada, "taskUpdate").await;
    let cases = [
        ("taskCreate", json!({ "projectId": stage.project, "title": " " }), "title"),
        ("taskUpdate", json!({ "id": stage.task, "title": " " }), "title"),
        ("taskUpdate", json!({ "id": stage.task, "title": null }), "title"),
        ("tasksUpdate", json!({ "ids": [stage.task], "status": null }), "status"),
        ("projectUpdate", json!({ "id": stage.project, "name": null }), "name"),
        ("workspaceUpdate", json!({ "id": stage.workspace, "slug": null }), "slug"),
    ];
    for (name, input, field) in cases {
        let answer = named(name).run(&world, ada, &keyed(input, "")).await;
        let errors = answer.data()[name]["userErrors"].as_array().unwrap();
        let mut fields: Vec<&str> = errors.iter().map(|error| error["field"][1].as_str().unwrap()).collect();
        fields.sort_unstable();
        let mut expected = [field, "idempotencyKey"];
        expected.sort_unstable();
        assert_eq!(fields, expected, "{name}: {}", answer.text);
    }
}

/// What lies around the rows that writes answer, or below them.
const AROUND: [(&str, &str); 3] = [
    (
        "workspaceUpdate",
        "workspace { name members { totalCount nodes { id } } projects { totalCount nodes { id } } \
         tasks { totalCount nodes { id } } report { totals { total } } }",
    ),
    (
        "projectUpdate",
        "project { name tasks { totalCount nodes { id } } board { tasks { totalCount nodes { id } } } \
         report { totals { total } } }",
    ),
    ("taskUpdate", "task { title comments { totalCount nodes { id } } }"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repetition_shows_nothing_below_a_row_that_was_deleted_since_or_to_a_caller_who_has_left() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let mut hidden = 0;
    for (name, selection) in AROUND {
        let mutation = named(name);
        let Mutation { input, row, table, .. } = mutation;
        let document =
            format!("mutation($input: {input}!) {{ {name}(input: $input) {{ {selection} userErrors {{ code }} }} }}");
        let losses = [
            ("workspaces", "deleted_at = now()"),
            ("members", "deleted_at = now()"),
            ("users", "deleted_at = now()"),
            (*table, "deleted_at = now()"),
        ];
        for (lost, change) in losses {
            let stage = Stage::set(&world, &[(ada, "owner")], ada, name).await;
            let variables = json!({ "input": keyed(stage.input(name), &format!("{name} {hidden}")) });
            let ask = async || send(&world, Some(ada), &document, &variables).await;
            let first = ask().await;
            let found = |answer: &Answer| {
                let ids = [stage.member, stage.project, stage.task, stage.comment];
                ids.iter().filter(|id| answer.text.contains(&id.to_string())).count()
            };
            assert!(found(&first) > 0, "{}", first.text);
            assert_eq!(ask().await.body["data"], first.body["data"], "{name}");
            let which = match lost {
                "members" => format!("user_id = '{ada}'"),
                "users" => format!("id = '{ada}'"),
                "workspaces" => format!("id = '{}'", stage.workspace),
                _ => format!("id = '{}'", if lost == "projects" { stage.project } else { stage.task }),
            };
            world.execute(&format!("UPDATE {lost} SET {change} WHERE {which}")).await;
            let answer = ask().await;
            world.execute(&format!("UPDATE {lost} SET deleted_at = NULL WHERE {which}")).await;
            if lost == "users" {
                assert_eq!(answer.codes(), ["UNAUTHENTICATED"], "{name}");
            } else {
                assert_eq!(found(&answer), 0, "{name} without its row of {lost}: {}", answer.text);
                let (then, now) = (&first.data()[name][row], &answer.data()[name][row]);
                let own = if *row == "task" { "title" } else { "name" };
                assert_eq!(then[own], now[own], "what the first answer said of the row itself");
                assert_eq!(now.get("report").unwrap_or(&Value::Null), &Value::Null, "{name}");
                assert!(!answer.text.contains("\"totalCount\":1"), "{name} without its row of {lost}: {}", answer.text);
            }
            assert_eq!(ask().await.body["data"], first.body["data"], "{name} with its row of {lost} again");
            hidden += 1;
        }
    }
    assert_eq!(hidden, 3 * 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_answer_refers_to_and_its_caller_sees_no_more_is_forbidden_and_no_defect() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", ada).await;
    let own = world.member(home, grace, Role::Owner).await;
    let project = world.project(home, "Atlas").await;
    let document = "mutation($input: TaskCreateInput!) { taskCreate(input: $input) { \
        task { title project { name } } userErrors { code } } }";
    let input = json!({ "projectId": project, "title": "New", "idempotencyKey": "k" });
    let first = world.ask(grace, document, json!({ "input": input })).await;
    assert_eq!(first.data()["taskCreate"]["task"]["project"]["name"], "Atlas");
    world.execute(&format!("UPDATE projects SET deleted_at = now() WHERE id = '{project}'")).await;
    let repeated = world.ask(grace, document, json!({ "input": input })).await;
    assert_eq!(repeated.codes(), ["FORBIDDEN"]);
    assert_eq!(repeated.body["data"], json!({ "taskCreate": { "task": null, "userErrors": [] } }));
    // Who leaves a workspace does not see it in the answer.
    let document = "mutation($id: ID!) { memberRemove(input: { id: $id }) { \
        member { id workspace { name } } userErrors { code } } }";
    let left = world.ask(grace, document, json!({ "id": own })).await;
    assert_eq!(left.codes(), ["FORBIDDEN"]);
    assert_eq!(left.body["data"], json!({ "memberRemove": { "member": null, "userErrors": [] } }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_old_keys_is_removed_a_thousand_by_a_statement() {
    let world = World::new().await;
    world.user("ada").await;
    world
        .execute(
            "INSERT INTO idempotency_keys (id, user_id, key, fingerprint, created_at)
             SELECT gen_random_uuid(), (SELECT id FROM users), number::text, '', now() - interval '26 hours'
             FROM generate_series(1, 3500) AS number;
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF (SELECT count(*) FROM gone) > 1000 THEN RAISE EXCEPTION 'too many at once'; END IF; RETURN NULL; END $$;
             CREATE TRIGGER refuse AFTER DELETE ON idempotency_keys REFERENCING OLD TABLE AS gone
             FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
        )
        .await;
    let database =
        Database::connect(&world.addresses, &settings(&[]).pools, SECRET, &Metrics::default()).await.unwrap();
    database.purge_idempotency_keys().await.unwrap();
    database.close().await;
    assert_eq!(number(&world, "SELECT count(*) FROM idempotency_keys").await, 0);
}
