//! Comments: the root field, the list, and making one.

use serde_json::json;
use trellis::entities::member::Role;

use crate::harness::World;

const CREATE: &str = "mutation($input: CommentCreateInput!) { commentCreate(input: $input) { \
    comment { body author { name } task { title } } userErrors { code field } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_finds_a_comment_with_its_author_and_task() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = world.project(world.workspace("home", ada).await, "Atlas").await;
    let task = world.task(project, "Draw").await;
    let comment = world.comment(task, ada, "Done?").await;
    let document = "query($id: ID!) { comment(id: $id) { body author { name } task { title } } }";
    let answer = world.ask(ada, document, json!({ "id": comment })).await;
    assert_eq!(
        answer.data()["comment"],
        json!({ "body": "Done?", "author": { "name": "ada" }, "task": { "title": "Draw" } })
    );
    assert_eq!(answer.statements(), ["comment_by_id", "task_by_id", "user_by_id"]);
    let answer = world.ask(world.user("grace").await, document, json!({ "id": comment })).await;
    assert_eq!(*answer.data(), json!({ "comment": null }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_is_made_in_the_name_of_the_caller() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", ada).await;
    world.member(home, grace, Role::Member).await;
    let task = world.task(world.project(home, "Atlas").await, "Draw").await;
    let answer = world.ask(grace, CREATE, json!({ "input": { "taskId": task, "body": "On it.\nSoon." } })).await;
    assert_eq!(
        answer.data()["commentCreate"],
        json!({
            "comment": { "body": "On it.\nSoon.", "author": { "name": "grace" }, "task": { "title": "Draw" } },
            "userErrors": [],
        })
    );
    assert_eq!(answer.statements(), ["begin", "comment_create", "commit", "task_by_id", "user_by_id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_is_refused_to_viewers_and_strangers_and_without_a_body() {
    let world = World::new().await;
    let (ada, viewer, stranger) = (world.user("ada").await, world.user("viewer").await, world.user("stranger").await);
    let home = world.workspace("home", ada).await;
    world.member(home, viewer, Role::Viewer).await;
    let task = world.task(world.project(home, "Atlas").await, "Draw").await;
    let long = "x".repeat(50_001);
    let cases = [
        (viewer, "Hello", "FORBIDDEN", "taskId"),
        (stranger, "Hello", "NOT_FOUND", "taskId"),
        (ada, " \n ", "INVALID", "body"),
        (ada, long.as_str(), "INVALID", "body"),
        (ada, "a\0b", "INVALID", "body"),
    ];
    for (caller, body, code, field) in cases {
        let answer = world.ask(caller, CREATE, json!({ "input": { "taskId": task, "body": body } })).await;
        let refused = json!({ "comment": null, "userErrors": [{ "code": code, "field": ["input", field] }] });
        assert_eq!(answer.data()["commentCreate"], refused);
    }
}
