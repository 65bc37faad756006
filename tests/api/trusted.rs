//! Trusted documents: manifests as build tools write them, documents by their ids, and what becomes of others.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Answer, SECRET, TestFile, World, new_addresses, new_path};
use crate::instance::{Instance, run, trellis};

const VIEWER: &str = "query Me { viewer { name } }";
const TASK: &str = "query Task($id: ID!, $first: Int = 1) { task(id: $id) { comments(first: $first) { totalCount } } }";
const CREATE: &str = "mutation Create { workspaceCreate(input: { name: \"X\", slug: \"xx\" }) { workspace { id } } }";

/// The manifest of graphql-codegen and relay-compiler.
fn map() -> Value {
    json!({ "me": VIEWER, "8f14e45fceea167a5a36dedd4bea2543": TASK, "sha256:abc": CREATE })
}

/// A file that holds a manifest.
fn file(manifest: &Value) -> TestFile {
    TestFile::new("manifest", &manifest.to_string())
}

async fn world(manifest: &Value, mode: &str) -> World {
    let file = file(manifest);
    World::with(&["--documents", file.path(), "--trusted-documents", mode]).await
}

async fn post(world: &World, body: Value) -> Answer {
    Answer::of(world.http().post(world.url("/graphql")).json(&body).send().await.unwrap()).await
}

