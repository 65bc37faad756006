//! Optimistic concurrency: `expectedUpdatedAt`, two writers at once, several writes in a document, absent and null.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::harness::World;
use crate::mutations::{Barrier, MUTATIONS, Mutation, Stage, contents, named, number};

/// The mutations whose input takes a field, by introspection.
async fn taking(world: &World, field: &str) -> Vec<&'static Mutation> {
    let catalogue = Catalogue::of(world).await;
    let takes = |mutation: &&Mutation| catalogue.fields(mutation.input).iter().any(|input| input["name"] == field);
    MUTATIONS.iter().filter(takes).collect()
}

/// When a row was last changed, moved by some microseconds, as the API writes it.
async fn updated_at(world: &World, table: &str, id: &Value, microseconds: i32) -> String {
    let sql = format!(
        "SELECT to_char((updated_at + interval '{microseconds} microseconds') AT TIME ZONE 'UTC', \
         'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM {table} WHERE id = {}",
        id.to_string().replace('"', "'")
    );
    crate::harness::one(&world.sql, &sql).await.try_get_by_index(0).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_to_a_row_that_has_changed_since_writes_nothing_and_answers_the_row_as_it_is() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let mutations = taking(&world, "expectedUpdatedAt").await;
    let mut seen = Vec::new();
    for mutation in mutations {
        let name = mutation.name;
        let stage = Stage::set(&world, &[(ada, "owner")], ada, name).await;
        let mut input = stage.input(name);
        let id = input["id"].clone();
        let now = updated_at(&world, mutation.table, &id, 0).await;
        let before = contents(&world, None).await;
        // A microsecond is enough, in either direction.
        for microseconds in [-1, 1] {
            input["expectedUpdatedAt"] = json!(updated_at(&world, mutation.table, &id, microseconds).await);
            let answer = mutation.run(&world, ada, &input).await;
            let payload = &answer.data()[name];
            let errors = payload["userErrors"].as_array().unwrap();
            assert_eq!(errors.len(), 1, "{name}: {}", answer.text);
            assert_eq!(errors[0]["code"], "CONFLICT", "{name}");
            assert_eq!(errors[0]["field"], json!(["input", "expectedUpdatedAt"]), "{name}");
            let read = format!(
                "query($id: ID!) {{ node(id: $id) {{ ... on {} {{ {} }} }} }}",
                mutation.row[..1].to_uppercase() + &mutation.row[1..],
                mutation.columns()
            );
            let row = world.ask(ada, &read, json!({ "id": id })).await.data()["node"].clone();
            assert_eq!(payload[mutation.row], row, "{name}");
            assert_eq!(row["updatedAt"], json!(now), "{name}");
            assert_eq!(contents(&world, None).await, before, "{name}");
        }
        input["expectedUpdatedAt"] = json!(now);
        let answer = mutation.run(&world, ada, &input).await;
        let payload = &answer.data()[name];
        assert_eq!(payload["userErrors"], json!([]), "{name}");
        assert!(payload[mutation.row]["updatedAt"].as_str().unwrap() > now.as_str(), "{name}: {}", answer.text);
        seen.push(name);
    }
    assert_eq!(
        seen,
        [
            "workspaceUpdate",
            "workspaceDelete",
            "memberUpdate",
            "memberRemove",
            "projectUpdate",
            "projectDelete",
            "taskUpdate",
            "taskDelete",
            "commentUpdate",
            "commentDelete",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_recovers_from_a_conflict_with_what_the_conflict_told_it() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let stage = Stage::set(&world, &[(ada, "member"), (grace, "member")], ada, "taskUpdate").await;
    let write = async |caller: Uuid, title: &str, seen: &Value| {
        let input = json!({ "id": stage.task, "title": title, "expectedUpdatedAt": seen });
        named("taskUpdate").run(&world, caller, &input).await.data()["taskUpdate"].clone()
    };
    let read = "query($id: ID!) { task(id: $id) { updatedAt } }";
    let seen = world.ask(ada, read, json!({ "id": stage.task })).await.data()["task"]["updatedAt"].clone();
    assert_eq!(write(grace, "Grace's", &seen).await["userErrors"], json!([]));
    let conflict = write(ada, "Ada's", &seen).await;
    assert_eq!(conflict["userErrors"][0]["code"], "CONFLICT");
    assert_eq!(conflict["task"]["title"], "Grace's");
    let written = write(ada, "Ada's", &conflict["task"]["updatedAt"]).await;
    assert_eq!((&written["userErrors"], &written["task"]["title"]), (&json!([]), &json!("Ada's")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_is_told_together_with_the_other_faults_and_not_to_those_who_may_not_write() {
    let world = World::new().await;
    let (ada, viewer, stranger) = (world.user("ada").await, world.user("viewer").await, world.user("stranger").await);
    let stage = Stage::set(&world, &[(ada, "member"), (viewer, "viewer")], ada, "taskUpdate").await;
    let input = json!({
        "id": stage.task, "expectedUpdatedAt": "2020-01-01T00:00:00Z", "assigneeId": stranger, "projectId": stage.gone_project,
    });
    let told = async |caller| {
        let answer = named("taskUpdate").run(&world, caller, &input).await;
        let payload = &answer.data()["taskUpdate"];
        let errors = payload["userErrors"].as_array().unwrap();
        let mut errors: Vec<String> =
            errors.iter().map(|error| format!("{} {}", error["code"], error["field"][1])).collect();
        errors.sort_unstable();
        (errors, payload["task"]["id"].clone())
    };
    let all = ["\"CONFLICT\" \"expectedUpdatedAt\"", "\"NOT_FOUND\" \"assigneeId\"", "\"NOT_FOUND\" \"projectId\""];
    assert_eq!(told(ada).await, (all.map(str::to_owned).to_vec(), json!(stage.task)));
    assert_eq!(told(viewer).await, (vec!["\"FORBIDDEN\" \"id\"".to_owned()], Value::Null));
    assert_eq!(told(stranger).await, (vec!["\"NOT_FOUND\" \"id\"".to_owned()], Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_writers_at_once_exactly_one_wins_and_the_other_gets_its_row() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let updates = [
        ("workspaceUpdate", "name", ["Ada's", "Grace's"]),
        ("memberUpdate", "role", ["MEMBER", "ADMIN"]),
        ("projectUpdate", "name", ["Ada's", "Grace's"]),
        ("taskUpdate", "title", ["Ada's", "Grace's"]),
        ("commentUpdate", "body", ["Ada's", "Grace's"]),
    ];
    let mut rounds = 0;
    for _ in 0..4 {
        for (name, field, values) in updates {
            let mutation = named(name);
            let stage = Stage::set(&world, &[(ada, "owner"), (grace, "owner")], ada, name).await;
            let mut inputs = [stage.input(name), stage.input(name)];
            let id = inputs[0]["id"].clone();
            let seen = updated_at(&world, mutation.table, &id, 0).await;
            for (input, value) in inputs.iter_mut().zip(values) {
                input["expectedUpdatedAt"] = json!(seen);
                input[field] = json!(value);
            }
            let (one, two) = at_once(&world, mutation, [(ada, &inputs[0]), (grace, &inputs[1])], &id).await;
            let (winner, loser, value) =
                if one["userErrors"] == json!([]) { (&one, &two, values[0]) } else { (&two, &one, values[1]) };
            assert_eq!(winner["userErrors"], json!([]), "{name}");
            assert_eq!(winner[mutation.row][field], json!(value), "{name}");
            assert_eq!(loser["userErrors"].as_array().unwrap().len(), 1, "{name}");
            assert_eq!(loser["userErrors"][0]["code"], "CONFLICT", "{name}");
            assert_eq!(loser[mutation.row], winner[mutation.row], "{name}");
            assert_eq!(winner[mutation.row]["updatedAt"], json!(updated_at(&world, mutation.table, &id, 0).await));
            rounds += 1;
        }
    }
    assert_eq!(rounds, 20);
}

/// Two writes to one row, which meet in front of it; what each answered.
async fn at_once(world: &World, mutation: &Mutation, writes: [(Uuid, &Value); 2], id: &Value) -> (Value, Value) {
    let sql = format!("SELECT 1 FROM {} WHERE id = {} FOR UPDATE", mutation.table, id.to_string().replace('"', "'"));
    let barrier = Barrier::raise(world, &sql).await;
    let release = async {
        barrier.meets(world, 2).await;
        barrier.fall().await;
    };
    let [(ada, first), (grace, second)] = writes;
    let (one, two, ()) = tokio::join!(mutation.run(world, ada, first), mutation.run(world, grace, second), release);
    (one.data()[mutation.name].clone(), two.data()[mutation.name].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_deletions_or_restorations_at_once_exactly_one_is_done_and_the_other_finds_nothing() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let mut rounds = 0;
    for mutation in MUTATIONS.iter().filter(|mutation| ["DeleteInput", "RestoreInput"].contains(&mutation.input)) {
        let name = mutation.name;
        let stage = Stage::set(&world, &[(ada, "owner"), (grace, "owner")], ada, name).await;
        let input = stage.input(name);
        let (one, two) = at_once(&world, mutation, [(ada, &input), (grace, &input)], &input["id"]).await;
        let (done, refused) = if one["userErrors"] == json!([]) { (one, two) } else { (two, one) };
        assert_eq!(done["userErrors"], json!([]), "{name}");
        assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND", "{name}");
        assert_eq!(refused[mutation.row], json!(null), "{name}");
        rounds += 1;
    }
    assert_eq!(rounds, 5 + 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mutations_of_a_document_run_in_order_and_one_that_is_refused_does_not_stop_the_next() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "member")], ada, "taskUpdate").await;
    let document = "mutation($id: ID!) { \
        a: taskUpdate(input: { id: $id, title: \"A\" }) { ...P } \
        b: taskUpdate(input: { id: $id, title: \"B\" }) { ...P } \
        c: taskUpdate(input: { id: $id, title: \"C\", expectedUpdatedAt: \"2020-01-01T00:00:00Z\" }) { ...P } \
        d: taskDelete(input: { id: $id }) { ...P } \
        e: taskUpdate(input: { id: $id, title: \"E\" }) { ...P } \
        f: taskRestore(input: { id: $id }) { ...P } \
        g: taskUpdate(input: { id: $id, status: COMPLETED }) { ...P } } \
        fragment P on TaskPayload { task { title status updatedAt deletedAt } userErrors { code } }";
    let answer = world.ask(ada, document, json!({ "id": stage.task })).await;
    let data = answer.data();
    let told = |alias: &str| {
        let payload = &data[alias];
        let code = payload["userErrors"][0]["code"].as_str().unwrap_or("written");
        (code, payload["task"]["title"].as_str(), payload["task"]["deletedAt"].is_string())
    };
    assert_eq!(told("a"), ("written", Some("A"), false));
    assert_eq!(told("b"), ("written", Some("B"), false));
    assert_eq!(told("c"), ("CONFLICT", Some("B"), false));
    assert_eq!(told("d"), ("written", Some("B"), true));
    assert_eq!(told("e"), ("NOT_FOUND", None, false));
    assert_eq!(told("f"), ("written", Some("B"), false));
    assert_eq!(told("g"), ("written", Some("B"), false));
    let times: Vec<&str> =
        ["a", "b", "d", "f", "g"].iter().map(|alias| data[*alias]["task"]["updatedAt"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|earlier, later| earlier < later), "{times:?}");
    assert_eq!(data["c"]["task"]["updatedAt"], data["b"]["task"]["updatedAt"]);
    let left =
        format!("SELECT count(*) FROM tasks WHERE id = '{}' AND title = 'B' AND status = 'completed'", stage.task);
    assert_eq!(number(&world, &left).await, 1);
}

/// The row of the stage that an update changes, whole, with the ids that it refers to.
async fn whole_row(world: &World, table: &str, id: Uuid) -> Value {
    let sql = format!("SELECT (to_jsonb(t) - 'updated_at' - 'completed_at')::text FROM {table} t WHERE id = '{id}'");
    let text: String = crate::harness::one(&world.sql, &sql).await.try_get_by_index(0).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Whether null clears a nullable field of an update input, and another value of it, with the column that holds it.
fn another_value(field: &str, stage: &Stage, second_project: Uuid, ada: Uuid) -> (bool, Value, &'static str, Value) {
    match field {
        "name" => (false, json!("Another"), "name", json!("Another")),
        "slug" => {
            let slug = format!("s{}", stage.workspace.simple());
            (false, json!(slug), "slug", json!(slug))
        }
        "projectId" => (false, json!(second_project), "project_id", json!(second_project)),
        "title" => (false, json!("Another"), "title", json!("Another")),
        "priority" => (false, json!("URGENT"), "priority", json!("urgent")),
        "status" => (false, json!("COMPLETED"), "status", json!("completed")),
        "description" => (true, json!("Another"), "description", json!("Another")),
        "dueDate" => (true, json!("2031-01-01T00:00:00Z"), "due_date", json!("2031-01-01T00:00:00+00:00")),
        "assigneeId" => (true, json!(ada), "assignee_id", json!(ada)),
        other => panic!("another value for {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_every_update_input_absent_keeps_null_clears_what_can_be_empty_and_is_refused_elsewhere() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    world.execute("SET timezone = 'UTC'").await;
    let catalogue = Catalogue::of(&world).await;
    let (mut cleared, mut refused) = (Vec::new(), Vec::new());
    for mutation in MUTATIONS.iter().filter(|mutation| mutation.input.ends_with("UpdateInput")) {
        let name = mutation.name;
        let nullable = catalogue.fields(mutation.input).iter().filter(|field| field["type"]["kind"] != "NON_NULL");
        let nullable = nullable.map(|field| field["name"].as_str().unwrap());
        for field in nullable.filter(|field| !["expectedUpdatedAt", "idempotencyKey"].contains(field)) {
            let case = format!("{name}.{field}");
            let stage = Stage::set(&world, &[(ada, "owner"), (grace, "member")], ada, name).await;
            let second_project = world.project(stage.workspace, "Second").await;
            world
                .execute(&format!(
                    "UPDATE tasks SET description = 'Long', due_date = '2030-01-01Z', assignee_id = '{grace}' \
                     WHERE id = '{}'",
                    stage.task
                ))
                .await;
            let mut input = stage.input(name);
            let id: Uuid = serde_json::from_value(input.get("id").unwrap_or(&input["ids"][0]).clone()).unwrap();
            input.as_object_mut().unwrap().retain(|key, _| ["id", "ids"].contains(&key.as_str()));
            let mut expected = whole_row(&world, mutation.table, id).await;
            let write = async |value: Option<&Value>| {
                let mut input = input.clone();
                if let Some(value) = value {
                    input[field] = value.clone();
                }
                mutation.run(&world, ada, &input).await.data()[name].clone()
            };
            // Nothing is named: nothing changes.
            assert_eq!(write(None).await["userErrors"], json!([]), "{case}");
            assert_eq!(whole_row(&world, mutation.table, id).await, expected, "{case}");
            // One field is named: that one changes.
            let (can_be_empty, value, column, stored) = another_value(field, &stage, second_project, ada);
            assert_ne!(expected[column], stored, "{case}");
            expected[column] = stored;
            assert_eq!(write(Some(&value)).await["userErrors"], json!([]), "{case}");
            assert_eq!(whole_row(&world, mutation.table, id).await, expected, "{case}");
            let payload = write(Some(&Value::Null)).await;
            if can_be_empty {
                expected[column] = Value::Null;
                assert_eq!(payload["userErrors"], json!([]), "{case}");
                cleared.push(case.clone());
            } else {
                assert_eq!(payload["userErrors"].as_array().unwrap().len(), 1, "{case}");
                assert_eq!(payload["userErrors"][0]["code"], "INVALID", "{case}");
                assert_eq!(payload["userErrors"][0]["field"], json!(["input", field]), "{case}");
                assert_eq!(payload[mutation.row], mutation.nothing(), "{case}");
                refused.push(case.clone());
            }
            assert_eq!(whole_row(&world, mutation.table, id).await, expected, "{case}");
        }
    }
    assert_eq!(cleared.len(), 3 + 2, "{cleared:?}");
    assert_eq!(refused.len(), 2 + 2 + 4 + 2, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expectation_and_a_key_that_are_null_are_as_good_as_absent() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let mut seen = 0;
    for mutation in taking(&world, "expectedUpdatedAt").await {
        let stage = Stage::set(&world, &[(ada, "owner")], ada, mutation.name).await;
        let mut input = stage.input(mutation.name);
        input["expectedUpdatedAt"] = Value::Null;
        input["idempotencyKey"] = Value::Null;
        let answer = mutation.run(&world, ada, &input).await;
        assert_eq!(answer.data()[mutation.name]["userErrors"], json!([]), "{}", mutation.name);
        seen += 1;
    }
    assert_eq!(seen, 10);
    assert_eq!(number(&world, "SELECT count(*) FROM idempotency_keys").await, 0);
}
