//! The limits of a request: each is kept to the last, is a setting, and is named with what passed it; what a document costs
//! is told; inputs of a wrong shape are refused before they cost a statement.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use reqwest::StatusCode;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use trellis::clock;
use trellis::config::Arguments;
use uuid::Uuid;

use crate::harness::{Answer, World};
use crate::instance::{run, trellis};
use crate::probe::many;

async fn world(words: &[&str]) -> (World, Uuid) {
    let world = World::with(words).await;
    let ada = world.user("ada").await;
    world.workspace("home", ada).await;
    (world, ada)
}

/// Sends a request with `X-Debug: cost, sql`.
async fn send(world: &World, user: Uuid, body: &Value) -> Answer {
    let request = world.http().post(world.url("/graphql")).bearer_auth(world.token(user));
    Answer::of(request.header("x-debug", "cost, sql").json(body).send().await.unwrap()).await
}

async fn ask(world: &World, user: Uuid, document: &str, variables: Value) -> Answer {
    send(world, user, &json!({ "query": document, "variables": variables })).await
}

/// The message of the one error of a request that was refused before anything of it was executed.
fn refused<'a>(answer: &'a Answer, code: &str) -> &'a str {
    assert_eq!(answer.codes(), [code], "{}", answer.text);
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    assert!(answer.body.get("data").is_none(), "{}", answer.text);
    answer.body["errors"][0]["message"].as_str().unwrap()
}

/// `{ workspaces { nodes { projects { … } } } }` with so many levels of fields.
fn nested(levels: usize) -> String {
    // Each step is two levels: nodes, and projects or workspace by turns.
    let mut document = String::from("{ viewer { name } ");
    let steps = ["workspaces(first: 1) {", "nodes {", "projects(first: 1) {", "nodes {", "workspace {"];
    let names = steps.into_iter().chain(["projects(first: 1) {", "nodes {", "workspace {"].into_iter().cycle());
    for step in names.take(levels - 1) {
        document.push_str(step);
    }
    document.push_str("__typename");
    document.push_str(&"}".repeat(levels));
    document
}

/// How many types the schema has of its own, and of the language: five scalars, and eight that describe types.
fn types_of_schema() -> usize {
    let kinds = ["type ", "interface ", "input ", "enum ", "scalar ", "union "];
    let lines = include_str!("../../schema.graphql").lines();
    lines.filter(|line| kinds.iter().any(|kind| line.starts_with(kind))).count() + 5 + 8
}

