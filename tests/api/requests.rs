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

/// Every way of sending a mutation, its body or URL, and its content type.
fn ways_to_send(mutation: &str) -> Vec<(Option<&'static str>, String)> {
    let body = json!({ "query": mutation }).to_string();
    let part =
        |name: &str, text: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
    let multipart = format!("{}{}--b--\r\n", part("operations", &body), part("map", "{}"));
    let form = format!("query={}", mutation.replace(' ', "+").replace('"', "%22"));
    let typed = [
        ("text/plain", body.clone()),
        ("text/plain; charset=application/json", body.clone()),
        ("text/json", body.clone()),
        ("application/graphql", mutation.to_owned()),
        ("application/x-www-form-urlencoded", form.clone()),
        ("application/x-www-form-urlencoded", body.clone()),
        ("multipart/form-data; boundary=b", multipart.clone()),
        ("multipart/mixed; boundary=b", multipart),
        ("application/jsonx", body.clone()),
        ("text/plain, application/json", body.clone()),
        ("application/json; charset=iso-8859-1", body.clone()),
        ("application/json; charset=utf-8; charset=utf-16", body.clone()),
        ("application/json; boundary=b", body.clone()),
        ("application/json, text/plain", body.clone()),
        ("application/graphql-response+json", body.clone()),
        ("application/*", body.clone()),
        ("", body.clone()),
    ];
    let typed = typed.map(|(content_type, body)| (Some(content_type), body));
    let json = JSON.map(|content_type| (Some(content_type), body.clone()));
    typed.into_iter().chain(json).chain([(None, body)]).collect()
}

const JSON: [&str; 4] = [
    "application/json",
    "application/json; charset=utf-8",
    "Application/JSON ; charset=\"UTF-8\"",
    "application/json;",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mutation_runs_but_by_post_with_json() {
    let world = World::new().await;
    let ada = ada_of(&world).await;
    let url = reqwest::Url::parse_with_params(&world.url("/graphql"), [("query", MUTATION)]).unwrap();
    let send = async |method: &str, content_type: Option<&str>, body: String| {
        let mut request = world.http().request(method.parse().unwrap(), url.clone()).bearer_auth(world.token(ada));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        Answer::of(request.body(body).send().await.unwrap()).await
    };
    let mut refused = 0;
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "POST"] {
        for (content_type, body) in ways_to_send(MUTATION) {
            let is_json = content_type.is_some_and(|content_type| JSON.contains(&content_type));
            let (status, allowed) = match method {
                "POST" if is_json => continue,
                "POST" => (StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
                // It needs no content type, and must not have a wrong one.
                "GET" if !is_json && content_type.is_some() => (StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
                "GET" => (StatusCode::METHOD_NOT_ALLOWED, Some("POST")),
                // A browser asks by it what it may send.
                "OPTIONS" => (StatusCode::OK, None),
                _ => (StatusCode::METHOD_NOT_ALLOWED, Some("GET, POST")),
            };
            let answer = send(method, content_type, body).await;
            let told = format!("{method} {content_type:?}: {}", answer.text);
            assert_eq!(answer.status, status, "{told}");
            assert_eq!(answer.headers.get("allow").map(|allow| allow.to_str().unwrap()), allowed, "{told}");
            if ["HEAD", "OPTIONS"].contains(&method) {
                assert_eq!(answer.text, "", "{told}");
            } else {
                assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{told}");
                assert!(answer.body.get("data").is_none(), "{told}");
            }
            assert_eq!(count(&world, "workspaces").await, 1, "{told}");
            refused += 1;
        }
    }
    assert_eq!(refused, 9 * 22 - JSON.len());
    for (content_type, written) in JSON.into_iter().zip(2..) {
        let body = json!({ "query": MUTATION.replace("xx", &format!("x{written}")) }).to_string();
        let answer = send("POST", Some(content_type), body).await;
        assert!(answer.data()["workspaceCreate"]["workspace"]["id"].is_string(), "{content_type}: {}", answer.text);
        assert_eq!(count(&world, "workspaces").await, written, "{content_type}");
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
    let twice = r#"{"query":"query($a: Int) { __typename }","variables":{"a":1,"b":[{"c":1,"c":2}]}}"#;
    let nested = |name: &str, value: &str| format!("{{\"query\":\"{{ __typename }}\",\"{name}\":{value}}}");
    let wrong: Vec<String> = ["variables", "extensions"]
        .into_iter()
        .flat_map(|name| ["7", "true", "\"{}\"", "[]", "[{}]"].map(|value| nested(name, value)))
        .chain(["7", "{}", "[\"A\"]", "false"].map(|value| nested("operationName", value)))
        .chain([nested("variables", "{\"a\":1e400}"), nested("variables", "{\"a\":\"\\ud800\"}")])
        .chain([nested("variables", "{\"a\":01}"), nested("variables", "{\"a\":NaN}"), nested("variables", "{a:1}")])
        .chain([nested("query", "\"{ viewer { name } }\""), nested("variables", "{},\"variables\":{}")])
        .collect();
    assert_eq!(wrong.len(), 21);
    let bodies: [(&[u8], &str); 25] = [
        (b"", "BAD_USER_INPUT"),
        (b"{", "BAD_USER_INPUT"),
        (b"null", "BAD_USER_INPUT"),
        (b"7", "BAD_USER_INPUT"),
        (b"\"{ viewer { name } }\"", "BAD_USER_INPUT"),
        (b"[]", "BAD_USER_INPUT"),
        (batch.as_bytes(), "BAD_USER_INPUT"),
        (list.as_bytes(), "BAD_USER_INPUT"),
        (spaced.as_bytes(), "BAD_USER_INPUT"),
        (b"{}", "BAD_USER_INPUT"),
        (b"{\"variables\":{}}", "BAD_USER_INPUT"),
        (b"{\"query\":null}", "BAD_USER_INPUT"),
        (b"{\"query\":7}", "BAD_USER_INPUT"),
        (b"{\"query\":[\"{ viewer { name } }\"]}", "BAD_USER_INPUT"),
        (b"{\"query\":\"{ viewer { name } }\",\"variables\":7}", "BAD_USER_INPUT"),
        (b"{\"query\":\"{ viewer { name } }\",\"operationName\":\"Other\"}", "BAD_USER_INPUT"),
        (b"{\"query\":\"query A { __typename } query B { __typename }\"}", "BAD_USER_INPUT"),
        (b"{\"query\":\"{ viewer { name } }\"} trailing", "BAD_USER_INPUT"),
        (b"{\"query\":\"\xff\"}", "BAD_USER_INPUT"),
        (b"\xef\xbb\xbf{\"query\":\"{ __typename }\"}", "BAD_USER_INPUT"),
        (b"\xff\xfe{\x00}\x00", "BAD_USER_INPUT"),
        (b"{\"query\":\"{ __typename }\"}\0", "BAD_USER_INPUT"),
        (b"{\"query\":\"\\ud83d\"}", "BAD_USER_INPUT"),
        (twice.as_bytes(), "BAD_USER_INPUT"),
        (deep.as_bytes(), "BAD_USER_INPUT"),
    ];
    let wrong = wrong.iter().map(|body| (body.as_bytes(), "BAD_USER_INPUT"));
    for (body, code) in bodies.into_iter().chain(wrong) {
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
