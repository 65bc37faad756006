//! Many tasks in one write, tasks that move, and what the database itself refuses.

use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};
use trellis::clock;
use trellis::database::constraint::CONSTRAINTS;
use trellis::entities::member::Role;
use trellis::entities::task::Status;
use uuid::Uuid;

use crate::harness::{World, one};
use crate::mutations::{Barrier, Stage, contents, named, number};

const UPDATE: &str = "mutation($input: TasksUpdateInput!) { tasksUpdate(input: $input) { \
    tasks { id title status priority dueDate completedAt assignee { name } } userErrors { code field } } }";

/// The faults of a payload, as code and path.
fn faults(payload: &Value) -> Vec<(&str, &Value)> {
    let errors = payload["userErrors"].as_array().unwrap();
    errors.iter().map(|error| (error["code"].as_str().unwrap(), &error["field"])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tasks_of_several_projects_and_workspaces_change_in_one_statement() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let mut ids = Vec::new();
    for slug in ["home", "club"] {
        let workspace = world.workspace(slug, ada).await;
        for name in ["Atlas", "Bridge"] {
            let project = world.project(workspace, name).await;
            for number in 0..25 {
                ids.push(world.task(project, &format!("{slug} {name} {number}")).await);
            }
        }
    }
    ids.reverse();
    let input = json!({
        "ids": ids, "status": "IN_PROGRESS", "priority": "URGENT", "dueDate": "2030-01-31T09:30:00Z", "assigneeId": ada,
    });
    let document = UPDATE.replace("assignee { name }", "");
    let answer = world.ask(ada, &document, json!({ "input": input })).await;
    assert_eq!(answer.statements(), ["begin", "commit", "tasks_update"]);
    let tasks = answer.data()["tasksUpdate"]["tasks"].as_array().unwrap();
    let answered: Vec<&Value> = tasks.iter().map(|task| &task["id"]).collect();
    assert_eq!(json!(answered), json!(ids), "in the order of the ids");
    for task in tasks {
        assert_eq!((&task["status"], &task["priority"]), (&json!("IN_PROGRESS"), &json!("URGENT")));
        assert_eq!((&task["dueDate"], &task["completedAt"]), (&json!("2030-01-31T09:30:00.000000Z"), &Value::Null));
    }
    let changed = format!(
        "SELECT count(*) FROM tasks WHERE status = 'in_progress' AND priority = 'urgent' AND assignee_id = '{ada}' \
         AND due_date = '2030-01-31T09:30:00Z' AND updated_at > created_at"
    );
    assert_eq!(number(&world, &changed).await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_id_leaves_all_tasks_alone_and_every_bad_id_is_told_by_its_place() {
    let world = World::new().await;
    let (ada, stranger) = (world.user("ada").await, world.user("stranger").await);
    let (home, read_only) = (world.workspace("home", ada).await, world.workspace("library", stranger).await);
    let elsewhere = world.workspace("elsewhere", stranger).await;
    world.member(read_only, ada, Role::Viewer).await;
    let (project, gone_project) = (world.project(home, "Atlas").await, world.project(home, "Gone").await);
    let (good, also_good) = (world.task(project, "Good").await, world.task(project, "Also good").await);
    let (deleted, hidden) = (world.task(project, "Deleted").await, world.task(gone_project, "Hidden").await);
    let readable = world.task(world.project(read_only, "Books").await, "Readable").await;
    let foreign = world.task(world.project(elsewhere, "Secret").await, "Foreign").await;
    world.execute(&format!("UPDATE tasks SET deleted_at = now() WHERE id = '{deleted}'")).await;
    world.execute(&format!("UPDATE projects SET deleted_at = now() WHERE id = '{gone_project}'")).await;
    let before = contents(&world, None).await;
    let ids = [good, clock::new_id(), also_good, foreign, deleted, readable, hidden, good];
    let answer = world.ask(ada, UPDATE, json!({ "input": { "ids": ids, "priority": "HIGH" } })).await;
    let payload = &answer.data()["tasksUpdate"];
    let place = |place: &str| json!(["input", "ids", place]);
    let expected = [("NOT_FOUND", "1"), ("NOT_FOUND", "3"), ("NOT_FOUND", "4"), ("FORBIDDEN", "5"), ("NOT_FOUND", "6")];
    let expected: Vec<(&str, Value)> = expected.map(|(code, index)| (code, place(index))).to_vec();
    assert_eq!(faults(payload), expected.iter().map(|(code, field)| (*code, field)).collect::<Vec<_>>());
    assert_eq!(payload["tasks"], json!([]));
    // Missing, foreign, deleted and hidden are one and the same.
    let messages = "mutation($input: TasksUpdateInput!) { tasksUpdate(input: $input) { userErrors { message } } }";
    let mut told = Vec::new();
    for id in [clock::new_id(), foreign, deleted, hidden] {
        told.push(world.ask(ada, messages, json!({ "input": { "ids": [id] } })).await.data().clone());
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:?}");
    assert_eq!(contents(&world, None).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assignee_must_be_a_live_member_of_the_workspace_of_each_task() {
    let world = World::new().await;
    let (ada, grace, former) = (world.user("ada").await, world.user("grace").await, world.user("former").await);
    let (home, club) = (world.workspace("home", ada).await, world.workspace("club", ada).await);
    world.member(home, grace, Role::Viewer).await;
    let membership = world.member(home, former, Role::Member).await;
    world.execute(&format!("UPDATE members SET deleted_at = now() WHERE id = '{membership}'")).await;
    let at_home = world.task(world.project(home, "Atlas").await, "At home").await;
    let in_club = world.task(world.project(club, "Chess").await, "In the club").await;
    let before = contents(&world, None).await;
    let ask = async |assignee: Option<Uuid>, ids: Vec<Uuid>| {
        let answer = world.ask(ada, UPDATE, json!({ "input": { "ids": ids, "assigneeId": assignee } })).await;
        answer.data()["tasksUpdate"].clone()
    };
    let (first, second) = (json!(["input", "ids", "0"]), json!(["input", "ids", "1"]));
    assert_eq!(faults(&ask(Some(grace), vec![at_home, in_club]).await), [("NOT_FOUND", &second)]);
    assert_eq!(
        faults(&ask(Some(former), vec![at_home, in_club]).await),
        [("NOT_FOUND", &first), ("NOT_FOUND", &second)]
    );
    assert_eq!(faults(&ask(Some(clock::new_id()), vec![in_club]).await), [("NOT_FOUND", &first)]);
    assert_eq!(contents(&world, None).await, before);
    let assigned = ask(Some(ada), vec![at_home, in_club]).await;
    assert_eq!(assigned["tasks"][0]["assignee"], json!({ "name": "ada" }));
    assert_eq!(assigned["tasks"][1]["assignee"], json!({ "name": "ada" }));
    let cleared = ask(None, vec![at_home, in_club]).await;
    assert_eq!((&cleared["tasks"][0]["assignee"], &cleared["tasks"][1]["assignee"]), (&Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_each_task_was_completed_follows_its_own_status() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = world.project(world.workspace("home", ada).await, "Atlas").await;
    let long_ago = "2020-01-01T00:00:00.000000Z";
    let done = world
        .task_with(project, "Done", |task| {
            task.status = Set(Status::Completed);
            task.completed_at = Set(Some(long_ago.parse().unwrap()));
        })
        .await;
    let ids = [done, world.task(project, "Open").await];
    let set = async |change: Value| {
        let mut input = change;
        input["ids"] = json!(ids);
        let answer = world.ask(ada, UPDATE, json!({ "input": input })).await;
        assert_eq!(answer.data()["tasksUpdate"]["userErrors"], json!([]));
        let tasks = &answer.data()["tasksUpdate"]["tasks"];
        [tasks[0]["completedAt"].clone(), tasks[1]["completedAt"].clone()]
    };
    assert_eq!(
        set(json!({ "priority": "LOW" })).await,
        [json!(long_ago), Value::Null],
        "without a status nothing moves"
    );
    let [first, second] = set(json!({ "status": "COMPLETED" })).await;
    assert_eq!(first, json!(long_ago), "completing again keeps the first time");
    assert!(second.as_str().unwrap() > "2026", "{second}");
    assert_eq!(set(json!({ "status": "COMPLETED" })).await, [first, second]);
    assert_eq!(set(json!({ "status": "IN_REVIEW" })).await, [Value::Null, Value::Null], "reopened");
    let [first, second] = set(json!({ "status": "COMPLETED" })).await;
    assert!(first == second && first.is_string(), "{first} {second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_to_many_takes_1_to_100_ids_and_takes_one_that_is_named_twice_once() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = world.project(world.workspace("home", ada).await, "Atlas").await;
    let (one, two) = (world.task(project, "One").await, world.task(project, "Two").await);
    let before = contents(&world, None).await;
    let mut many: Vec<Uuid> = (0..100).map(|_| clock::new_id()).collect();
    many.push(one);
    let ids = json!(["input", "ids"]);
    for (input, code) in [(vec![], "INVALID"), (many, "LIMIT_EXCEEDED"), (vec![one; 101], "LIMIT_EXCEEDED")] {
        let answer = world.ask(ada, UPDATE, json!({ "input": { "ids": input, "priority": "LOW" } })).await;
        assert_eq!(faults(&answer.data()["tasksUpdate"]), [(code, &ids)]);
        assert!(answer.statements().is_empty(), "bad input costs nothing");
    }
    let answer = world.ask(ada, UPDATE, json!({ "input": { "ids": ["one"], "priority": "LOW" } })).await;
    assert_eq!(answer.codes(), ["BAD_USER_INPUT"]);
    assert_eq!(contents(&world, None).await, before);
    let input = json!({ "ids": [two, one, two, two], "priority": "LOW" });
    let answer = world.ask(ada, UPDATE, json!({ "input": input })).await;
    let tasks = answer.data()["tasksUpdate"]["tasks"].as_array().unwrap();
    let titles: Vec<&Value> = tasks.iter().map(|task| &task["title"]).collect();
    assert_eq!(titles, ["Two", "One"]);
    // A hundred times one id is within the limit.
    let answer = world.ask(ada, UPDATE, json!({ "input": { "ids": vec![one; 100], "priority": "HIGH" } })).await;
    assert_eq!(answer.data()["tasksUpdate"]["tasks"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_overlapping_writes_to_many_at_once_come_after_each_other_without_a_deadlock() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", ada).await;
    world.member(home, grace, Role::Member).await;
    let project = world.project(home, "Atlas").await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(world.task(project, "Draw").await);
    }
    let mut rounds = 0;
    for round in 0..10 {
        // Both meet in front of a row in the middle, which each reaches from its own end of the list.
        let (forward, backward): (Vec<_>, Vec<_>) = (ids[..30].to_vec(), ids[10..].iter().rev().copied().collect());
        let sql = format!("SELECT 1 FROM tasks WHERE id = '{}' FOR UPDATE", ids[15 + round]);
        let barrier = Barrier::raise(&world, &sql).await;
        let write = async |caller, ids: &[Uuid], priority: &str| {
            world.ask(caller, UPDATE, json!({ "input": { "ids": ids, "priority": priority } })).await
        };
        let release = async {
            barrier.meets(&world, 2).await;
            barrier.fall().await;
        };
        let (one, two, ()) = tokio::join!(write(ada, &forward, "HIGH"), write(grace, &backward, "LOW"), release);
        for answer in [&one, &two] {
            assert_eq!(answer.data()["tasksUpdate"]["userErrors"], json!([]), "round {round}");
            // A deadlock would have shown as a second attempt.
            assert_eq!(answer.statements(), ["begin", "commit", "tasks_update"], "round {round}");
        }
        let overlap = format!("id BETWEEN '{}' AND '{}'", ids[10], ids[29]);
        let priorities = format!("SELECT count(DISTINCT priority) FROM tasks WHERE {overlap}");
        assert_eq!(number(&world, &priorities).await, 1, "round {round}: one came after the other");
        rounds += 1;
    }
    assert_eq!(rounds, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_moves_within_its_workspace_and_to_no_other_and_to_no_deleted_project() {
    let world = World::new().await;
    let (ada, stranger) = (world.user("ada").await, world.user("stranger").await);
    let (home, club) = (world.workspace("home", ada).await, world.workspace("club", ada).await);
    let (from, to, gone) =
        (world.project(home, "From").await, world.project(home, "To").await, world.project(home, "Gone").await);
    let other = world.project(club, "Other").await;
    let foreign = world.project(world.workspace("elsewhere", stranger).await, "Foreign").await;
    world.execute(&format!("UPDATE projects SET deleted_at = now() WHERE id = '{gone}'")).await;
    let task = world.task(from, "Draw").await;
    let comment = world.comment(task, ada, "Yes").await;
    let before = contents(&world, None).await;
    let missing = named("taskUpdate").run(&world, ada, &json!({ "id": task, "projectId": clock::new_id() })).await;
    let mut refused = 0;
    for project in [other, gone, foreign] {
        let answer = named("taskUpdate").run(&world, ada, &json!({ "id": task, "projectId": project })).await;
        assert_eq!(faults(&answer.data()["taskUpdate"]), [("NOT_FOUND", &json!(["input", "projectId"]))]);
        assert_eq!(answer.text, missing.text);
        refused += 1;
    }
    assert_eq!(refused, 3);
    assert_eq!(contents(&world, None).await, before);
    let document = "mutation($t: ID!, $p: ID!) { taskUpdate(input: { id: $t, projectId: $p }) { \
        task { project { id name tasks { totalCount } } comments { nodes { id } } } userErrors { code } } }";
    let answer = world.ask(ada, document, json!({ "t": task, "p": to })).await;
    assert_eq!(
        answer.data()["taskUpdate"],
        json!({
            "task": {
                "project": { "id": to, "name": "To", "tasks": { "totalCount": 1 } },
                "comments": { "nodes": [{ "id": comment }] },
            },
            "userErrors": [],
        })
    );
    let left =
        world.ask(ada, "query($id: ID!) { project(id: $id) { tasks { totalCount } } }", json!({ "id": from })).await;
    assert_eq!(left.data()["project"]["tasks"]["totalCount"], 0);
    // To where it is already: nothing wrong with that.
    let answer = named("taskUpdate").run(&world, ada, &json!({ "id": task, "projectId": to })).await;
    assert_eq!(answer.data()["taskUpdate"]["userErrors"], json!([]));
}

/// A mutation that writes what a constraint is about.
fn provocation(constraint: &str, stage: &Stage, ada: Uuid) -> (&'static str, Value) {
    let Stage { workspace, project, task, .. } = stage;
    match constraint {
        "idx_workspaces_slug" => ("workspaceCreate", json!({ "name": "New", "slug": "taken" })),
        "ck_workspaces_name_length" | "ck_workspaces_slug" => {
            ("workspaceCreate", json!({ "name": "New", "slug": "new" }))
        }
        "idx_members_workspace_user" => {
            ("memberAdd", json!({ "workspaceId": workspace, "email": "GRACE@example.com" }))
        }
        "ck_users_email_length" | "ck_users_name_length" | "fk_members_workspace_id" => {
            ("memberAdd", json!({ "workspaceId": workspace, "email": "new@example.com", "name": "New" }))
        }
        "ck_projects_name_length" | "fk_projects_workspace_id" => {
            ("projectCreate", json!({ "workspaceId": workspace, "name": "New" }))
        }
        "ck_tasks_title_length" | "ck_tasks_description_length" | "fk_tasks_project_id" | "fk_tasks_assignee_id" => {
            ("taskCreate", json!({ "projectId": project, "title": "New", "description": "Long.", "assigneeId": ada }))
        }
        "ck_comments_body_length" | "fk_comments_task_id" => {
            ("commentCreate", json!({ "taskId": task, "body": "New" }))
        }
        "ck_idempotency_keys_key_length" => {
            ("commentCreate", json!({ "taskId": task, "body": "New", "idempotencyKey": "once" }))
        }
        other => panic!("a way to violate {other}"),
    }
}

/// Puts another constraint under the name of a check or a foreign key, one that no new row satisfies.
async fn tighten(world: &World, name: &str) {
    let find = format!("SELECT conrelid::regclass::text FROM pg_constraint WHERE conname = '{name}'");
    let table: String = one(&world.sql, &find).await.try_get_by_index(0).unwrap();
    let impossible = match name.strip_prefix(&format!("fk_{table}_")) {
        Some(column) => format!("FOREIGN KEY ({column}) REFERENCES nothing (id)"),
        None => "CHECK (false)".to_owned(),
    };
    world.execute(&format!("ALTER TABLE {table} RENAME CONSTRAINT {name} TO kept")).await;
    world.execute(&format!("ALTER TABLE {table} ADD CONSTRAINT {name} {impossible} NOT VALID")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_constraint_of_the_table_is_told_as_the_table_says() {
    assert_eq!(CONSTRAINTS.len(), 16);
    for constraint in CONSTRAINTS {
        let world = World::new().await;
        let ada = world.user("ada").await;
        let stage = Stage::set(&world, &[(ada, "owner")], ada, "workspaceUpdate").await;
        world.workspace("taken", ada).await;
        world.member(stage.workspace, world.user("grace").await, Role::Viewer).await;
        world.execute("CREATE TABLE nothing (id uuid PRIMARY KEY)").await;
        let (name, input) = provocation(constraint.name, &stage, ada);
        let code = match &constraint.name[..3] {
            "idx" => "NOT_UNIQUE",
            kind => {
                tighten(&world, constraint.name).await;
                if kind == "fk_" { "NOT_FOUND" } else { "INVALID" }
            }
        };
        let before = contents(&world, None).await;
        let answer = named(name).run(&world, ada, &input).await;
        let fault = json!({ "code": code, "message": constraint.message, "field": ["input", constraint.field] });
        let refused = json!({ named(name).row: null, "userErrors": [fault] });
        assert_eq!(answer.data()[name], refused, "{}", constraint.name);
        assert!(!answer.text.contains(constraint.name), "names of the database stay there");
        assert_eq!(contents(&world, None).await, before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slug_that_is_taken_is_told_to_who_changes_to_it_too() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "owner")], ada, "workspaceUpdate").await;
    world.workspace("taken", ada).await;
    let input = json!({ "id": stage.workspace, "slug": "taken" });
    let answer = named("workspaceUpdate").run(&world, ada, &input).await;
    assert_eq!(faults(&answer.data()["workspaceUpdate"]), [("NOT_UNIQUE", &json!(["input", "slug"]))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_take_a_slug_or_add_a_member_at_once_the_second_is_told() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let mut rounds = 0;
    for round in 0..5 {
        for name in ["workspaceCreate", "memberAdd"] {
            let stage = Stage::set(&world, &[(ada, "owner"), (grace, "owner")], ada, name).await;
            let input = stage.input(name);
            let table = named(name).table;
            let barrier = Barrier::raise(&world, &format!("LOCK TABLE {table} IN SHARE MODE")).await;
            let release = async {
                barrier.meets(&world, 2).await;
                barrier.fall().await;
            };
            let (one, two, ()) =
                tokio::join!(named(name).run(&world, ada, &input), named(name).run(&world, grace, &input), release);
            let mut told = [&one, &two]
                .map(|answer| faults(&answer.data()[name]).iter().map(|(code, _)| *code).collect::<Vec<_>>());
            told.sort_unstable();
            assert_eq!(told, [vec![], vec!["NOT_UNIQUE"]], "{name}, round {round}");
            rounds += 1;
        }
    }
    assert_eq!(rounds, 10);
    // Nobody was registered twice.
    assert_eq!(number(&world, "SELECT count(*) - count(DISTINCT lower(email)) FROM users").await, 0);
}