/// A request that comes to `count` by what a limit limits, and passes the other limits.
fn reaching(limit: &str, count: usize) -> Value {
    let many = |piece: &dyn Fn(usize) -> String| many(count, piece);
    let viewer = |selected: &str| format!("{{ viewer {{ {selected} }} }}");
    let of_tasks =
        |ids: &str| format!("{{ workspaceBySlug(slug: \"home\") {{ tasks(filter: {ids}) {{ totalCount }} }} }}");
    let document = match limit {
        "maxBodyBytes" => {
            let body =
                |padding: usize| json!({ "query": viewer("name"), "extensions": { "padding": " ".repeat(padding) } });
            return body(count - body(0).to_string().len());
        }
        "maxDocumentBytes" => viewer("name") + &" ".repeat(count - viewer("name").len()),
        "maxTokens" => viewer(&"name ".repeat(count - 5)),
        "maxNameBytes" => viewer(&format!("{}: name", "a".repeat(count))),
        // The operation and the viewer are two levels.
        "maxNesting" => {
            let chain = many(&|number| match number {
                0 | 1 => String::new(),
                _ if number == count - 1 => format!("fragment F{number} on User {{ name }} "),
                _ => format!("fragment F{number} on User {{ ...F{} }} ", number + 1),
            });
            format!("{} {chain}", viewer("...F2"))
        }
        "maxValueNesting" => {
            let value = (0..count).fold(json!(1), |value, _| json!([value]));
            return json!({ "query": viewer("name"), "variables": { "a": value } });
        }
        "maxListItems" => {
            let (document, ids) = (of_tasks("$f"), vec![clock::new_id(); count]);
            return json!({ "query": format!("query($f: TaskFilter) {document}"), "variables": { "f": { "assigneeId": ids } } });
        }
        "maxOperations" => {
            let operations = many(&|number| format!("query Q{number} {{ viewer {{ name }} }} "));
            return json!({ "query": operations, "operationName": "Q0" });
        }
        "maxVariables" => {
            let (declared, used) = (many(&|number| format!("$v{number}: ID ")), many(&|number| format!("$v{number} ")));
            format!("query({declared}) {}", of_tasks(&format!("{{ assigneeId: [{used}] }}")))
        }
        "maxDirectives" => viewer(&"name @skip(if: false) ".repeat(count)),
        "maxSelections" => {
            let fragment = format!("fragment F on User {{ {} }}", "name ".repeat(450));
            // Each spread counts 901: itself, and its fields twice. Above them is the viewer.
            format!("{} {fragment}", viewer(&format!("...F ...F {}", "name ".repeat(count - 1_803))))
        }
        "maxAliases" => viewer(&many(&|number| format!("a{number}: name "))),
        "maxRootFields" => {
            format!("{{ ...Root }} fragment Root on Query {{ {} }}", "server { version } ".repeat(count))
        }
        "maxDepth" => nested(count),
        // A page of 100 with 49 fields each, and both its own: 4,902; the viewer: 1.
        "maxComplexity" => {
            let page = format!("workspaces(first: 100) {{ nodes {{ {} }} }}", "name ".repeat(49));
            format!("{{ {page} viewer {{ {} }} }}", "name ".repeat(count - 4_903))
        }
        // One for the list of types, and those of each type.
        "maxIntrospection" => {
            let types = types_of_schema();
            let (of_each, others) = ((count - 2) / types, (count - 2) % types);
            let (of_each, others) = ("name ".repeat(of_each), "description ".repeat(others));
            format!("{{ __schema {{ {others} types {{ {of_each} }} }} }}")
        }
        "maxEstimates" => {
            let estimate = r#"estimateCost(document: "{ viewer { name } }") { depth } "#;
            format!("{{ {} }}", many(&|number| format!("e{number}: {estimate}")))
        }
        "maxPageSize" => format!("{{ workspaces(first: {count}) {{ totalCount }} }}"),
        other => panic!("a document for {other}"),
    };
    json!({ "query": document })
}

