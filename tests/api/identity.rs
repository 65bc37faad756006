//! Who calls: a bad token is refused without a hint, and nothing but the public fields answers without one.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};
use trellis::clock;
use trellis::entities::member::Role;
use uuid::Uuid;

use crate::catalogue::{Catalogue, IdPlace};
use crate::harness::{Answer, SECRET, World, one};

const VIEWER: &str = "{ viewer { name } }";

fn now() -> i64 {
    clock::now().timestamp()
}

/// A token with any header and claims, signed with a secret.
fn signed(header: &Value, claims: &Value, secret: &str, algorithm: Algorithm) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(secret.as_bytes());
    format!("{message}.{}", crypto::sign(message.as_bytes(), &key, algorithm).unwrap())
}

/// A token with these claims that is right in every other way.
fn with(claims: &Value) -> String {
    signed(&json!({ "alg": "HS256", "typ": "JWT" }), claims, SECRET, Algorithm::HS256)
}

/// A token with this header that is right in every other way.
fn headed(header: &Value, subject: Uuid, algorithm: Algorithm) -> String {
    signed(header, &claims(subject), SECRET, algorithm)
}

fn claims(subject: Uuid) -> Value {
    json!({ "sub": subject, "iat": now(), "exp": now() + 3_600 })
}

/// The claims with one of them changed, or removed where it is null.
fn changed(subject: Uuid, name: &str, value: Value) -> Value {
    let mut claims = claims(subject);
    let object = claims.as_object_mut().unwrap();
    if value.is_null() {
        object.remove(name);
    } else {
        object.insert(name.to_owned(), value);
    }
    claims
}

async fn ask_with(world: &World, authorization: HeaderValue) -> Answer {
    let body = json!({ "query": VIEWER });
    let request = world.http().post(world.url("/graphql")).header("authorization", authorization).json(&body);
    Answer::of(request.send().await.unwrap()).await
}

async fn ask_with_token(world: &World, token: &str) -> Answer {
    ask_with(world, HeaderValue::from_str(&format!("Bearer {token}")).unwrap()).await
}

/// The answer's text without the request's own id.
fn without_id(answer: &Answer) -> String {
    let id = answer.headers["x-request-id"].to_str().unwrap();
    assert!(answer.text.contains(id), "{}", answer.text);
    answer.text.replace(id, "…")
}