fn refused<'a>(answer: &'a Answer, code: &str) -> &'a str {
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    assert_eq!(answer.codes(), [code], "{}", answer.text);
    assert!(answer.body.get("data").is_none(), "{}", answer.text);
    answer.body["errors"][0]["message"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_answered_by_its_id_whatever_tool_wrote_the_manifest() {
    let apollo = json!({ "format": "apollo-persisted-query-manifest", "version": 1, "operations": [
        { "id": "me", "name": "Me", "type": "query", "body": VIEWER },
        { "id": "8f14e45fceea167a5a36dedd4bea2543", "name": "Task", "type": "query", "body": TASK },
        { "id": "sha256:abc", "name": "Create", "type": "mutation", "body": CREATE },
    ] });
    for manifest in [map(), apollo] {
        let world = world(&manifest, "enforce").await;
        let ada = world.user("ada").await;
        let token = format!("Bearer {}", world.token(ada));
        let ask = async |body: Value| {
            let request = world.http().post(world.url("/graphql")).header("authorization", &token);
            Answer::of(request.json(&body).send().await.unwrap()).await
        };
        let ada_told = json!({ "viewer": { "name": "ada" } });
        assert_eq!(*ask(json!({ "documentId": "me" })).await.data(), ada_told);
        // Without a manifest's id: the hash of the text, as the appendix has it; and as Apollo's clients send an id.
        let hash = "sha256:545b8df956c16f4ebb866eb516aafc39929a85eb515feef2c8d4d280adaaeb24";
        assert_eq!(*ask(json!({ "documentId": hash })).await.data(), ada_told);
        let persisted = json!({ "persistedQuery": { "version": 1, "sha256Hash": "me" } });
        assert_eq!(*ask(json!({ "extensions": persisted })).await.data(), ada_told);
        // With variables, their defaults, and what is missing.
        let id = "8f14e45fceea167a5a36dedd4bea2543";
        let variables = json!({ "id": trellis::clock::new_id() });
        assert_eq!(*ask(json!({ "documentId": id, "variables": variables })).await.data(), json!({ "task": null }));
        refused(&ask(json!({ "documentId": id })).await, "BAD_USER_INPUT");
        // By GET, and no mutation.
        let get = async |id: &str| {
            let url = reqwest::Url::parse_with_params(&world.url("/graphql"), [("documentId", id)]).unwrap();
            Answer::of(world.http().get(url).header("authorization", &token).send().await.unwrap()).await
        };
        assert_eq!(*get("me").await.data(), ada_told);
        assert_eq!(get("sha256:abc").await.status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(
            ask(json!({ "documentId": "sha256:abc" })).await.data()["workspaceCreate"]["workspace"]["id"].is_string()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_is_not_in_the_manifest_is_answered_or_refused_as_the_mode_says() {
    for (mode, is_answered) in [("off", true), ("log", true), ("enforce", false)] {
        let world = world(&map(), mode).await;
        let message = "No document has this id: the client was built with another manifest than this server has.";
        assert_eq!(refused(&post(&world, json!({ "documentId": "other" })).await, "DOCUMENT_NOT_TRUSTED"), message);
        refused(&post(&world, json!({ "documentId": "me", "query": VIEWER })).await, "BAD_USER_INPUT");
        // A text of the manifest is trusted, however it comes.
        assert_eq!(post(&world, json!({ "query": VIEWER })).await.codes(), ["UNAUTHENTICATED"], "{mode}");
        for query in ["{ __typename }", "{ __schema { queryType { name } } }", "{", &format!("{VIEWER} ")] {
            let answer = post(&world, json!({ "query": query })).await;
            if is_answered {
                assert_ne!(answer.codes(), ["DOCUMENT_NOT_TRUSTED"], "{mode} {query}");
            } else {
                refused(&answer, "DOCUMENT_NOT_TRUSTED");
            }
        }
    }
    // Without a manifest there is no document with an id.
    let world = World::new().await;
    refused(&post(&world, json!({ "documentId": "me" })).await, "DOCUMENT_NOT_TRUSTED");
    refused(&post(&world, json!({})).await, "BAD_USER_INPUT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_tells_once_of_each_operation_that_is_not_in_the_manifest() {
    let addresses = new_addresses().await;
    let file = file(&map());
    let words = ["serve", "--listen", "127.0.0.1:0", "--database-url", &addresses.primary, "--jwt-secret", SECRET];
    let trusting = ["--documents", file.path(), "--trusted-documents", "log"];
    let mut server = Instance::spawn(trellis().args(words).args(trusting));
    let url = format!("{}/graphql", server.url().await);
    let http = reqwest::Client::new();
    for name in ["One", "One", "Two", "One", "Me"] {
        let query = if name == "Me" { VIEWER.to_owned() } else { format!("query {name} {{ __typename }}") };
        let answer = http.post(&url).json(&json!({ "query": query })).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let ended = server.interrupted().await;
    let told: Vec<&str> = ended.err.lines().filter(|line| line.contains("not in the manifest")).collect();
    assert_eq!(told.len(), 2, "{}", ended.err);
    assert!(told[0].contains("One") && told[1].contains("Two"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_cannot_be_served_stops_the_start_and_every_faulty_document_is_named() {
    let faulty = json!({
        "good": VIEWER, "not-graphql": "{ viewer {", "unknown-field": "{ viewer { shoeSize } }",
        "too-much": format!("{{ {} }}", (0..40).map(|n| format!("a{n}: __typename")).collect::<Vec<_>>().join(" ")),
        "unknown-type": "query($id: Nothing!) { task(id: $id) { id } }",
    });
    let file = file(&faulty);
    let serve = |path: &str, mode: &str| {
        let mut command = trellis();
        let data_dir = new_path("data");
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir.to_str().unwrap()]);
        command.args(["--documents", path, "--trusted-documents", mode]);
        command
    };
    let ended = run(&mut serve(file.path(), "enforce")).await;
    ended.assert_refused(&["4 of the documents in", "cannot be served"]);
    for (id, fault) in [("not-graphql", "not GraphQL"), ("unknown-field", "shoeSize"), ("too-much", "maxRootFields")] {
        ended.assert_refused(&[&format!("  {id}: "), fault]);
    }
    ended.assert_refused(&["  unknown-type: ", "Nothing"]);
    assert!(!ended.err.contains("good:"), "{}", ended.err);
    for (content, fault) in [("[]", "no manifest"), ("{}", "empty"), ("{\"a\": 1}", "no manifest"), ("", "no manifest")]
    {
        std::fs::write(file.path(), content).unwrap();
        run(&mut serve(file.path(), "log")).await.assert_refused(&[fault]);
    }
    run(&mut serve("/nowhere.json", "log")).await.assert_refused(&["/nowhere.json", "cannot be read"]);
    run(trellis().args(["serve", "--trusted-documents", "log"])).await.assert_refused(&["TRELLIS_DOCUMENTS"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_of_the_manifest_are_counted_by_name_however_many_others_come_first() {
    let world = World::new().await;
    let token = world.token(world.user("ada").await);
    let file = file(&json!({ "mine": "query Mine { viewer { name } }" }));
    let words = ["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--documents", file.path()];
    let mut server = Instance::spawn(trellis().args(words).args(["--database-url", &world.addresses.primary]));
    let url = server.url().await;
    let others = (0..101).map(|number| json!({ "query": format!("query Other{number} {{ viewer {{ name }} }}") }));
    for body in others.chain([json!({ "documentId": "mine" })]) {
        let request = world.http().post(format!("{url}/graphql")).bearer_auth(&token).json(&body);
        assert_eq!(Answer::of(request.send().await.unwrap()).await.data()["viewer"]["name"], "ada");
    }
    let figures = world.http().get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
    for (name, count) in [("Other99", 1), ("other", 1), ("Mine", 1)] {
        let line = format!("trellis_operations_total{{name=\"{name}\",outcome=\"ok\"}} {count}\n");
        assert!(figures.contains(&line), "{line}: {figures}");
    }
    assert!(!figures.contains("Other100"), "the hundred and first of them is one of the others");
}
