//! GraphQL over HTTP: media types, status codes, GET, other origins, compression, headers.
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use std::io::Read;
use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextResolve, ResolveInfo};
use async_graphql::{EmptySubscription, PathSegment, ServerResult, async_trait};
use flate2::read::GzDecoder;
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use trellis::clock;
use trellis::database::{Command, Exchange};
use trellis::error::{Failure, UserError};
use trellis::schema::session::Session;
use trellis::schema::{Mutation, Query, Schema};

use crate::harness::{Answer, World, eventually};
use crate::instance::{run, trellis};
use crate::metrics::scrape;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_listed_origins_may_call_and_others_may_not() {
    let world = World::with(&["--cors-origins", "https://app.example,http://localhost:3000"]).await;
    let preflight = async |world: &World, origin: &str| {
        let request = world.http().request(reqwest::Method::OPTIONS, world.url("/graphql"));
        let request = request.header("origin", origin).header("access-control-request-method", "POST");
        let request = request.header("access-control-request-headers", "authorization,content-type");
        Answer::of(request.send().await.unwrap()).await
    };
    let header = |answer: &Answer, name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    for origin in ["https://app.example", "http://localhost:3000"] {
        let answer = preflight(&world, origin).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(header(&answer, "access-control-allow-origin").as_deref(), Some(origin));
        assert_eq!(header(&answer, "access-control-allow-methods").as_deref(), Some("GET,POST"));
        assert_eq!(header(&answer, "access-control-allow-headers").as_deref(), Some("authorization,content-type"));
        assert_eq!(header(&answer, "access-control-max-age").as_deref(), Some("7200"));
        assert_eq!(header(&answer, "access-control-allow-credentials"), None);
        // Also where it is refused: the page is to see why.
        for (document, status) in [("{ __typename }", StatusCode::OK), ("{", StatusCode::BAD_REQUEST)] {
            let answer = post(&world, &[("origin", origin)], document, Value::Null).await;
            assert_eq!(answer.status, status);
            assert_eq!(header(&answer, "access-control-allow-origin").as_deref(), Some(origin));
            assert!(header(&answer, "access-control-expose-headers").unwrap().contains("x-request-id"));
            assert!(answer.headers.get_all("vary").iter().any(|vary| vary.to_str().unwrap().contains("origin")));
        }
    }
    let strict = World::new().await;
    let strangers =
        ["https://evil.example", "https://app.example.evil.example", "http://app.example", "https://app.example:8443"];
    for (world, origin) in strangers
        .into_iter()
        .chain(["null", ""])
        .map(|origin| (&world, origin))
        .chain([(&strict, "https://app.example")])
    {
        let answer = preflight(world, origin).await;
        assert_eq!(header(&answer, "access-control-allow-origin"), None, "{origin}");
        let answer = post(world, &[("origin", origin)], "{ __typename }", Value::Null).await;
        assert_eq!(header(&answer, "access-control-allow-origin"), None, "{origin}");
    }
    // The page holds a token, and no other origin may read it.
    let page = world.http().get(world.url("/")).header("origin", "https://app.example").send().await.unwrap();
    assert_eq!(page.headers().get("access-control-allow-origin"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_no_browser_sends_stops_the_start() {
    let never_sent = [
        "*",
        "null",
        "app.example",
        "https://app.example/",
        "https://App.example",
        "https://app.example:443",
        "http://app.example:80",
        "https://*.app.example",
        "https://ada@app.example",
        "ftp://app.example",
        "https://",
    ];
    for origin in never_sent {
        let ended = run(trellis().args(["schema", "--cors-origins", origin])).await;
        ended.assert_refused(&["--cors-origins", "an origin is a scheme"]);
    }
    for origin in ["https://app.example", "http://localhost:3000", "https://b.example, http://[::1]:5173"] {
        assert_eq!(run(trellis().args(["schema", "--cors-origins", origin])).await.code, Some(0), "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_is_compressed_as_the_client_takes_it() {
    let world = World::new().await;
    let document = "{ __schema { types { name fields { name description } } } }";
    let plain = post(&world, &[], document, Value::Null).await;
    assert!(plain.headers.get("content-encoding").is_none());
    for (accept, coding) in [
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("gzip;q=0.5, br;q=1", Some("br")),
        ("gzip, br;q=0", Some("gzip")),
        ("identity", None),
        ("zstd", None),
        ("gzip;q=0", None),
    ] {
        let request = world.http().post(world.url("/graphql")).header("accept-encoding", accept);
        let answer = request.json(&json!({ "query": document })).send().await.unwrap();
        assert_eq!(answer.headers().get("content-encoding").map(|coding| coding.to_str().unwrap()), coding, "{accept}");
        assert!(answer.headers().get_all("vary").iter().any(|vary| vary == "accept-encoding"), "{accept}");
        let bytes = answer.bytes().await.unwrap();
        match coding {
            None => assert_eq!(bytes, plain.text.as_bytes(), "{accept}"),
            Some(_) => assert!(bytes.len() * 5 < plain.text.len(), "{accept}: {} of {}", bytes.len(), plain.text.len()),
        }
        if coding == Some("gzip") {
            let mut unpacked = String::new();
            GzDecoder::new(&bytes[..]).read_to_string(&mut unpacked).unwrap();
            assert_eq!(unpacked, plain.text);
        }
    }
    let small = post(&world, &[("accept-encoding", "gzip, br")], "{ __typename }", Value::Null).await;
    assert!(small.headers.get("content-encoding").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_is_not_sent_again_to_who_has_it() {
    let world = World::new().await;
    let url = world.url("/schema.graphql");
    let first = Answer::of(world.http().get(&url).send().await.unwrap()).await;
    assert_eq!(first.text, trellis::schema::sdl());
    let tag = first.headers["etag"].to_str().unwrap();
    assert!(tag.starts_with("W/\""), "{tag}");
    let strong = tag.trim_start_matches("W/");
    for known in [tag, strong, "*", &format!("\"other\", {tag}")] {
        let answer = world.http().get(&url).header("if-none-match", known).header("accept-encoding", "gzip");
        let answer = Answer::of(answer.send().await.unwrap()).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{known}");
        assert_eq!(answer.headers["etag"], tag);
    }
    for other in ["\"other\"", "", &strong[1..]] {
        let answer = Answer::of(world.http().get(&url).header("if-none-match", other).send().await.unwrap()).await;
        assert_eq!((answer.status, answer.text.len()), (StatusCode::OK, first.text.len()), "{other}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_tells_browsers_what_not_to_do() {
    let world = World::new().await;
    let paths = ["/", "/graphql", "/graphql?query={__typename}", "/schema.graphql", "/livez", "/readyz", "/nowhere"];
    for path in paths {
        for method in [reqwest::Method::GET, reqwest::Method::DELETE, reqwest::Method::OPTIONS] {
            let told = format!("{method} {path}");
            let answer = world.http().request(method, world.url(path)).send().await.unwrap();
            let headers = answer.headers();
            for (name, value) in [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")] {
                assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), [value], "{told}");
            }
            let policies: Vec<_> = headers.get_all("content-security-policy").iter().collect();
            assert_eq!(policies.len(), 1, "{told}");
            let policy = policies[0].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; "), "{told}: {policy}");
            assert!(policy.contains("frame-ancestors 'none'"), "{told}: {policy}");
            assert!(!policy.contains("script-src 'unsafe") && !policy.contains('*'), "{told}: {policy}");
            assert!(headers.contains_key("x-request-id"), "{told}");
        }
    }
}

/// A command that never comes to its statements.
#[derive(Serialize)]
struct Defective;

impl Command for Defective {
    type Output = ();
    const NAME: &'static str = "defective";

    fn faults(&self) -> Vec<UserError> {
        Vec::new()
    }

    fn exchange(&self) -> Exchange<()> {
        panic!("a defect that a test made");
    }
}

/// A defect in the resolver of `version`, and in the command of `commentCreate`.
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
        if info.name == "commentCreate" {
            let written = context.data_unchecked::<Session>().execute(Vec::new(), Defective, None).await;
            let Err(Failure::Failed(error)) = written else { panic!("it cannot have been written: {written:?}") };
            let mut error = async_graphql::Error::from(error).into_server_error(info.field.name.pos);
            error.path = vec![PathSegment::Field("commentCreate".to_owned())];
            return Err(error);
        }
        next.run(context, info).await
    }
}

/// A server with these defects.
async fn defective() -> World {
    World::changed(&[], |app| {
        let schema = Schema::build(Query::default(), Mutation::default(), EmptySubscription);
        app.schema = schema.data(Arc::clone(&app.guard)).extension(Defect).finish();
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_an_internal_error_that_names_its_request_and_is_counted() {
    let world = defective().await;
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
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    let answer = post(&world, &[], "{ server { limits { maxDepth } } }", Value::Null).await;
    assert_eq!(answer.data()["server"]["limits"]["maxDepth"], 12);
    assert_eq!(scrape(&world).await["trellis_panics_total"], 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_the_task_of_a_command_is_an_internal_error_and_is_counted() {
    let world = defective().await;
    let ada = world.user("ada").await;
    let document = "mutation($id: ID!) { commentCreate(input: { taskId: $id, body: \"B\" }) { comment { id } } }";
    for panics in [1.0, 2.0] {
        let answer = world.ask(ada, document, json!({ "id": clock::new_id() })).await;
        assert_eq!(answer.codes(), ["INTERNAL"], "{}", answer.text);
        assert_eq!(answer.statements(), ["begin"]);
        assert_eq!(scrape(&world).await["trellis_panics_total"], panics);
    }
    // Its transaction is undone, and its connection is as good as any.
    eventually("no connection is in use", async || {
        let in_use = scrape(&world).await["trellis_pool_connections{door=\"primary\",state=\"in_use\"}"];
        if in_use == 0.0 { Ok(()) } else { Err(in_use) }
    })
    .await;
    world.ask(ada, "{ viewer { name } }", json!({})).await.data();
}
