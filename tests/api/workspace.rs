//! Workspaces: the root fields, and making one.

use serde_json::json;
use trellis::clock;
use trellis::entities::member::Role;

use crate::harness::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_finds_a_workspace_by_id_by_slug_and_in_the_list() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    world.workspace("elsewhere", world.user("grace").await).await;
    let document = "query($id: ID!) { workspace(id: $id) { slug } workspaceBySlug(slug: \"home\") { id name } \
                    workspaces { nodes { slug } totalCount } }";
    let answer = world.ask(ada, document, json!({ "id": home })).await;
    assert_eq!(
        *answer.data(),
        json!({
            "workspace": { "slug": "home" },
            "workspaceBySlug": { "id": home, "name": "The home" },
            "workspaces": { "nodes": [{ "slug": "home" }], "totalCount": 1 },
        })
    );
    assert_eq!(
        answer.statements(),
        ["workspace_by_id", "workspace_by_slug", "workspace_count_of_user", "workspaces_of_user"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_a_former_member_and_a_missing_workspace_get_the_same_null() {
    let world = World::new().await;
    let (ada, grace, alan) = (world.user("ada").await, world.user("grace").await, world.user("alan").await);
    let home = world.workspace("home", ada).await;
    let membership = world.member(home, alan, Role::Admin).await;
    world.execute(&format!("UPDATE members SET deleted_at = now() WHERE id = '{membership}'")).await;
    let document =
        "query($id: ID!, $slug: String!) { workspace(id: $id) { slug } workspaceBySlug(slug: $slug) { id } }";
    let nothing = json!({ "workspace": null, "workspaceBySlug": null });
    for (caller, id, slug) in [(grace, home, "home"), (alan, home, "home"), (ada, clock::new_id(), "missing")] {
        let answer = world.ask(caller, document, json!({ "id": id, "slug": slug })).await;
        assert_eq!(*answer.data(), nothing);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_workspace_are_listed_with_their_roles() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", ada).await;
    world.member(home, grace, Role::Viewer).await;
    let document =
        "{ workspaceBySlug(slug: \"home\") { members { nodes { role user { name email } workspace { slug } } } } }";
    let answer = world.ask(grace, document, json!({})).await;
    assert_eq!(
        answer.data()["workspaceBySlug"]["members"]["nodes"],
        json!([
            { "role": "OWNER", "user": { "name": "ada", "email": "ada@example.com" }, "workspace": { "slug": "home" } },
            { "role": "VIEWER", "user": { "name": "grace", "email": "grace@example.com" }, "workspace": { "slug": "home" } },
        ])
    );
}

const CREATE: &str = "mutation($input: WorkspaceCreateInput!) { workspaceCreate(input: $input) { \
    workspace { name slug members { nodes { role user { name } } } } userErrors { code message field } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_makes_a_workspace_owns_it() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let answer = world.ask(ada, CREATE, json!({ "input": { "name": "Home", "slug": "home-1" } })).await;
    assert_eq!(
        answer.data()["workspaceCreate"],
        json!({
            "workspace": { "name": "Home", "slug": "home-1", "members": { "nodes": [{ "role": "OWNER", "user": { "name": "ada" } }] } },
            "userErrors": [],
        })
    );
    assert_eq!(answer.statements(), ["begin", "commit", "members_of_workspace", "user_by_id", "workspace_create"]);
    assert_eq!(answer.statements_on("replica"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_faults_of_a_new_workspace_are_told_at_once_and_nothing_is_written() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let answer = world.ask(ada, CREATE, json!({ "input": { "name": "  ", "slug": "No Slug" } })).await;
    let payload = &answer.data()["workspaceCreate"];
    assert_eq!(payload["workspace"], json!(null));
    let faults = payload["userErrors"].as_array().unwrap();
    let fields: Vec<_> = faults.iter().map(|fault| (&fault["code"], &fault["field"])).collect();
    assert_eq!(
        fields,
        [(&json!("INVALID"), &json!(["input", "name"])), (&json!("INVALID"), &json!(["input", "slug"]))]
    );
    assert!(answer.statements().is_empty(), "bad input costs nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slug_is_taken_once_and_free_again_when_its_workspace_is_deleted() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", ada).await;
    let input = json!({ "input": { "name": "Mine", "slug": "home" } });
    let answer = world.ask(grace, CREATE, input.clone()).await;
    assert_eq!(
        answer.data()["workspaceCreate"],
        json!({ "workspace": null, "userErrors": [{
            "code": "NOT_UNIQUE",
            "message": "Another workspace has this slug. Choose another one.",
            "field": ["input", "slug"],
        }] })
    );
    world.execute(&format!("UPDATE workspaces SET deleted_at = now() WHERE id = '{home}'")).await;
    let answer = world.ask(grace, CREATE, input).await;
    assert_eq!(answer.data()["workspaceCreate"]["workspace"]["slug"], "home");
}
