//! Tasks: the root field, making one, changing one.

use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};
use trellis::clock;
use trellis::entities::member::Role;
use trellis::entities::task::Status;

use crate::harness::World;

const CREATE: &str = "mutation($input: TaskCreateInput!) { taskCreate(input: $input) { \
    task { id title description status priority dueDate completedAt assignee { name } project { name } } \
    userErrors { code field } } }";

const UPDATE: &str = "mutation($input: TaskUpdateInput!) { taskUpdate(input: $input) { \
    task { title description status priority dueDate completedAt updatedAt assignee { name } } \
    userErrors { code field } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_finds_a_task_and_a_stranger_does_not() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = world.project(world.workspace("home", ada).await, "Atlas").await;
    let task = world.task(project, "Draw").await;
    let document = "query($id: ID!) { task(id: $id) { title project { name } assignee { name } } }";
    let answer = world.ask(ada, document, json!({ "id": task })).await;
    assert_eq!(answer.data()["task"], json!({ "title": "Draw", "project": { "name": "Atlas" }, "assignee": null }));
    assert_eq!(answer.statements(), ["project_by_id", "task_by_id"]);
    let answer = world.ask(world.user("grace").await, document, json!({ "id": task })).await;
    assert_eq!(*answer.data(), json!({ "task": null }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_makes_a_task_with_everything_in_it() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", ada).await;
    world.member(home, grace, Role::Viewer).await;
    let project = world.project(home, "Atlas").await;
    let input = json!({
        "projectId": project, "title": "Draw", "description": "At length.", "priority": "URGENT",
        "status": "IN_REVIEW", "dueDate": "2030-01-31T10:00:00.123456789+01:00", "assigneeId": grace,
    });
    let answer = world.ask(ada, CREATE, json!({ "input": input })).await;
    let mut task = answer.data()["taskCreate"]["task"].clone();
    assert!(task["id"].take().is_string());
    assert_eq!(
        task,
        json!({
            "id": null, "title": "Draw", "description": "At length.", "status": "IN_REVIEW", "priority": "URGENT",
            "dueDate": "2030-01-31T09:00:00.123456Z", "completedAt": null,
            "assignee": { "name": "grace" }, "project": { "name": "Atlas" },
        })
    );
    assert_eq!(answer.statements(), ["begin", "commit", "project_by_id", "task_create", "user_by_id"]);
    assert_eq!(answer.statements_on("replica"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_task_is_todo_and_medium_unless_it_says_otherwise() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = world.project(world.workspace("home", ada).await, "Atlas").await;
    let answer = world.ask(ada, CREATE, json!({ "input": { "projectId": project, "title": "Draw" } })).await;
    let task = &answer.data()["taskCreate"]["task"];
    assert_eq!((&task["status"], &task["priority"]), (&json!("TODO"), &json!("MEDIUM")));
    let done = json!({ "input": { "projectId": project, "title": "Drawn", "status": "COMPLETED" } });
    let answer = world.ask(ada, CREATE, done).await;
    assert!(answer.data()["taskCreate"]["task"]["completedAt"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_refused_to_a_viewer_to_a_stranger_and_for_an_assignee_who_is_no_live_member() {
    let world = World::new().await;
    let (ada, viewer, stranger) = (world.user("ada").await, world.user("viewer").await, world.user("stranger").await);
    let home = world.workspace("home", ada).await;
    world.member(home, viewer, Role::Viewer).await;
    let former = world.user("former").await;
    let membership = world.member(home, former, Role::Member).await;
    world.execute(&format!("UPDATE members SET deleted_at = now() WHERE id = '{membership}'")).await;
    let project = world.project(home, "Atlas").await;
    let task = world.task(project, "Draw").await;
    let cases = [
        (viewer, None, "FORBIDDEN", "projectId", "id"),
        (stranger, None, "NOT_FOUND", "projectId", "id"),
        (ada, Some(stranger), "NOT_FOUND", "assigneeId", "assigneeId"),
        (ada, Some(former), "NOT_FOUND", "assigneeId", "assigneeId"),
        (ada, Some(clock::new_id()), "NOT_FOUND", "assigneeId", "assigneeId"),
    ];
    for (caller, assignee, code, field_of_create, field_of_update) in cases {
        let input = json!({ "projectId": project, "title": "Draw", "assigneeId": assignee });
        let answer = world.ask(caller, CREATE, json!({ "input": input })).await;
        let refused = |field| json!({ "task": null, "userErrors": [{ "code": code, "field": ["input", field] }] });
        assert_eq!(answer.data()["taskCreate"], refused(field_of_create));
        let mut input = json!({ "id": task, "title": "Drawn" });
        if let Some(assignee) = assignee {
            input["assigneeId"] = json!(assignee);
        }
        let answer = world.ask(caller, UPDATE, json!({ "input": input })).await;
        assert_eq!(answer.data()["taskUpdate"], refused(field_of_update));
    }
    let answer = world.ask(ada, "{ workspaceBySlug(slug: \"home\") { tasks { nodes { title } } } }", json!({})).await;
    assert_eq!(answer.data()["workspaceBySlug"]["tasks"]["nodes"], json!([{ "title": "Draw" }]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_keeps_what_is_absent_and_clears_what_is_null() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = world.project(world.workspace("home", ada).await, "Atlas").await;
    let task = world
        .task_with(project, "Draw", |task| {
            task.description = Set(Some("At length.".to_owned()));
            task.due_date = Set(Some(clock::now()));
            task.assignee_id = Set(Some(ada));
        })
        .await;
    let read = async |input: Value| {
        let answer = world.ask(ada, UPDATE, json!({ "input": input })).await;
        assert_eq!(answer.data()["taskUpdate"]["userErrors"], json!([]));
        answer.data()["taskUpdate"]["task"].clone()
    };
    let before = read(json!({ "id": task })).await;
    assert_eq!((&before["title"], &before["description"]), (&json!("Draw"), &json!("At length.")));
    assert_eq!(before["assignee"], json!({ "name": "ada" }));
    for field in ["description", "dueDate", "assigneeId"] {
        let after = read(json!({ "id": task, field: null })).await;
        let shown = if field == "assigneeId" { "assignee" } else { field };
        assert!(before[shown] != json!(null) && after[shown] == json!(null), "{field}: {after}");
        assert_eq!(after["title"], "Draw");
    }
    for field in ["title", "status", "priority"] {
        let answer = world.ask(ada, UPDATE, json!({ "input": { "id": task, field: null } })).await;
        let refused = json!({ "task": null, "userErrors": [{ "code": "INVALID", "field": ["input", field] }] });
        assert_eq!(answer.data()["taskUpdate"], refused);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn completed_at_follows_the_status_and_updated_at_always_grows() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = world.project(world.workspace("home", ada).await, "Atlas").await;
    let task = world.task_with(project, "Draw", |task| task.status = Set(Status::InReview)).await;
    let mut seen = Vec::new();
    for status in ["COMPLETED", "COMPLETED", "TODO"] {
        let answer = world.ask(ada, UPDATE, json!({ "input": { "id": task, "status": status } })).await;
        let task = answer.data()["taskUpdate"]["task"].clone();
        assert_eq!(task["status"], status);
        seen.push((task["completedAt"].clone(), task["updatedAt"].as_str().unwrap().to_owned()));
    }
    assert!(seen[0].0.is_string());
    assert_eq!(seen[0].0, seen[1].0, "completing again keeps the first time");
    assert_eq!(seen[2].0, json!(null));
    assert!(seen[0].1 < seen[1].1 && seen[1].1 < seen[2].1, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_later_mutation_of_a_document_selects_is_not_what_an_earlier_one_read() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = world.project(world.workspace("home", ada).await, "Atlas").await;
    let document = format!(
        "mutation {{ \
           a: taskCreate(input: {{ projectId: \"{project}\", title: \"One\" }}) {{ task {{ project {{ ...P }} }} }} \
           b: taskCreate(input: {{ projectId: \"{project}\", title: \"Two\" }}) {{ task {{ project {{ ...P }} }} }} }} \
         fragment P on Project {{ tasks {{ totalCount }} report {{ totals {{ total }} }} }}"
    );
    let answer = world.ask(ada, &document, json!({})).await;
    for (alias, count) in [("a", 1), ("b", 2)] {
        let project = &answer.data()[alias]["task"]["project"];
        assert_eq!(*project, json!({ "tasks": { "totalCount": count }, "report": { "totals": { "total": count } } }));
    }
}
