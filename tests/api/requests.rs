//! The envelope of a request: who may send what as what, bodies that are none, request ids, NUL characters.

use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, World, one};

async fn ada_of(world: &World) -> Uuid {
    let ada = world.user("ada").await;
    world.workspace("home", ada).await;
    ada
}

async fn send(world: &World, user: Uuid, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = world.http().post(world.url("/graphql")).bearer_auth(world.token(user));
    Answer::of(request.header("content-type", content_type).body(body).send().await.unwrap()).await
}

async fn count(world: &World, table: &str) -> i64 {
    one(&world.sql, &format!("SELECT count(*) FROM {table}")).await.try_get_by_index(0).unwrap()
}

const MUTATION: &str = "mutation { workspaceCreate(input: { name: \"X\", slug: \"xx\" }) { workspace { id } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_any_page_can_make_a_browser_send_changes_nothing() {
    let world = World::new().await;
    let ada = ada_of(&world).await;
    let body = json!({ "query": MUTATION }).to_string();
    let part =
        |name: &str, text: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
    let multipart = format!("{}{}--b--\r\n", part("operations", &body), part("map", "{}"));
    let form = format!("query={}", MUTATION.replace(' ', "+").replace('"', "%22"));
    for (content_type, body) in [
        ("text/plain", body.clone()),
        ("text/plain; charset=application/json", body.clone()),
        ("text/json", body.clone()),
        ("application/graphql", MUTATION.to_owned()),
        ("application/x-www-form-urlencoded", form.clone()),
        ("application/x-www-form-urlencoded", body.clone()),
        ("multipart/form-data; boundary=b", multipart.clone()),
        ("multipart/mixed; boundary=b", multipart),
        ("application/jsonx", body.clone()),
        ("text/plain, application/json", body.clone()),
        ("", body.clone()),
    ] {
        let answer = send(&world, ada, content_type, body).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}: {}", answer.text);
        assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{content_type}");
        assert!(answer.body.get("data").is_none(), "{content_type}");
    }
    let without_type = world.http().post(world.url("/graphql")).bearer_auth(world.token(ada)).body(body);
    assert_eq!(without_type.send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let gets = [world.url(&format!("/graphql?{form}")), world.url("/graphql")];
    for url in gets {
        let answer = world.http().get(url).bearer_auth(world.token(ada)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
    assert_eq!(count(&world, "workspaces").await, 1);
    for content_type in ["application/json", "Application/JSON ; charset=utf-8"] {
        let answer = send(&world, ada, content_type, json!({ "query": "{ viewer { name } }" }).to_string()).await;
        assert_eq!(answer.data()["viewer"]["name"], "ada", "{content_type}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_request_is_refused_with_a_code() {
    let world = World::new().await;
    let ada = ada_of(&world).await;
    let deep = format!("{{\"query\":{}", "[".repeat(30_000));
    let batch = json!([{ "query": MUTATION }, { "query": MUTATION }]).to_string();
    let list = json!([MUTATION]).to_string();
    let spaced = format!(" \r\n\t{}", json!([MUTATION, null, {}]));
    let bodies: [(&[u8], &str); 20] = [
        (b"", "BAD_USER_INPUT"),
        (b"{", "BAD_USER_INPUT"),
        (b"null", "BAD_USER_INPUT"),
        (b"7", "BAD_USER_INPUT"),
        (b"\"{ viewer { name } }\"", "BAD_USER_INPUT"),
        (b"[]", "BAD_USER_INPUT"),
        (batch.as_bytes(), "BAD_USER_INPUT"),
        (list.as_bytes(), "BAD_USER_INPUT"),
        (spaced.as_bytes(), "BAD_USER_INPUT"),
        (b"{}", "GRAPHQL_PARSE_FAILED"),
        (b"{\"variables\":{}}", "GRAPHQL_PARSE_FAILED"),
        (b"{\"query\":null}", "BAD_USER_INPUT"),
        (b"{\"query\":7}", "BAD_USER_INPUT"),
        (b"{\"query\":[\"{ viewer { name } }\"]}", "BAD_USER_INPUT"),
        (b"{\"query\":\"{ viewer { name } }\",\"variables\":7}", "BAD_USER_INPUT"),
        (b"{\"query\":\"{ viewer { name } }\",\"operationName\":\"Other\"}", "BAD_USER_INPUT"),
        (b"{\"query\":\"query A { __typename } query B { __typename }\"}", "BAD_USER_INPUT"),
        (b"{\"query\":\"{ viewer { name } }\"} trailing", "BAD_USER_INPUT"),
        (b"{\"query\":\"\xff\"}", "BAD_USER_INPUT"),
        (deep.as_bytes(), "BAD_USER_INPUT"),
    ];
    for (body, code) in bodies {
        let answer = send(&world, ada, "application/json", body.to_vec()).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]);
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{shown}: {}", answer.text);
        assert_eq!(answer.codes(), [code], "{shown}: {}", answer.text);
        assert!(answer.body.get("data").is_none(), "{shown}");
    }
    assert_eq!(count(&world, "workspaces").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_that_are_not_sent_count_as_absent_and_those_of_other_operations_do_not_count() {
    let world = World::new().await;
    let ada = ada_of(&world).await;
    let document = "query One($first: Int, $after: Cursor) { workspaces(first: $first, after: $after) { totalCount } } \
        query Other($n: Int!, $first: Int!) { workspaces(first: $n) { nodes { projects(first: $first) { totalCount } } } }";
    for (name, variables, code) in [
        ("One", json!({}), None),
        ("One", json!(null), None),
        ("One", json!({ "first": null, "after": null }), None),
        ("One", json!({ "first": 1 }), None),
        ("Other", json!({ "n": 1, "first": 1 }), None),
        ("Other", json!({ "n": 1 }), Some("BAD_USER_INPUT")),
        ("Other", json!({ "n": null, "first": 1 }), Some("BAD_USER_INPUT")),
    ] {
        let body = json!({ "query": document, "operationName": name, "variables": variables }).to_string();
        let answer = send(&world, ada, "application/json", body).await;
        match code {
            None => assert!(answer.data()["workspaces"].is_object(), "{name} {variables}"),
            Some(code) => {
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name} {variables}: {}", answer.text);
                assert!(answer.codes().contains(&code), "{name} {variables}: {}", answer.text);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_of_a_variable_counts_in_arguments_and_in_directives() {
    let world = World::new().await;
    let ada = ada_of(&world).await;
    world.workspace("other", ada).await;
    let document = "query($yes: Boolean! = true, $no: Boolean = false, $first: Int = 1) { \
        a: viewer @include(if: $yes) { name } b: viewer @skip(if: $yes) { name } c: viewer @include(if: $no) { name } \
        d: viewer @skip(if: $no) { name } workspaces(first: $first) { nodes { slug } } }";
    let (home, other, name) = (json!({ "slug": "home" }), json!({ "slug": "other" }), json!({ "name": "ada" }));
    let answer = world.ask(ada, document, json!({})).await;
    assert_eq!(*answer.data(), json!({ "a": name, "d": name, "workspaces": { "nodes": [home] } }));
    let answer = world.ask(ada, document, json!({ "yes": false, "no": true, "first": 2 })).await;
    assert_eq!(*answer.data(), json!({ "b": name, "c": name, "workspaces": { "nodes": [home, other] } }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_comes_back_and_one_is_made_where_there_is_none_to_keep() {
    let world = World::new().await;
    let document = json!({ "query": "{ viewer { name } }" });
    let ask = async |id: Option<&[u8]>| {
        let mut request = world.http().post(world.url("/graphql")).json(&document);
        if let Some(id) = id {
            request = request.header("x-request-id", reqwest::header::HeaderValue::from_bytes(id).unwrap());
        }
        let answer = Answer::of(request.send().await.unwrap()).await;
        let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(answer.body["errors"][0]["extensions"]["requestId"], json!(id), "{}", answer.text);
        id
    };
    for id in ["7", "client-0b1c", "a b;c=\"d\"", &"x".repeat(128)] {
        assert_eq!(ask(Some(id.as_bytes())).await, id);
    }
    let longest = "x".repeat(129);
    let mut made = Vec::new();
    for id in [None, None, Some(&b""[..]), Some(b"\xc3\xa9"), Some(b"\xff"), Some(longest.as_bytes())] {
        let id = ask(id).await;
        assert_eq!(Uuid::try_parse(&id).unwrap().get_version_num(), 7);
        made.push(id);
    }
    assert_eq!(made.len(), 6);
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), 6, "each has its own");
    // Also where the request is refused before it is read, and on the other routes.
    let request = world.http().post(world.url("/graphql")).header("x-request-id", "mine").bearer_auth("bad");
    let answer = Answer::of(request.json(&document).send().await.unwrap()).await;
    assert_eq!(answer.headers["x-request-id"], "mine");
    assert_eq!(answer.body["errors"][0]["extensions"]["requestId"], "mine");
    let answer = world.http().get(world.url("/livez")).header("x-request-id", "mine").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "mine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nul_character_costs_no_write_and_no_defect() {
    let world = World::new().await;
    let ada = ada_of(&world).await;
    let project = world.project(world.workspace("other", ada).await, "Atlas").await;
    let task = world.task(project, "Draw").await;
    let answer = world
        .ask(ada, "query($slug: String!) { workspaceBySlug(slug: $slug) { id } }", json!({ "slug": "ho\0me" }))
        .await;
    assert_eq!(*answer.data(), json!({ "workspaceBySlug": null }));
    assert!(answer.statements().is_empty(), "{}", answer.text);
    let mutations: [(&str, &str, Value, &str); 7] = [
        ("workspaceCreate", "WorkspaceCreateInput", json!({ "name": "a\0b", "slug": "free" }), "name"),
        ("workspaceCreate", "WorkspaceCreateInput", json!({ "name": "X", "slug": "a\0b" }), "slug"),
        ("projectCreate", "ProjectCreateInput", json!({ "workspaceId": project, "name": "a\0b" }), "name"),
        ("taskCreate", "TaskCreateInput", json!({ "projectId": project, "title": "a\0b" }), "title"),
        (
            "taskCreate",
            "TaskCreateInput",
            json!({ "projectId": project, "title": "X", "description": "\0" }),
            "description",
        ),
        ("taskUpdate", "TaskUpdateInput", json!({ "id": task, "description": "a\0b" }), "description"),
        ("commentCreate", "CommentCreateInput", json!({ "taskId": task, "body": "a\0b" }), "body"),
    ];
    for (field, kind, input, at) in mutations {
        let document =
            format!("mutation($input: {kind}!) {{ {field}(input: $input) {{ userErrors {{ code field }} }} }}");
        let answer = world.ask(ada, &document, json!({ "input": input })).await;
        let faults = answer.data()[field]["userErrors"].as_array().unwrap();
        assert!(!faults.is_empty(), "{field} {at}");
        for fault in faults {
            assert_eq!(*fault, json!({ "code": "INVALID", "field": ["input", at] }));
        }
    }
    let rows = [("workspaces", 2), ("projects", 1), ("tasks", 1), ("comments", 0)];
    for (table, expected) in rows {
        assert_eq!(count(&world, table).await, expected, "{table}");
    }
}
