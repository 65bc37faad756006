//! GraphQL over HTTP: media types, status codes, GET, panics.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextResolve, ResolveInfo};
use async_graphql::{EmptySubscription, ServerResult, async_trait};
use reqwest::StatusCode;
use serde_json::{Value, json};

use trellis::schema::{Mutation, Query, Schema};

use crate::harness::{Answer, World};

const JSON: &str = "application/json; charset=utf-8";
const GRAPHQL: &str = "application/graphql-response+json; charset=utf-8";

/// Posts a document as nobody, with these headers.
async fn post(world: &World, headers: &[(&'static str, &str)], document: &str, variables: Value) -> Answer {
    let request = world.http().post(world.url("/graphql")).json(&json!({ "query": document, "variables": variables }));
    Answer::of(
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap(),
    )
    .await
}

/// Gets the parameters as nobody, with these headers.
async fn get(world: &World, headers: &[(&'static str, &str)], parameters: &[(&str, &str)]) -> Answer {
    let url = reqwest::Url::parse_with_params(&world.url("/graphql"), parameters).unwrap();
    let request = headers.iter().fold(world.http().get(url), |request, (name, value)| request.header(*name, *value));
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_media_type_is_the_one_that_the_client_prefers_and_json_where_it_does_not_say() {
    let world = World::new().await;
    let expected = [
        ("", Some(JSON)),
        ("*/*", Some(JSON)),
        ("application/*", Some(JSON)),
        ("application/json", Some(JSON)),
        ("Application/JSON; charset=UTF-8", Some(JSON)),
        ("application/graphql-response+json", Some(GRAPHQL)),
        ("application/graphql-response+json; charset=utf-8, application/json; charset=utf-8", Some(GRAPHQL)),
        ("application/graphql-response+json, application/json;q=0.9", Some(GRAPHQL)),
        ("application/graphql-response+json;q=0.8, application/json;q=0.9", Some(JSON)),
        ("application/json, application/graphql-response+json", Some(JSON)),
        (
            "application/graphql-response+json, application/graphql+json, application/json, text/event-stream",
            Some(GRAPHQL),
        ),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(JSON)),
        ("*/*, application/json;q=0", Some(GRAPHQL)),
        ("application/json;q=0, application/*;q=0.1", Some(GRAPHQL)),
        ("*/*;q=0.1, application/graphql-response+json;q=0.2", Some(GRAPHQL)),
        ("nonsense, application/graphql-response+json", Some(GRAPHQL)),
        ("text/html", None),
        ("text/*, image/png", None),
        ("application/json;q=0", None),
        ("application/json;q=2", None),
        ("*/*;q=0", None),
        ("application/graphql+json", None),
        ("nonsense", None),
    ];
    for (accept, content_type) in expected {
        let answer = post(&world, &[("accept", accept)], "{ __typename }", Value::Null).await;
        if let Some(content_type) = content_type {
            assert_eq!(answer.data()["__typename"], "Query", "{accept}");
            assert_eq!(answer.headers["content-type"], content_type, "{accept}");
        } else {
            assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE, "{accept}: {}", answer.text);
            assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{accept}");
            assert_eq!(answer.headers["content-type"], JSON, "{accept}");
        }
        assert!(answer.headers.get_all("vary").iter().any(|vary| vary == "Accept"), "{accept}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_tells_whether_a_document_was_run_but_to_who_asks_for_plain_json() {
    let world = World::new().await;
    let requests = [
        // Run.
        ("{ __typename }", json!({}), StatusCode::OK, StatusCode::OK),
        ("{ viewer { name } }", json!({}), StatusCode::OK, StatusCode::OK),
        ("{ nodes(ids: []) { id } }", json!({}), StatusCode::OK, StatusCode::OK),
        // Not run: parsing, validation, coercion, a limit.
        ("{", json!({}), StatusCode::BAD_REQUEST, StatusCode::OK),
        ("{ nobody }", json!({}), StatusCode::BAD_REQUEST, StatusCode::OK),
        ("query($id: ID!) { task(id: $id) { id } }", json!({}), StatusCode::BAD_REQUEST, StatusCode::OK),
        (
            "query($n: Int) { workspaces(first: $n) { totalCount } }",
            json!({ "n": "x" }),
            StatusCode::BAD_REQUEST,
            StatusCode::OK,
        ),
        (
            "{ __typename @skip(if: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
            json!({}),
            StatusCode::BAD_REQUEST,
            StatusCode::OK,
        ),
        // No request at all.
        ("{ __typename }", json!(7), StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST),
    ];
    for (document, variables, graphql, plain) in requests {
        for (accept, status) in [("application/graphql-response+json", graphql), ("application/json", plain)] {
            let answer = post(&world, &[("accept", accept)], document, variables.clone()).await;
            assert_eq!(answer.status, status, "{accept} {document}: {}", answer.text);
            let is_run = graphql == StatusCode::OK;
            assert_eq!(answer.body.get("data").is_some(), is_run, "{accept} {document}: {}", answer.text);
            assert!(is_run || !answer.codes().is_empty(), "{document}: {}", answer.text);
        }
    }
    for accept in ["application/graphql-response+json", "application/json"] {
        let headers = [("accept", accept), ("authorization", "Bearer no")];
        let answer = post(&world, &headers, "{ __typename }", Value::Null).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{accept}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{accept}");
        let headers = [("accept", accept), ("x-consistency-token", "no")];
        let answer = post(&world, &headers, "{ __typename }", Value::Null).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_runs_by_get_as_it_does_by_post() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    world.workspace("home", ada).await;
    let token = format!("Bearer {}", world.token(ada));
    let headers = [("authorization", token.as_str()), ("x-debug", "sql")];
    let document = "query Slug($slug: String!) { workspaceBySlug(slug: $slug) { slug } } query Me { viewer { name } }";
    let variables = json!({ "slug": "home" }).to_string();
    let parameters = [("query", document), ("operationName", "Slug"), ("variables", &variables), ("extensions", "{}")];
    let answer = get(&world, &headers, &parameters).await;
    assert_eq!(*answer.data(), json!({ "workspaceBySlug": { "slug": "home" } }));
    assert_eq!(answer.headers["content-type"], GRAPHQL);
    assert_eq!(answer.statements(), ["workspace_by_slug"]);
    let answer = get(&world, &headers, &[("operationName", "Me"), ("query", document), ("other", "x")]).await;
    assert_eq!(*answer.data(), json!({ "viewer": { "name": "ada" } }));
    // Empty is absent, and so is null.
    for absent in ["", "null"] {
        let parameters = [("query", "{ viewer { name } }"), ("variables", absent), ("extensions", absent)];
        assert_eq!(get(&world, &headers, &parameters).await.data()["viewer"]["name"], "ada");
    }
    let parameters = [("query", "{ viewer { name } }"), ("operationName", "")];
    assert_eq!(get(&world, &headers, &parameters).await.data()["viewer"]["name"], "ada");
    // As Apollo's clients send it.
    let headers = [("content-type", "application/json"), ("authorization", token.as_str())];
    assert_eq!(get(&world, &headers, &parameters).await.data()["viewer"]["name"], "ada");
    let nobody = get(&world, &[], &[("query", "{ viewer { name } }")]).await;
    assert_eq!(nobody.codes(), ["UNAUTHENTICATED"]);
    assert_eq!(nobody.headers["cache-control"], "no-store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_is_checked_as_a_post_is() {
    let world = World::new().await;
    let long = format!("{{ __typename }} #{}", "x".repeat(32_768));
    let deep = format!("{{ task(id: {}", "[".repeat(2_000));
    let doubling: Vec<String> =
        (0..28).map(|level| format!("fragment F{level} on Query {{ ...F{0} ...F{0} }}", level + 1)).collect();
    let doubling = doubling.join(" ");
    let doubling = format!("{{ ...F0 }} {doubling} fragment F28 on Query {{ __typename }}");
    let requests: [(&[(&str, &str)], &str); 14] = [
        (&[], "BAD_USER_INPUT"),
        (&[("variables", "{}")], "BAD_USER_INPUT"),
        (&[("query", "{ __typename }"), ("query", "{ __typename }")], "BAD_USER_INPUT"),
        (&[("query", "{ __typename }"), ("variables", "{}"), ("variables", "{}")], "BAD_USER_INPUT"),
        (&[("query", "{ __typename }"), ("variables", "7")], "BAD_USER_INPUT"),
        (&[("query", "{ __typename }"), ("variables", "{")], "BAD_USER_INPUT"),
        (&[("query", "{ __typename }"), ("variables", "{\"a\":1,\"a\":2}")], "BAD_USER_INPUT"),
        (&[("query", "{ __typename }"), ("extensions", "[]")], "BAD_USER_INPUT"),
        (&[("query", "{ __typename }"), ("operationName", "Other")], "BAD_USER_INPUT"),
        (&[("query", "{")], "GRAPHQL_PARSE_FAILED"),
        (&[("query", "{ nobody }")], "GRAPHQL_VALIDATION_FAILED"),
        (&[("query", &long)], "LIMIT_EXCEEDED"),
        (&[("query", &deep)], "LIMIT_EXCEEDED"),
        (&[("query", &doubling)], "LIMIT_EXCEEDED"),
    ];
    for (parameters, code) in requests {
        let answer = get(&world, &[], parameters).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
        assert_eq!(answer.codes(), [code], "{}", answer.text);
        assert!(answer.body.get("data").is_none(), "{}", answer.text);
    }
    for not_utf_8 in ["query=%FF", "query=%7B__typename%7D&variables=%ED%A0%80", "query=%C3"] {
        let answer = world.http().get(world.url(&format!("/graphql?{not_utf_8}"))).send().await.unwrap();
        let answer = Answer::of(answer).await;
        assert_eq!((answer.status, answer.codes()), (StatusCode::BAD_REQUEST, vec!["BAD_USER_INPUT"]), "{not_utf_8}");
    }
    let token = [("authorization", "Bearer no")];
    assert_eq!(get(&world, &token, &[("query", "{ __typename }")]).await.status, StatusCode::UNAUTHORIZED);
    let answer = get(&world, &[], &[("query", "subscription { __typename }")]).await;
    assert_eq!(answer.codes()[0], "GRAPHQL_VALIDATION_FAILED");
    // Which operation is run counts, not what else is in the document.
    let both = "query Q { __typename } mutation M { __typename }";
    assert!(get(&world, &[], &[("query", both), ("operationName", "Q")]).await.data().is_object());
    let answer = get(&world, &[], &[("query", both), ("operationName", "M")]).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers["allow"], "POST");
}

/// A defect in the resolver of `version`.
struct Defect;

impl ExtensionFactory for Defect {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for Defect {
    async fn resolve(
        &self,
        context: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<async_graphql::Value>> {
        assert_ne!(info.name, "version", "a defect that a test made");
        next.run(context, info).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_an_internal_error_that_names_its_request() {
    let world = World::changed(&[], |app| {
        let schema = Schema::build(Query::default(), Mutation::default(), EmptySubscription);
        app.schema = schema.data(app.limits.clone()).extension(Defect).finish();
    })
    .await;
    for accept in ["application/graphql-response+json", "application/json"] {
        let headers = [("accept", accept), ("x-request-id", "mine")];
        let answer = post(&world, &headers, "{ server { limits { maxDepth } version } }", Value::Null).await;
        let error = json!({
            "message": "Something went wrong on our side. The request id identifies the report of it.",
            "extensions": { "code": "INTERNAL", "requestId": "mine" },
        });
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", answer.text);
        assert_eq!(answer.body, json!({ "errors": [error] }));
        assert_eq!(answer.headers["x-request-id"], "mine");
        assert_eq!(answer.headers["content-type"], format!("{accept}; charset=utf-8"));
    }
    let answer = post(&world, &[], "{ server { limits { maxDepth } } }", Value::Null).await;
    assert_eq!(answer.data()["server"]["limits"]["maxDepth"], 12);
}