/// What is wrong, and the header that has it.
fn bad_headers(ada: Uuid) -> Vec<(&'static str, String)> {
    let good = with(&claims(ada));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("a token has three parts") };
    let other_payload = URL_SAFE_NO_PAD.encode(claims(Uuid::nil()).to_string());
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let flipped: String = signature.chars().rev().collect();
    let jwk = json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": URL_SAFE_NO_PAD.encode("attacker") } });
    let tokens = [
        ("no token", String::new()),
        ("blanks", "   ".to_owned()),
        ("not a token", "ada".to_owned()),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{good}.{signature}")),
        ("dots", "..".to_owned()),
        (
            "another secret",
            signed(&json!({ "alg": "HS256" }), &claims(ada), "another secret of 32 bytes!!!!!!", Algorithm::HS256),
        ),
        ("no secret", signed(&json!({ "alg": "HS256" }), &claims(ada), "", Algorithm::HS256)),
        ("alg none, no signature", format!("{none}.{payload}.")),
        ("alg none, the old signature", format!("{none}.{payload}.{signature}")),
        ("alg None", headed(&json!({ "alg": "None" }), ada, Algorithm::HS256)),
        ("no alg", headed(&json!({ "typ": "JWT" }), ada, Algorithm::HS256)),
        ("alg in lower case", headed(&json!({ "alg": "hs256" }), ada, Algorithm::HS256)),
        ("HS384", headed(&json!({ "alg": "HS384" }), ada, Algorithm::HS384)),
        ("HS512", headed(&json!({ "alg": "HS512" }), ada, Algorithm::HS512)),
        ("RS256 over the secret", headed(&json!({ "alg": "RS256" }), ada, Algorithm::HS256)),
        ("ES256 over the secret", headed(&json!({ "alg": "ES256" }), ada, Algorithm::HS256)),
        ("EdDSA over the secret", headed(&json!({ "alg": "EdDSA" }), ada, Algorithm::HS256)),
        ("a key of its own", signed(&jwk, &claims(ada), "attacker", Algorithm::HS256)),
        ("expired", with(&changed(ada, "exp", json!(now() - 60)))),
        ("expired long ago", with(&changed(ada, "exp", json!(1)))),
        ("exp at the epoch", with(&changed(ada, "exp", json!(0)))),
        ("exp before the epoch", with(&changed(ada, "exp", json!(-1)))),
        ("no exp", with(&changed(ada, "exp", Value::Null))),
        ("exp as a string", with(&changed(ada, "exp", json!((now() + 3_600).to_string())))),
        ("exp as a list", with(&changed(ada, "exp", json!([now() + 3_600])))),
        ("exp as true", with(&changed(ada, "exp", json!(true)))),
        ("exp without bounds", with(&changed(ada, "exp", json!(1e300)))),
        ("no sub", with(&changed(ada, "sub", Value::Null))),
        ("an empty sub", with(&changed(ada, "sub", json!("")))),
        ("a sub that is no id", with(&changed(ada, "sub", json!("ada@example.com")))),
        ("a sub that is a number", with(&changed(ada, "sub", json!(7)))),
        ("a sub that is a list", with(&changed(ada, "sub", json!([ada])))),
        ("not yet good", with(&changed(ada, "nbf", json!(now() + 120)))),
        ("nbf as a string", with(&changed(ada, "nbf", json!((now() - 60).to_string())))),
        ("no claims", with(&json!({}))),
        ("claims that are a list", with(&json!([ada]))),
        ("a cut signature", good[..good.len() - 1].to_owned()),
        ("a longer signature", format!("{good}A")),
        ("a signature backwards", format!("{header}.{payload}.{flipped}")),
        ("another payload", format!("{header}.{other_payload}.{signature}")),
        ("padding", format!("{good}=")),
        ("a blank inside", good.replacen('.', " .", 1)),
        ("two tokens", format!("{good} {good}")),
        ("two tokens and a comma", format!("{good}, {good}")),
        ("quotes", format!("\"{good}\"")),
        ("very long", "A".repeat(10_000)),
    ];
    let mut headers: Vec<_> = tokens.into_iter().map(|(what, token)| (what, format!("Bearer {token}"))).collect();
    headers.extend([
        ("no scheme", good.clone()),
        ("another scheme", format!("Token {good}")),
        ("Basic", "Basic YWRhOmFkYQ==".to_owned()),
        ("Basic with a token", format!("Basic {good}")),
        ("the scheme twice", format!("Bearer Bearer {good}")),
        ("no blank", format!("Bearer{good}")),
        ("a colon", format!("Bearer: {good}")),
        ("an empty header", String::new()),
    ]);
    headers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_token_is_refused_with_the_same_words() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    assert_eq!(ask_with_token(&world, &with(&claims(ada))).await.data()["viewer"]["name"], "ada");
    let mut headers: Vec<_> = bad_headers(ada)
        .into_iter()
        .map(|(what, header)| (what, HeaderValue::from_bytes(header.as_bytes()).unwrap()))
        .collect();
    headers.push(("not ASCII", HeaderValue::from_bytes(b"Bearer \xc3\xa9t\xc3\xa9").unwrap()));
    headers.push(("no UTF-8", HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap()));
    assert_eq!(headers.len(), 57);
    let mut first = None;
    for (what, header) in headers {
        let answer = ask_with(&world, header).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{what}: {}", answer.text);
        assert_eq!(answer.codes(), ["UNAUTHENTICATED"], "{what}");
        assert!(answer.body.get("data").is_none(), "{what}: {}", answer.text);
        let text = without_id(&answer);
        assert_eq!(first.get_or_insert(text.clone()), &text, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_may_differ_by_30_seconds_and_no_more() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    // Five seconds on either side are for a slow machine.
    for (name, offset, status) in [
        ("exp", -20, StatusCode::OK),
        ("exp", -35, StatusCode::UNAUTHORIZED),
        ("nbf", 25, StatusCode::OK),
        ("nbf", 40, StatusCode::UNAUTHORIZED),
    ] {
        let answer = ask_with_token(&world, &with(&changed(ada, name, json!(now() + offset)))).await;
        assert_eq!(answer.status, status, "{name} {offset}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_needs_no_more_than_a_subject_and_an_end() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    for claims in [
        json!({ "sub": ada, "exp": now() + 60 }),
        // Issuer and audience count where they are configured.
        json!({ "sub": ada, "exp": now() + 60, "iss": "anybody", "aud": ["any service"] }),
        json!({ "sub": ada, "exp": now() + 60, "iat": now(), "nbf": now(), "jti": "7", "name": "Ada", "roles": [] }),
    ] {
        assert_eq!(ask_with_token(&world, &with(&claims)).await.data()["viewer"]["name"], "ada");
    }
    let lower_case = HeaderValue::from_str(&format!("bearer {}", with(&claims(ada)))).unwrap();
    assert_eq!(ask_with(&world, lower_case).await.data()["viewer"]["name"], "ada");
}

/// Ids for the required arguments of every root field.
fn any_ids() -> BTreeMap<&'static str, Uuid> {
    ["id", "workspaceId", "projectId", "taskId", "assigneeId"].map(|name| (name, Uuid::nil())).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_every_root_field_but_server_and_rate_limit_is_refused() {
    let world = World::new().await;
    let catalogue = Catalogue::of(&world).await;
    let mut visited = Vec::new();
    for root in ["Query", "Mutation"] {
        for field in catalogue.fields(root) {
            let field = field["name"].as_str().unwrap().to_owned();
            if field == "server" || field == "rateLimit" {
                continue;
            }
            let place = IdPlace { root, field: field.clone(), path: Vec::new() };
            let variables = catalogue.variables(&place, &any_ids(), Uuid::nil());
            let body = json!({ "query": catalogue.document(root, &field, &[]), "variables": variables });
            let request = world.http().post(world.url("/graphql")).header("x-debug", "sql").json(&body);
            let answer = Answer::of(request.send().await.unwrap()).await;
            assert_eq!(answer.codes(), ["UNAUTHENTICATED"], "{field}: {}", answer.text);
            // The list of nodes is the one root field that cannot be null.
            let data = if field == "nodes" { Value::Null } else { json!({ &field: null }) };
            assert_eq!(answer.body["data"], data, "{field}");
            assert_eq!(answer.body["errors"][0]["path"], json!([field]));
            assert!(answer.statements().is_empty(), "{field}: {}", answer.text);
            visited.push(field);
        }
    }
    assert_eq!(visited.len(), 10 + 20, "{visited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_the_type_names_and_the_schema_need_no_token() {
    let world = World::new().await;
    for (document, pointer) in [
        ("{ __typename }", "/__typename"),
        ("mutation { __typename }", "/__typename"),
        ("{ server { version limits { maxDepth requestTimeoutMs } } }", "/server/version"),
        ("{ __schema { queryType { name } } }", "/__schema/queryType/name"),
        ("{ __type(name: \"Task\") { name } }", "/__type/name"),
    ] {
        let answer = world.ask_anonymously(document).await;
        assert!(answer.data().pointer(pointer).unwrap().is_string(), "{document}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_a_deleted_user_shows_and_changes_nothing() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", ada).await;
    world.member(home, grace, Role::Admin).await;
    let project = world.project(home, "Atlas").await;
    let task = world.task_with(project, "Draw", |task| task.assignee_id = Set(Some(ada))).await;
    let comment = world.comment(task, grace, "Yes").await;
    let member = format!("SELECT id::text FROM members WHERE user_id = '{ada}'");
    let member: String = one(&world.sql, &member).await.try_get_by_index(0).unwrap();
    world.execute(&format!("UPDATE users SET deleted_at = now() WHERE id = '{grace}'")).await;

    let document = "query($w: ID!, $p: ID!, $t: ID!) { viewer { name } workspaces { totalCount nodes { id } } \
        workspace(id: $w) { id } workspaceBySlug(slug: \"home\") { id } project(id: $p) { id } task(id: $t) { id } }";
    let answer = world.ask(grace, document, json!({ "w": home, "p": project, "t": task })).await;
    assert_eq!(
        *answer.data(),
        json!({
            "viewer": null, "workspaces": { "totalCount": 0, "nodes": [] }, "workspace": null,
            "workspaceBySlug": null, "project": null, "task": null,
        })
    );
    let below = "__typename ... on User { email assignedTasks(first: 2, orderBy: $o) { totalCount nodes { title comments(first: 2) { nodes { \
        body author { email } } } } } }";
    let document = format!(
        "query($u: ID!, $c: ID!, $ids: [ID!]!, $o: TaskOrder) {{ node(id: $u) {{ {below} }} nodes(ids: $ids) {{ {below} }} \
         comment(id: $c) {{ author {{ email }} }} }}"
    );
    let ids = json!([ada, grace, home, member, project, task, comment]);
    for field in ["CREATED_AT", "DUE_DATE"] {
        let variables = json!({ "u": ada, "c": comment, "ids": ids, "o": { "field": field, "direction": "ASC" } });
        let seen = world.ask(ada, &document, variables.clone()).await;
        assert_eq!(seen.data()["node"]["assignedTasks"]["totalCount"], 1);
        assert_eq!(seen.data()["nodes"].as_array().unwrap().iter().filter(|node| node.is_object()).count(), 6);
        let answer = world.ask(grace, &document, variables).await;
        let nothing = [(); 7].map(|()| json!(null));
        assert_eq!(*answer.data(), json!({ "node": null, "nodes": nothing, "comment": null }), "{field}");
    }

    let mutations = [
        ("projectCreate", "ProjectCreateInput", json!({ "workspaceId": home, "name": "X" }), "workspaceId"),
        ("taskCreate", "TaskCreateInput", json!({ "projectId": project, "title": "X" }), "projectId"),
        ("taskUpdate", "TaskUpdateInput", json!({ "id": task, "title": "X" }), "id"),
        ("commentCreate", "CommentCreateInput", json!({ "taskId": task, "body": "X" }), "taskId"),
    ];
    for (field, kind, input, at) in mutations {
        let document =
            format!("mutation($input: {kind}!) {{ {field}(input: $input) {{ userErrors {{ code field }} }} }}");
        let answer = world.ask(grace, &document, json!({ "input": input })).await;
        let expected = json!([{ "code": "NOT_FOUND", "field": ["input", at] }]);
        assert_eq!(answer.data()[field]["userErrors"], expected, "{field}");
    }
    let document = "mutation { workspaceCreate(input: { name: \"X\", slug: \"new\" }) { userErrors { code } } }";
    let answer = world.ask(grace, document, json!({})).await;
    assert_eq!(answer.codes(), ["UNAUTHENTICATED"]);
    assert_eq!(answer.body["data"], json!({ "workspaceCreate": null }));
}
