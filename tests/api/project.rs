//! Projects: the root field, the list, and making one.

use serde_json::json;
use trellis::clock;
use trellis::entities::member::Role;

use crate::harness::World;

const CREATE: &str = "mutation($input: ProjectCreateInput!) { projectCreate(input: $input) { \
    project { name status workspace { slug } } userErrors { code field } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_finds_a_project_with_its_workspace() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    let project = world.project(home, "Atlas").await;
    let document = "query($id: ID!) { project(id: $id) { id name status deletedAt workspace { id } } }";
    let answer = world.ask(ada, document, json!({ "id": project })).await;
    assert_eq!(
        answer.data()["project"],
        json!({ "id": project, "name": "Atlas", "status": "ACTIVE", "deletedAt": null, "workspace": { "id": home } })
    );
    let stranger = world.user("grace").await;
    let answer = world.ask(stranger, document, json!({ "id": project })).await;
    assert_eq!(*answer.data(), json!({ "project": null }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_makes_a_project_in_one_statement() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", ada).await;
    world.member(home, grace, Role::Admin).await;
    let input = json!({ "input": { "workspaceId": home, "name": "Atlas", "status": "PAUSED" } });
    let answer = world.ask(grace, CREATE, input).await;
    assert_eq!(
        answer.data()["projectCreate"],
        json!({ "project": { "name": "Atlas", "status": "PAUSED", "workspace": { "slug": "home" } }, "userErrors": [] })
    );
    assert_eq!(answer.statements(), ["begin", "commit", "project_create", "workspace_by_id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_is_forbidden_to_make_a_project_and_a_stranger_finds_no_workspace() {
    let world = World::new().await;
    let (ada, viewer, stranger) = (world.user("ada").await, world.user("viewer").await, world.user("stranger").await);
    let home = world.workspace("home", ada).await;
    world.member(home, viewer, Role::Viewer).await;
    for (caller, workspace, code) in
        [(viewer, home, "FORBIDDEN"), (stranger, home, "NOT_FOUND"), (ada, clock::new_id(), "NOT_FOUND")]
    {
        let input = json!({ "input": { "workspaceId": workspace, "name": "Atlas" } });
        let answer = world.ask(caller, CREATE, input).await;
        let refused = json!({ "project": null, "userErrors": [{ "code": code, "field": ["input", "workspaceId"] }] });
        assert_eq!(answer.data()["projectCreate"], refused);
    }
    let answer = world.ask(ada, "{ workspaceBySlug(slug: \"home\") { projects { totalCount } } }", json!({})).await;
    assert_eq!(answer.data()["workspaceBySlug"]["projects"]["totalCount"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_needs_a_name_of_at_most_200_characters() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    for (name, written) in [("é".repeat(200), true), ("é".repeat(201), false), ("\t".to_owned(), false)] {
        let answer = world.ask(ada, CREATE, json!({ "input": { "workspaceId": home, "name": name } })).await;
        assert_eq!(answer.data()["projectCreate"]["project"].is_object(), written, "{name:?}");
    }
}