/// The limits that `server { limits }` tells.
async fn told(world: &World) -> serde_json::Map<String, Value> {
    let fields = world.ask_anonymously("{ __type(name: \"Limits\") { fields { name } } }").await;
    let fields = fields.data()["__type"]["fields"].as_array().unwrap();
    let names: Vec<_> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    let answer = world.ask_anonymously(&format!("{{ server {{ limits {{ {} }} }} }}", names.join(" "))).await;
    answer.data()["server"]["limits"].as_object().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_is_kept_to_the_last_and_named_when_it_is_passed() {
    let (world, ada) = world(&[]).await;
    let mut limits = told(&world).await;
    // What these limit is not in the request: the tests of errors, of pages and below.
    for other in ["maxErrors", "maxAnswerBytes", "requestTimeoutMs", "defaultPageSize"] {
        assert!(limits.remove(other).is_some(), "{other}");
    }
    assert_eq!(limits.len(), 18, "{limits:?}");
    for (limit, max) in limits {
        let max = usize::try_from(max.as_u64().unwrap()).unwrap();
        let answer = send(&world, ada, &reaching(&limit, max)).await;
        assert!(answer.body.get("errors").is_none(), "{limit}: {}", answer.text);
        let answer = send(&world, ada, &reaching(&limit, max + 1)).await;
        if limit == "maxPageSize" {
            assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{}", answer.text);
            continue;
        }
        let status = match limit.as_str() {
            "maxBodyBytes" => StatusCode::PAYLOAD_TOO_LARGE,
            // It is a field that is refused.
            "maxEstimates" => StatusCode::OK,
            _ => StatusCode::BAD_REQUEST,
        };
        assert_eq!((answer.status, answer.codes()), (status, vec!["LIMIT_EXCEEDED"]), "{}", answer.text);
        let message = answer.body["errors"][0]["message"].as_str().unwrap();
        let start = format!("{limit} is {max}; ");
        assert!(message.starts_with(&start) && message.contains(&format!(" {} ", max + 1)), "{message}");
    }
}

/// The option that sets a limit.
fn option(name: &str) -> String {
    let dashed = name.chars().flat_map(|c| if c.is_uppercase() { vec!['-', c.to_ascii_lowercase()] } else { vec![c] });
    format!("--{}", dashed.collect::<String>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_is_a_setting() {
    let before = told(&World::new().await).await;
    let names: Vec<&String> = before.keys().filter(|name| !name.ends_with("PageSize")).collect();
    assert_eq!(names.len(), 20);
    let other = |name: &str| if name == "maxNesting" { 63 } else { before[name].as_u64().unwrap() + 1 };
    let words: Vec<String> = names.iter().flat_map(|name| [option(name), other(name).to_string()]).collect();
    let after = told(&World::with(&words.iter().map(String::as_str).collect::<Vec<_>>()).await).await;
    for name in names {
        assert_eq!(after[name], json!(other(name)), "{name}");
    }
}

/// The sources of a directory and of those in it.
fn sources(directory: &Path) -> Vec<(PathBuf, String)> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let files = files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap()));
    files.chain(directories.iter().flat_map(|directory| sources(directory))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_limit_that_a_refusal_can_name_is_told_to_clients_and_a_setting() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut named, mut refusing) = (BTreeSet::new(), BTreeSet::new());
    for (path, text) in sources(&source) {
        let path = path.strip_prefix(&source).unwrap().to_str().unwrap();
        // What makes such an error names the limit first.
        let calls = text.replace("fn within(", "");
        let in_guard = calls.split("within(").skip(1).filter(|_| path.starts_with("guard"));
        let in_guard = in_guard.map(|call| call.trim_start().strip_prefix('"').expect("the name of a limit"));
        let elsewhere = text.split("format!(\"max").skip(1).filter(|_| path.starts_with("http"));
        named.extend(in_guard.map(|call| call.split('"').next().unwrap().to_owned()));
        named.extend(elsewhere.map(|rest| format!("max{}", rest.split(' ').next().unwrap())));
        if text.contains("Error::LimitExceeded(") || text.contains(" Code::LimitExceeded") {
            refusing.insert(path.to_owned());
        }
    }
    assert_eq!(refusing, ["error.rs", "guard.rs", "http/request.rs"].map(str::to_owned).into());
    assert!(named.len() >= 17, "{named:?}");
    let told = told(&World::new().await).await;
    let help = Arguments::command().render_long_help().to_string();
    for name in named {
        assert!(told.contains_key(&name), "server {{ limits {{ {name} }} }}");
        assert!(help.contains(&format!("      {} <", option(&name))), "--help: {}", option(&name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_may_be_smaller_than_a_document_stops_the_start() {
    let words = ["serve", "--database-url", "postgres://nowhere", "--max-body-bytes", "32767"];
    run(trellis().args(words)).await.assert_refused(&["TRELLIS_MAX_BODY_BYTES is 32767", "32768"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_tells_the_dearest_path_and_how_to_mend_it() {
    let (world, ada) = world(&[]).await;
    for (document, message) in [
        (
            "{ viewer { name } mine: workspaces { nodes { name ...Tasks } } } \
             fragment Tasks on Workspace { members { totalCount } tasks(first: 100) { nodes { title id } } }",
            "maxComplexity is 5000; the answer may hold 5129 fields, most of them at mine.nodes.tasks.nodes.title. \
             Ask for smaller pages, or for fewer fields.",
        ),
        (
            "{ viewer { name } workspaces { nodes { projects { nodes { workspace { projects { nodes { workspace { projects \
             { nodes { workspace { projects { totalCount } } } } } } } } } } } } }",
            "maxDepth is 12; the fields nest 13 deep, at workspaces.nodes.projects.nodes.workspace.projects.nodes.workspace\
             .projects.nodes.workspace.projects.totalCount. Ask for what is deeper in another request, by id.",
        ),
        (
            "{ a: viewer { name } ...R } fragment R on Query { server { version } ...S ...S ...S ...S ...S ...S } \
             fragment S on Query { server { version } viewer { id } }",
            "maxRootFields is 10; the operation selects 14 root fields. Ask for less at once, or in several requests.",
        ),
    ] {
        assert_eq!(refused(&ask(&world, ada, document, json!({})).await, "LIMIT_EXCEEDED"), message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_holds_ten_errors_at_most() {
    let (world, ada) = world(&[]).await;
    let unknown = many(50, &|number| format!("nobody{number} "));
    let answer = ask(&world, ada, &format!("{{ viewer {{ {unknown} }} }}"), json!({})).await;
    assert_eq!(answer.codes(), ["GRAPHQL_VALIDATION_FAILED"; 10]);
    let bad = many(10, &|number| format!("t{number}: task(id: \"7\") {{ id }} "));
    let nested = format!("{{ {bad} }}").replace("t9: task(id: \"7\") { id }", "viewer { name }");
    assert_eq!(ask(&world, ada, &nested, json!({})).await.codes(), ["BAD_USER_INPUT"; 9]);
    let long = format!(
        "{{ workspaceBySlug(slug: \"home\") {{ tasks(filter: {{ status: \"{}\" }}) {{ totalCount }} }} }}",
        "x".repeat(9_000)
    );
    let answer = ask(&world, ada, &long, json!({})).await;
    assert!(refused(&answer, "BAD_USER_INPUT").len() < 510, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_operations_that_call_their_large_variable_alike_are_no_larger_than_one() {
    let (world, ada) = world(&[]).await;
    let operation = |number| format!("query Q{number}($v: String!) {{ workspaceBySlug(slug: $v) {{ id }} }} ");
    let body = |document: String| json!({ "query": document, "variables": { "v": "x".repeat(100_000) }, "operationName": "Q3" });
    let answer = send(&world, ada, &body(many(10, &operation))).await;
    assert_eq!(answer.data(), &json!({ "workspaceBySlug": null }));
    let thrice =
        operation(3).replace("{ id }", "{ id } ...F ...F") + "fragment F on Query { workspaceBySlug(slug: $v) { id } }";
    let answer = send(&world, ada, &body(thrice)).await;
    assert!(
        refused(&answer, "LIMIT_EXCEEDED").starts_with("maxBodyBytes is 131072; the variables come to 2000"),
        "{}",
        answer.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_holds_so_many_bytes_of_long_texts() {
    let (world, ada) = world(&["--max-answer-bytes", "200000"]).await;
    let task = world.task(world.project(world.workspace("away", ada).await, "P").await, "T").await;
    let comment = world.comment(task, ada, "x").await;
    let texts = format!(
        "UPDATE tasks SET description = repeat('d', 50000) WHERE id = '{task}';
         UPDATE comments SET body = repeat('b', 50000) WHERE id = '{comment}'"
    );
    world.sql.execute_unprepared(&texts).await.unwrap();
    let document = |descriptions: usize| {
        let descriptions = many(descriptions, &|number| format!("d{number}: description "));
        format!("query($id: ID!) {{ task(id: $id) {{ {descriptions} comments {{ nodes {{ id body }} }} }} }}")
    };
    let answer = ask(&world, ada, &document(3), json!({ "id": task })).await;
    assert_eq!(answer.data()["task"]["comments"]["nodes"][0]["body"].as_str().unwrap().len(), 50_000);
    let answer = ask(&world, ada, &document(30), json!({ "id": task })).await;
    assert!(
        answer.codes().len() == 10 && answer.codes().iter().all(|code| *code == "LIMIT_EXCEEDED"),
        "{}",
        answer.text
    );
    assert!(answer.text.len() < 210_000, "{} bytes", answer.text.len());
    let message = answer.body["errors"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("maxAnswerBytes is 200000; the long texts of the answer have 250000 bytes"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_document_costs_is_told_on_request_and_before_it_is_sent() {
    let (world, ada) = world(&[]).await;
    let page = "query($n: Int = 4) { workspaces(first: $n) { totalCount nodes { name tasks { nodes { title } } } } }";
    // 3, and for each row 3 and a page of 25 titles; a page that nothing is said about counts as 25.
    for (variables, complexity) in
        [(json!({}), 3 + 4 * 28), (json!({ "n": 10 }), 3 + 10 * 28), (json!({ "n": null }), 3 + 25 * 28)]
    {
        let answer = ask(&world, ada, page, variables.clone()).await;
        answer.data();
        let cost = json!({ "complexity": complexity, "depth": 5, "maxComplexity": 5_000, "maxDepth": 12 });
        assert_eq!(answer.body["extensions"]["cost"], cost, "{variables}");
        let estimate = "query($d: String!, $v: JSON) { estimateCost(document: $d, variables: $v) \
            { complexity depth maxComplexity maxDepth } }";
        let answer = ask(&world, ada, estimate, json!({ "d": page, "v": variables })).await;
        assert_eq!(answer.data()["estimateCost"], cost);
        assert!(answer.statements().is_empty());
    }
    let unasked = world.http().post(world.url("/graphql")).json(&json!({ "query": "{ __typename }" }));
    assert!(Answer::of(unasked.send().await.unwrap()).await.body.get("extensions").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_estimate_runs_nothing_tells_what_is_too_dear_and_is_guarded_itself() {
    let (world, ada) = world(&[]).await;
    let estimate = |document: &str| {
        json!({
            "query": "query($d: String!) { estimateCost(document: $d) { complexity depth } }", "variables": { "d": document },
        })
    };
    let write =
        "mutation { workspaceCreate(input: { name: \"X\", slug: \"xx\" }) { userErrors { code } workspace { id } } }";
    let answer = send(&world, ada, &estimate(write)).await;
    assert_eq!(answer.data()["estimateCost"], json!({ "complexity": 14, "depth": 3 }));
    let found = ask(&world, ada, "{ workspaceBySlug(slug: \"xx\") { id } }", json!({})).await;
    assert_eq!(found.data(), &json!({ "workspaceBySlug": null }));
    let dear = "{ workspaces(first: 100) { nodes { tasks(first: 100) { nodes { title } } } } }";
    let answer = send(&world, ada, &estimate(dear)).await;
    assert_eq!(answer.data()["estimateCost"], json!({ "complexity": 2 + 100 * (2 + 100), "depth": 5 }));
    // A variable that the operation does not declare counts no more than if it were sent.
    let estimated = "query($d: String!, $v: JSON) { estimateCost(document: $d, variables: $v) { complexity } }";
    for (declared, complexity) in [("$a: [ID!]!", 1 + 3), ("$b: [ID!]", 1 + 1)] {
        let variables =
            json!({ "d": format!("query({declared}) {{ nodes(ids: $a) {{ id }} }}"), "v": { "a": [1, 2, 3] } });
        let answer = ask(&world, ada, estimated, variables).await;
        assert_eq!(answer.data()["estimateCost"]["complexity"], json!(complexity), "{declared}");
    }
    for (document, code) in [
        ("{ viewer {", "GRAPHQL_PARSE_FAILED"),
        (&"[".repeat(30_000), "LIMIT_EXCEEDED"),
        ("query A { viewer { name } } query B { viewer { name } }", "BAD_USER_INPUT"),
        ("{ viewer { ...F } } fragment F on User { ...F }", "GRAPHQL_VALIDATION_FAILED"),
    ] {
        let answer = send(&world, ada, &estimate(document)).await;
        assert_eq!(answer.codes(), [code], "{document}");
        assert_eq!(answer.body["data"], json!({ "estimateCost": null }));
    }
    let twice = "{ a: estimateCost(document: \"{ viewer { name } }\") { depth } b: estimateCost(document: \"{ x }\") { depth } }";
    let answer = ask(&world, ada, twice, json!({})).await;
    assert_eq!(answer.codes(), ["LIMIT_EXCEEDED"]);
}

/// How many fields an answer holds.
fn fields(value: &Value) -> u64 {
    match value {
        Value::Object(object) => object.values().map(|value| 1 + fields(value)).sum(),
        Value::Array(items) => items.iter().map(fields).sum(),
        _ => 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_holds_more_fields_than_its_complexity() {
    let (world, ada) = world(&[]).await;
    let home = world.workspace("full", ada).await;
    world.fill(home, ada, [4, 6, 3]).await;
    let report = "report { totals { open } byStatus { status count } byPriority { priority count } \
        byAssignee(first: 2) { count } byProject(first: 4) { count } overdue { __typename } }";
    let ids = {
        let answer =
            ask(&world, ada, "{ workspaceBySlug(slug: \"full\") { tasks(first: 5) { nodes { id } } } }", json!({}))
                .await;
        answer.data()["workspaceBySlug"]["tasks"]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["id"].to_string())
            .collect::<Vec<_>>()
    };
    world.execute(&format!("UPDATE tasks SET assignee_id = NULL WHERE id = '{}'", ids[0].trim_matches('"'))).await;
    world.replicated().await;
    let missing: Vec<_> = (0..100).map(|_| format!("\"{}\"", clock::new_id())).collect();
    let range = "from: \"2025-01-01T00:00:00Z\", interval: DAY, to:";
    let full = |selected: &str| format!("{{ workspaceBySlug(slug: \"full\") {{ {selected} }} }}");
    // A list of a known length is counted exactly where it is full.
    for (document, is_full) in [
        (full("projects(first: 4) { nodes { name tasks(first: 6) { nodes { title comments(first: 3) { nodes { body } } } } } }"), true),
        (full("projects(last: 3) { totalCount edges { cursor node { name } } pageInfo { hasNextPage } }"), true),
        (full("projects(first: 4) { nodes { board(first: 2) { status tasks { nodes { title } } } } }"), false),
        (full("...P ...P } } fragment P on Workspace { a: projects(first: 2) { ...C } b: projects(first: 3) { ...C } } \
               fragment C on ProjectConnection { nodes { name id } } fragment X on Workspace { name").replace(" fragment X on Workspace { name } }", ""), false),
        (full(report), false),
        (full("report { byAssignee(first: 2) { count open completed overdue } }"), true),
        (full("report { byAssignee(first: 1) { assignee { name } a: count b: count c: count d: count e: count } }"), false),
        (full("report { throughput { start created completed } }"), false),
        (full("report { throughput(first: 12) { start created completed } }"), true),
        (full(&format!("report {{ throughput({range} \"2025-01-26T00:00:00Z\") {{ start created completed }} }}")), true),
        (full(&format!("report {{ throughput({range} \"2025-04-11T00:00:00Z\", first: 100) {{ start created }} }}")), true),
        (format!("mutation {{ tasksUpdate(input: {{ ids: [{}] }}) {{ userErrors {{ code message field }} }} }}", missing.join(" ")), true),
        (format!("{{ nodes(ids: [{}]) {{ id ... on Task {{ title }} }} }}", ids.join(" ")), true),
        (full("tasks { nodes { title } }"), false),
    ] {
        let answer = ask(&world, ada, &document, json!({})).await;
        let (held, told) = (fields(answer.data()), answer.body["extensions"]["cost"]["complexity"].as_u64().unwrap());
        assert!(held > 8, "{document}: {}", answer.text);
        assert!(if is_full { held == told } else { held <= told }, "{document}: {held} fields, complexity {told}");
    }
}

#[test]
fn every_list_of_objects_in_the_schema_has_a_length() {
    let schema = include_str!("../../schema.graphql");
    let (mut seen, mut of_pages, mut wrong) = (0, BTreeSet::new(), Vec::new());
    for block in schema.split("\ntype ").skip(1) {
        let name = block.split([' ', '\n']).next().unwrap();
        let body = block.split("\n}").next().unwrap();
        let mut arguments = String::new();
        for line in body.lines().filter(|line| !line.trim_start().starts_with('"')) {
            if line.starts_with("    ") {
                arguments.push_str(line);
            }
            let is_list = line.contains(": [") && !line.starts_with("    ") && !line.contains("[String!]");
            if is_list {
                seen += 1;
                let is_sized =
                    arguments.contains("first: Int") || arguments.contains(": [") || line.contains("@listSize");
                if name.ends_with("Connection") {
                    of_pages.insert(line.split(':').next().unwrap().trim());
                } else if !is_sized {
                    wrong.push(format!("{name}: {line}"));
                }
            }
            if line.starts_with("  ") && !line.starts_with("    ") && !line.trim_end().ends_with('(') {
                arguments.clear();
            }
        }
    }
    assert!(seen >= 25, "{seen}");
    assert_eq!(of_pages, BTreeSet::from(["edges", "nodes"]));
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_of_a_wrong_shape_is_refused_before_any_statement() {
    let (world, ada) = world(&[]).await;
    let of_tasks =
        |arguments: &str| format!("{{ workspaceBySlug(slug: \"home\") {{ tasks({arguments}) {{ totalCount }} }} }}");
    let with = |declared: &str| format!("query({declared}) {}", of_tasks("filter: $f"));
    for (document, variables) in [
        (of_tasks("filter: \"TODO\""), json!({})),
        (of_tasks("filter: TODO"), json!({})),
        (of_tasks("filter: 7"), json!({})),
        (of_tasks("filter: [\"TODO\"]"), json!({})),
        (of_tasks("orderBy: CREATED_AT"), json!({})),
        (of_tasks("filter: { dueDate: { from: 1 } }"), json!({})),
        (of_tasks("first: 3000000000"), json!({})),
        (with("$f: TaskFilter = \"TODO\""), json!({})),
        (with("$f: TaskFilter"), json!({ "f": "TODO" })),
        (with("$f: TaskFilter"), json!({ "f": 7 })),
        (with("$f: TaskFilter"), json!({ "f": ["TODO"] })),
        (with("$f: TaskFilter"), json!({ "f": { "state": [] } })),
        (
            "mutation($i: TaskUpdateInput!) { taskUpdate(input: $i) { userErrors { code } } }".to_owned(),
            json!({ "i": "x" }),
        ),
        ("mutation { taskUpdate(input: \"x\") { userErrors { code } } }".to_owned(), json!({})),
    ] {
        let answer = ask(&world, ada, &document, variables.clone()).await;
        refused(&answer, "BAD_USER_INPUT");
    }
    for (document, variables) in [
        (of_tasks("filter: null"), json!({})),
        (of_tasks("filter: { status: TODO }"), json!({})),
        (with("$f: TaskFilter"), json!({ "f": null })),
        (with("$f: TaskFilter = { status: [TODO] }"), json!({})),
    ] {
        ask(&world, ada, &document, variables).await.data();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_of_a_variable_of_no_known_type_is_refused_and_no_defect() {
    let (world, ada) = world(&[]).await;
    for variables in ["$a: [Missing] = [1]", "$a: [[Missing!]!]! = [[1]]", "$a: Missing = 1", "$a: [Missing]"] {
        for document in ["query A(@) { viewer { name } }", "query A { viewer { name } } query B(@) { viewer { id } }"] {
            let body = json!({ "query": document.replace('@', variables), "operationName": "A" });
            let answer = send(&world, ada, &body).await;
            assert_eq!(refused(&answer, "GRAPHQL_VALIDATION_FAILED"), "Unknown type \"Missing\".", "{variables}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_tools_ask_about_the_schema_passes_and_what_has_no_end_does_not() {
    let (world, ada) = world(&[]).await;
    let whole = include_str!("introspection.graphql");
    // Older tools leave options out, or go a few types less deep.
    let older =
        whole.replace("(includeDeprecated: true)", "").replace("isRepeatable", "").replace("specifiedByURL", "");
    for document in [whole, &older] {
        let answer = ask(&world, ada, document, json!({})).await;
        assert!(answer.data()["__schema"]["types"].as_array().unwrap().len() > 80);
    }
    let types_of_types = |levels: usize, names: usize| {
        let (open, close) = ("fields { type { ofType { ".repeat(levels), "} } }".repeat(levels));
        format!("{{ __schema {{ types {{ {open} {} {close} }} }} }}", "name ".repeat(names))
    };
    ask(&world, ada, &types_of_types(2, 1), json!({})).await.data();
    // What describes types is of such types too.
    let itself = |levels: usize| {
        let (open, close) = ("fields { type { ofType { ofType { ".repeat(levels), "} } } }".repeat(levels));
        format!("{{ __type(name: \"__Type\") {{ {open} name {close} }} }}")
    };
    ask(&world, ada, &itself(4), json!({})).await.data();
    for document in [
        &itself(8),
        &itself(15),
        &types_of_types(3, 200),
        &format!("{{ __schema {{ types {{ {} }} }} }}", "name ".repeat(1_000)),
        &format!("{{ __type(name: \"Mutation\") {{ fields {{ args {{ {} }} }} }} }}", "name ".repeat(1_900)),
    ] {
        let answer = ask(&world, ada, document, json!({})).await;
        assert!(refused(&answer, "LIMIT_EXCEEDED").starts_with("maxIntrospection is "), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn introspection_and_suggestions_are_switched_together() {
    for (setting, is_on) in [("true", true), ("false", false)] {
        let (world, ada) = world(&["--introspection", setting]).await;
        for document in [
            "{ __schema { queryType { name } } }",
            "{ __type(name: \"Task\") { name } }",
            "query($n: String!) { __type(name: $n) { name } }",
            "{ ...F } fragment F on Query { viewer { name } __schema { queryType { name } } }",
        ] {
            let answer = ask(&world, ada, document, json!({ "n": "Task" })).await;
            if is_on {
                answer.data();
            } else {
                assert_eq!(
                    refused(&answer, "GRAPHQL_VALIDATION_FAILED"),
                    "Introspection is switched off; whoever runs this server has the schema."
                );
            }
        }
        for document in [
            "{ viewer { nam } }",
            "{ tasks { id } }",
            "{ workspaceBySlug(slog: 1) { id } }",
            "{ workspaces(firs: 1) { totalCount } }",
        ] {
            let answer = ask(&world, ada, document, json!({})).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST);
            assert_eq!(answer.text.contains("Did you mean"), is_on, "{}", answer.text);
        }
        assert_eq!(
            ask(&world, ada, "{ __typename viewer { __typename } }", json!({})).await.data()["viewer"]["__typename"],
            "User"
        );
        let text = world.http().get(world.url("/schema.graphql")).send().await.unwrap();
        assert_eq!(text.status(), if is_on { StatusCode::OK } else { StatusCode::NOT_FOUND });
    }
}
