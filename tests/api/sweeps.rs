//! Hostile requests by the thousand, against the built binary: it lives, it gives back its memory, no answer is a fault of
//! its own, and none costs more CPU than it may.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::harness::World;
use crate::mutations::Stage;
use crate::probe::{MAX_CPU_MS, Probe, Sweep, many};

/// Levels: small ones, those about each limit, and those that overflow the stack of a parser without one.
const LEVELS: [usize; 16] = [1, 10, 31, 32, 33, 63, 64, 65, 100, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 100_000];

async fn world() -> (World, Uuid) {
    let world = World::new().await;
    let ada = world.user("ada").await;
    world.workspace("home", ada).await;
    (world, ada)
}

/// Documents that nest so deep, each in another part of the grammar.
fn nested(levels: usize) -> Vec<(&'static str, String)> {
    let around = |before: &str, open: &str, within: &str, close: &str, after: &str| {
        format!("{before}{}{within}{}{after}", open.repeat(levels), close.repeat(levels))
    };
    vec![
        ("selection sets", around("", "{viewer", "{name}", "}", "")),
        ("inline fragments", around("{viewer", "{...on User", "{name}", "}", "}")),
        ("lists", around("{task(id:", "[", "1", "]", "){id}}")),
        ("objects", around("{task(id:", "{a:", "1", "}", "){id}}")),
        ("types", around("query($a:", "[", "Int", "]", "){viewer{name}}")),
        ("values of directives", around("{viewer{name @skip(if:", "[", "true", "]", ")}}")),
        ("defaults", around("query($a:Int=", "[", "1", "]", "){viewer{name}}")),
        ("parentheses", around("{viewer", "(a:", "1", ")", "{name}}")),
        ("lists without an end", around("{task(id:", "[", "", "", "")),
        ("objects without an end", around("{task(id:", "{a:", "", "", "")),
        ("selection sets without an end", around("", "{viewer", "", "", "")),
        // The parser reads a block string without an end as an empty string and the beginning of another one.
        ("lists behind a string without an end", around("{task(id:[\"\"\"\" ", "[", "1", "]", "]){id}}")),
        ("fragments", fragments(levels, 1, "name")),
    ]
}

/// Fragments on the viewer of which each spreads the next one so many times; the last one has the leaf.
fn fragments(levels: usize, times: usize, leaf: &str) -> String {
    let mut document = String::from("{viewer{...F0}}");
    for level in 0..levels {
        let spread = format!("...F{} ", level + 1).repeat(times);
        write!(document, "fragment F{level} on User{{{spread}}}").unwrap();
    }
    write!(document, "fragment F{levels} on User{{{leaf}}}").unwrap();
    document
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nesting_of_every_kind_is_refused_before_it_costs_anything() {
    let (world, ada) = world().await;
    let probe = Probe::start(&world, ada, &[]).await;
    let mut sweep = Sweep::new("nesting");
    for levels in LEVELS {
        for (kind, document) in nested(levels) {
            sweep.add(probe.ask(format!("{levels} {kind}"), &document, json!({})).await);
        }
        for (kind, open, close) in [("lists", "[", "]"), ("objects", "{\"a\":", "}"), ("lists without an end", "[", "")]
        {
            let (open, close) = (open.repeat(levels), close.repeat(levels));
            let body = format!(r#"{{"query":"query($a:[ID!]){{viewer{{name}}}}","variables":{{"a":{open}1{close}}}}}"#);
            sweep.add(probe.send(format!("{levels} {kind} in a variable"), body.as_bytes()).await);
        }
        probe.assert_alive().await;
    }
    sweep.finish(16 * 16);
    probe.assert_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_kilobytes_of_nested_values_do_not_end_the_process() {
    let (world, ada) = world().await;
    let probe = Probe::start(&world, ada, &[]).await;
    // The library alone takes these apart by a recursion that overflows the stack of a worker.
    let documents = nested(2_000).into_iter().filter(|(kind, _)| ["lists", "objects"].contains(kind));
    let mut sizes = Vec::new();
    for (kind, document) in documents {
        sizes.push(document.len());
        let outcome = probe.ask(kind, &document, json!({})).await;
        assert_eq!(outcome.status, 400, "{kind}");
        let message = outcome.body["errors"][0]["message"].as_str().unwrap();
        assert!(message.starts_with("maxTokens is 2000; "), "{message}");
        probe.assert_alive().await;
    }
    assert_eq!(sizes, [4_016, 8_016]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_hundred_bytes_of_fragments_cost_no_second_of_cpu() {
    let (world, ada) = world().await;
    let probe = Probe::start(&world, ada, &[]).await;
    // The library alone writes the fragments out: 2^20 and 8^7 spreads.
    for (levels, times, bytes) in [(20, 2, 835), (7, 8, 621)] {
        let document = fragments(levels, times, "name");
        assert!(document.len() < bytes, "{}", document.len());
        let outcome = probe.ask(format!("{levels} levels of {times}"), &document, json!({})).await;
        assert_eq!(outcome.status, 400);
        let message = outcome.body["errors"][0]["message"].as_str().unwrap();
        assert!(message.starts_with("maxSelections is 2000; "), "{message}");
        assert!(outcome.cpu_ms < MAX_CPU_MS, "{:.1} ms of CPU", outcome.cpu_ms);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nesting_of_every_kind_is_refused_also_where_the_text_may_be_long() {
    let (world, ada) = world().await;
    let words = ["--max-document-bytes", "1048576", "--max-tokens", "1000000", "--max-list-items", "100000"];
    let probe = Probe::start(&world, ada, &words).await;
    let mut refused = 0;
    for levels in LEVELS {
        for (kind, document) in nested(levels) {
            let outcome = probe.ask(format!("{levels} {kind}"), &document, json!({})).await;
            refused += usize::from(outcome.status == 400);
        }
        probe.assert_alive().await;
    }
    assert!(refused > 16 * 11, "{refused}");
    probe.assert_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_that_multiply_in_any_way_are_counted_and_not_expanded() {
    let (world, ada) = world().await;
    let probe = Probe::start(&world, ada, &[]).await;
    let mut sweep = Sweep::new("fragments");
    for times in [1, 2, 3, 8, 30] {
        for levels in [1, 2, 5, 10, 20, 28, 40, 63, 64, 65, 100, 300] {
            // Without a field at the end there is nothing to count but the spreads.
            let cycle = format!("...F{levels}");
            let loops = "...F0 ...F0";
            let leaves = ["name", "...Missing ...Missing", cycle.as_str(), loops, "...on User{...on User{name id}}"];
            for leaf in leaves {
                let document = fragments(levels, times, leaf);
                sweep.add(probe.ask(format!("{levels} levels of {times}, {leaf}"), &document, json!({})).await);
            }
        }
    }
    for (name, document) in [
        ("unused", format!("{{viewer{{name}}}}{}", fragments(300, 2, "name").replacen("{viewer{...F0}}", "", 1))),
        ("unused, each of a large one", {
            let unused = many(100, &|number| format!("fragment U{number} on User{{...B}}"));
            format!("{{viewer{{name}}}}fragment B on User{{{}}}{unused}", "name ".repeat(1_300))
        }),
        ("in ten operations", {
            let operations = many(10, &|number| format!("query Q{number}{{viewer{{...F0}}}}"));
            operations + &fragments(10, 2, "name").replacen("{viewer{...F0}}", "", 1)
        }),
    ] {
        let body = json!({ "query": document, "operationName": document.starts_with("query").then_some("Q0") });
        let outcome = probe.send(name, body.to_string().as_bytes()).await;
        assert_eq!(outcome.status, 400, "{name}");
        sweep.add(outcome);
    }
    sweep.finish(5 * 12 * 5 + 3);
    probe.assert_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_ask_for_as_much_as_is_allowed_cost_no_more_than_they_may() {
    let (world, ada) = world().await;
    let probe = Probe::start(&world, ada, &[]).await;
    let mut sweep = Sweep::new("as much as is allowed");
    let list = |inputs: &str| format!("{{workspaceBySlug(slug:\"home\"){{tasks({inputs}){{totalCount}}}}}}");
    let name = "x".repeat(128);
    let documents = [
        ("fields", format!("{{viewer{{{}}}}}", "name ".repeat(1_990))),
        ("unknown fields", format!("{{viewer{{{}}}}}", many(1_990, &|number| format!("nam{number} ")))),
        ("unknown long fields", format!("{{viewer{{{}}}}}", many(240, &|number| format!("{number:_>128} ")))),
        ("unknown long mutations", format!("mutation{{{}}}", many(10, &|number| format!("{number:_>128} ")))),
        (
            "unknown long arguments",
            format!("{{viewer(id:1 {}){{id}}}}", many(230, &|number| format!("{number:_>128}:1 "))),
        ),
        ("unknown types", format!("{{viewer{{{}}}}}", many(390, &|number| format!("...on X{number}{{id}}")))),
        ("unknown variables", {
            let fields = many(400, &|number| format!("name@skip(if:$v{number}) "));
            format!("query {name}{{viewer{{{}}}}}", fields.chars().take(20 * 24).collect::<String>())
        }),
        ("variables", {
            let variables = many(50, &|number| format!("$v{number}:Int "));
            format!("query {name}({variables}){{viewer{{name}}}}")
        }),
        ("equal fields with arguments", {
            let field = "tasks(first:1 filter:{status:[TODO]}){totalCount}";
            format!("{{workspaceBySlug(slug:\"home\"){{{}}}}}", field.repeat(110))
        }),
        ("pages of unequal sizes", {
            let fields = many(240, &|number| format!("tasks(first:{number}){{totalCount}}"));
            format!("{{workspaceBySlug(slug:\"home\"){{{fields}}}}}")
        }),
        ("a list", list(&format!("filter:{{assigneeId:[{}]}}", "1 ".repeat(200)))),
        ("a long string", format!("{{workspaceBySlug(slug:\"{}\"){{id}}}}", "x".repeat(32_000))),
        ("a string of escapes", format!("{{workspaceBySlug(slug:\"{}\"){{id}}}}", "\\u0041".repeat(5_300))),
        ("a long comment", format!("{{viewer{{name}}}}#{}", "x".repeat(32_000))),
        ("spaces", format!("{{viewer{{name}}}}{}", " ".repeat(32_000))),
        ("inline fragments in each other", {
            format!("{{viewer{}{{{}}}{}}}", "{...on User".repeat(60), "name ".repeat(1_600), "}".repeat(60))
        }),
        ("unequal fields in inline fragments", {
            let fields = format!("name({}) {}", "a:1 ".repeat(280), "name ".repeat(840));
            format!("{{viewer{}{{{fields}}}{}}}", "{...on User".repeat(60), "}".repeat(60))
        }),
        ("unequal fields", format!("{{viewer{{name({}) {}}}}}", "a:1 ".repeat(330), "name ".repeat(990))),
        ("as many unequal fields in inline fragments as are admitted", {
            let arguments = "first:1 last:1 after:\"\" before:\"\" filter:{} orderBy:{}";
            let fields = format!("tasks({arguments}){{totalCount}}{}", "tasks{totalCount}".repeat(98));
            let (open, close) = ("...on Workspace{".repeat(17), "}".repeat(17));
            format!("{{workspaceBySlug(slug:\"home\"){{{open}{fields}{close}}}}}")
        }),
        ("descriptions of the schema", {
            let fragments = "fragment S on __Schema{types{...T ...T ...T ...T}} \
                             fragment T on __Type{fields{type{ofType{name}} args{type{name}}}}";
            format!("{{{}}}{fragments}", "__schema{...S}".repeat(380))
        }),
        ("descriptions of the schema in inline fragments", {
            let fragments = "fragment S on __Schema{types{...T ...T ...T ...T}} \
                             fragment T on __Type{fields{type{ofType{name}} args{type{name}}}}";
            let (open, close) = ("...on Query{".repeat(50), "}".repeat(50));
            format!("{{{open}{}{close}}}{fragments}", "__schema{...S}".repeat(300))
        }),
        ("spreads of a large fragment", {
            let spreads = "...on User{...B}".repeat(18);
            format!("{{viewer{{{spreads}}}}}fragment B on User{{{}}}", "name ".repeat(100))
        }),
        ("ten operations", many(10, &|number| format!("query Q{number}{{viewer{{{}}}}}", "name ".repeat(195)))),
        ("types of the schema", format!("{{__schema{{types{{{}}}}}}}", "name ".repeat(1_200))),
        ("fields of the schema", format!("{{__schema{{types{{fields{{{}}}}}}}}}", "name ".repeat(180))),
        (
            "types by name",
            format!("{{{}}}", many(10, &|number| format!("t{number}:__type(name:\"Task\"){{fields{{name}}}}"))),
        ),
        ("a subscription", "subscription{viewer{name}}".to_owned()),
    ];
    let expected = documents.len();
    for (name, document) in documents {
        let body = json!({ "query": document, "operationName": name.starts_with("ten").then_some("Q0") });
        sweep.add(probe.send(name, body.to_string().as_bytes()).await);
    }
    // A variable is copied wherever it is used.
    let used = |kind: &str, argument: &str| {
        let times = if argument.starts_with("first") { 130 } else { 14 };
        let fields = format!("tasks({argument}){{totalCount}}").repeat(times);
        format!("query($v:{kind}){{workspaceBySlug(slug:\"home\"){{{fields}}}}}")
    };
    let statuses = json!({ "status": vec!["TODO"; 200], "priority": vec!["HIGH"; 200], "assigneeId": vec!["x"; 200] });
    let fields: serde_json::Map<_, _> = (0..200).map(|number| (format!("a{number}"), json!(1))).collect();
    let nested = (0..30).fold(json!("TODO"), |value, _| json!([value]));
    for (name, document, value) in [
        ("a large input", used("TaskFilter", "filter:$v"), statuses.clone()),
        ("an input with many fields", used("TaskFilter", "filter:$v"), json!(fields)),
        ("an input for a number", used("Int", "first:$v"), statuses),
        ("a long string for a number", used("Int", "first:$v"), json!("x".repeat(120_000))),
        ("a long string for an enum", used("String", "filter:{status:[$v]}"), json!("x".repeat(120_000))),
        ("nested lists for an enum", used("[TaskStatus!]", "filter:{status:$v}"), nested),
        ("lists of lists", used("[[Int]]", "first:$v"), json!(vec![vec![1; 190]; 10])),
    ] {
        sweep.add(probe.ask(format!("{name} as a variable"), &document, json!({ "v": value })).await);
    }
    let in_lists = |count: usize| format!("[{}]", "$v ".repeat(190)).repeat(count);
    let many_values = json!(vec![vec![json!({ "a": 0 }); 199]; 5]);
    for (name, document, value) in [
        ("values", format!("query($v:ID){{nodes(ids:[{}]){{id}}}}", in_lists(5)), &many_values),
        ("a long string", format!("query($v:ID){{nodes(ids:[{}]){{id}}}}", in_lists(5)), &json!("x".repeat(110_000))),
        ("values for a directive", format!("query($v:ID){{viewer{{name@skip(if:[{}])}}}}", in_lists(5)), &many_values),
    ] {
        let outcome = probe.ask(format!("{name} in lists in a variable"), &document, json!({ "v": value })).await;
        let message = outcome.body["errors"][0]["message"].as_str().unwrap();
        assert!(message.starts_with("maxBodyBytes is 131072; the variables come to "), "{message}");
        sweep.add(outcome);
    }
    let estimates = many(10, &|number| format!("e{number}:estimateCost(document:$v){{complexity}}"));
    let document = format!("query($v:String!){{{estimates}}}");
    let body = format!("{{viewer{{{}}}}}", "name ".repeat(1_990));
    sweep.add(probe.ask("ten estimates", &document, json!({ "v": body })).await);
    sweep.finish(expected + 7 + 3 + 1);
    probe.assert_well().await;
}

/// Bodies that are good, or nearly, and use every part of the grammar.
fn corpus() -> Vec<Vec<u8>> {
    let documents = [
        ("{ viewer { name } }", json!({})),
        (
            "query A($first: Int = 3) { workspaces(first: $first) { nodes { id ...F } } } fragment F on Workspace { name }",
            json!({}),
        ),
        (
            "query($f: TaskFilter) { workspaceBySlug(slug: \"home\") { tasks(filter: $f) { totalCount } } }",
            json!({ "f": { "status": ["TODO"], "dueBefore": "2026-01-31T09:30:00Z" } }),
        ),
        ("{ a: server { version limits { maxDepth } } b: __type(name: \"Task\") { fields { name } } }", json!({})),
        (
            "query($id: ID!, $yes: Boolean!) { task(id: $id) @include(if: $yes) { title \"\"\"block\"\"\" } }",
            json!({ "id": "01a0345f-12ad-7541-8788-f04851249340", "yes": true }),
        ),
        (
            "mutation { workspaceCreate(input: { name: \"X \\u00e4 \\n\", slug: \"!\" }) { userErrors { code } } }",
            json!({}),
        ),
        (
            "{ nodes(ids: [\"01a0345f-12ad-7541-8788-f04851249340\", \"7\"]) { __typename ... on Task { title } } }",
            json!({}),
        ),
        (
            "# a comment\nquery Q { estimateCost(document: \"\"\"{ viewer { name } }\"\"\", variables: { a: [1, 2.5e3, null, true, E] }) { complexity } }",
            json!({}),
        ),
    ];
    let body = |(document, variables): &(&str, Value)| {
        json!({ "query": document, "variables": variables }).to_string().into_bytes()
    };
    documents.iter().map(body).collect()
}

/// Pieces that parsers stumble over.
const PIECES: [&[u8]; 24] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b"\"",
    b"\\\"\\\"\\\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"...",
    b"@",
    b"$",
    b"!",
    b"#",
    b":",
    b"1e999",
    b"-99999999999999999999",
    b"null",
    b"\xef\xbb\xbf",
];

/// One of a corpus with some bytes changed, taken out, doubled or put in.
fn mutated(corpus: &[Vec<u8>], random: &mut SmallRng) -> Vec<u8> {
    let mut body = corpus[random.random_range(0..corpus.len())].clone();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..body.len().max(1)).min(body.len());
        let end = (at + random.random_range(1..=12)).min(body.len());
        match random.random_range(0..5) {
            0 => drop(body.drain(at..end)),
            1 if at < body.len() => body[at] = random.random(),
            2 => {
                let piece = body[at..end].repeat(random.random_range(1..=40));
                body.splice(at..at, piece);
            }
            3 => {
                let other = &corpus[random.random_range(0..corpus.len())];
                let from = random.random_range(0..other.len());
                body.splice(at..end, other[from..].iter().copied());
            }
            _ => {
                let piece = PIECES[random.random_range(0..PIECES.len())];
                body.splice(at..at, piece.iter().copied());
            }
        }
    }
    body
}

/// How many mutated bodies are sent.
#[expect(
    clippy::disallowed_methods,
    reason = "no setting of the server: a merge sends ten times as many as a developer"
)]
fn bodies() -> u32 {
    std::env::var("SWEEP_BODIES").map_or(10_000, |bodies| bodies.parse().expect("SWEEP_BODIES is a number"))
}

/// How many processes take the mutated bodies. Each gets them one by one, so that its CPU is that of one request.
const PROCESSES: u32 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_bodies_are_answered_or_refused_and_never_a_fault_of_the_server() {
    let (world, ada) = world().await;
    let bodies = bodies();
    let sweep = Arc::new(Mutex::new(Sweep::new("mutated bodies")));
    let mut tasks = Vec::new();
    for process in 0..PROCESSES {
        let (mut probe, sweep) = (Probe::start(&world, ada, &[]).await, Arc::clone(&sweep));
        tasks.push(tokio::spawn(async move {
            let (corpus, mut connection) = (corpus(), probe.connect().await);
            for seed in (process..bodies).step_by(PROCESSES as usize) {
                if seed / PROCESSES == bodies / PROCESSES / 4 {
                    probe.settle();
                }
                let body = mutated(&corpus, &mut SmallRng::seed_from_u64(seed.into()));
                let name = format!("seed {seed}: {}", String::from_utf8_lossy(&body));
                let outcome = probe.send_over(&mut connection, name, &body).await;
                sweep.lock().unwrap().add(outcome);
            }
            probe.assert_well().await;
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let sweep = Arc::into_inner(sweep).unwrap().into_inner().unwrap();
    // Neither all good nor all bad: the mutations reach every layer.
    let (bodies, run, refused) = (bodies as usize, sweep.answered(200), sweep.answered(400));
    assert!(run > bodies / 50 && refused > bodies / 2, "{run} were run and {refused} refused");
    sweep.finish(bodies);
}

/// Bodies that no parser takes, or should not.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let query = |query: &str| json!({ "query": query }).to_string().into_bytes();
    vec![
        ("nothing", Vec::new()),
        ("spaces", text(" \n\t")),
        ("null", text("null")),
        ("a number", text("1")),
        ("a string", text("\"{ viewer { name } }\"")),
        ("an empty list", text("[]")),
        ("a list of requests", text(r#"[{"query":"{ viewer { name } }"}]"#)),
        ("an empty object", text("{}")),
        ("no end", text(r#"{"query":"{ viewer { name } }""#)),
        ("two objects", text(r#"{"query":"{ viewer { name } }"}{"query":"{ viewer { name } }"}"#)),
        ("a trailing comma", text(r#"{"query":"{ viewer { name } }",}"#)),
        ("single quotes", text("{'query':'{ viewer { name } }'}")),
        ("a comment", text("{/**/\"query\":\"{ viewer { name } }\"}")),
        ("NaN", text(r#"{"query":"{ viewer { name } }","variables":{"a":NaN}}"#)),
        ("infinity", text(r#"{"query":"{ viewer { name } }","variables":{"a":1e999}}"#)),
        ("a small number", text(r#"{"query":"{ viewer { name } }","variables":{"a":1e-999}}"#)),
        (
            "a large number",
            [text(r#"{"query":"{ viewer { name } }","variables":{"a":"#), vec![b'9'; 100_000], text("}}")].concat(),
        ),
        (
            "a long fraction",
            [text(r#"{"query":"{ viewer { name } }","variables":{"a":0."#), vec![b'9'; 100_000], text("}}")].concat(),
        ),
        ("a byte order mark", text("\u{feff}{\"query\":\"{ viewer { name } }\"}")),
        ("UTF-16", "{\"query\":\"{ viewer { name } }\"}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        (
            "bytes that are not UTF-8",
            [text(r#"{"query":"{ viewer { name } } # "#), vec![0xff, 0xfe, 0xc0, 0x80], text("\"}")].concat(),
        ),
        (
            "a surrogate in UTF-8",
            [text(r#"{"query":"{ viewer { name } } # "#), vec![0xed, 0xa0, 0x80], text("\"}")].concat(),
        ),
        ("half of a surrogate pair", text(r#"{"query":"{ workspaceBySlug(slug: \"\ud800\") { id } }"}"#)),
        ("surrogates the wrong way round", text(r#"{"query":"{ workspaceBySlug(slug: \"\udc00\ud800\") { id } }"}"#)),
        ("a surrogate in a document", query("{ workspaceBySlug(slug: \"\\ud800\") { id } }")),
        ("NUL in a document", query("{ viewer { name } }\0")),
        ("NUL in a string", query("{ workspaceBySlug(slug: \"\0\") { id } }")),
        ("an escaped NUL in a string", query("{ workspaceBySlug(slug: \"\\u0000\") { id } }")),
        ("NUL in a body", text("{\"query\":\"{ viewer { name } }\0\"}")),
        ("NULs", vec![0; 10_000]),
        ("a key twice", text(r#"{"query":"{ viewer { name } }","query":"{ viewer { id } }"}"#)),
        (
            "a variable twice",
            text(r#"{"query":"query($a:Int){ workspaces(first:$a) { totalCount } }","variables":{"a":1,"a":2}}"#),
        ),
        ("an argument twice", query("{ workspaces(first: 1, first: 2) { totalCount } }")),
        (
            "an input field twice",
            query(
                "{ workspaceBySlug(slug: \"home\") { tasks(filter: { status: [TODO], status: [] }) { totalCount } } }",
            ),
        ),
        ("variables that are a list", text(r#"{"query":"{ viewer { name } }","variables":[]}"#)),
        ("variables that are a string", text(r#"{"query":"{ viewer { name } }","variables":"{}"}"#)),
        ("a query that is null", text(r#"{"query":null}"#)),
        ("a query that is a number", text(r#"{"query":1}"#)),
        ("an operation name that is a number", text(r#"{"query":"{ viewer { name } }","operationName":1}"#)),
        ("extensions that are a list", text(r#"{"query":"{ viewer { name } }","extensions":[]}"#)),
        (
            "a name of a variable that is none",
            text(r#"{"query":"{ viewer { name } }","variables":{"":1,"a b":2,"\u0000":3}}"#),
        ),
        ("brackets", vec![b'['; 100_000]),
        ("braces", b"{\"a\":".repeat(20_000)),
        ("quotation marks", vec![b'"'; 100_000]),
        ("backslashes", [text("{\"query\":\""), vec![b'\\'; 100_000], text("\"}")].concat()),
        ("a number that goes on", query("{ workspaces(first: 99999999999999999999999999) { totalCount } }")),
        ("a fraction that goes on", query("{ workspaces(first: 1e400) { totalCount } }")),
        ("a minus without a number", query("{ workspaces(first: -) { totalCount } }")),
        ("a variable in a default", query("query($a: Int, $b: Int = $a) { workspaces(first: $b) { totalCount } }")),
        ("dots", query(&".".repeat(32_000))),
        ("unfinished strings", query(&"\"\"\" ".repeat(3_000))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_bodies_are_refused_and_the_process_lives() {
    let (world, ada) = world().await;
    let probe = Probe::start(&world, ada, &[]).await;
    let mut sweep = Sweep::new("malformed");
    let bodies = malformed();
    let count = bodies.len();
    let mut taken = Vec::new();
    for (name, body) in bodies {
        let outcome = probe.send(name, &body).await;
        if outcome.body.get("errors").is_none() {
            taken.push(name);
        }
        sweep.add(outcome);
    }
    // No workspace has NUL in its slug.
    let good = [
        "a small number",
        "a long fraction",
        "NUL in a string",
        "an escaped NUL in a string",
        "a name of a variable that is none",
    ];
    assert_eq!(taken, good);
    assert_eq!(count, 51);
    sweep.finish(count);
    probe.assert_well().await;
}

/// Texts that end a statement where they are not bound as values.
const METACHARACTERS: [&str; 9] =
    ["'", "''; DROP TABLE tasks; --", "\"", "\\", "$1", "%_%", "');--", "E'\\x00'", "/* $$ */"];

/// Values at their ends and past them.
fn edges(kind: &str) -> Vec<Value> {
    match kind {
        "Int" => [-2_147_483_649_i64, -2_147_483_648, -1, 0, 1, 100, 101, 2_147_483_647, 2_147_483_648, i64::MAX]
            .map(|number| json!(number))
            .into_iter()
            .chain([json!(u64::MAX), json!(1.5), json!(1e300), json!("1"), json!(true)])
            .collect(),
        "DateTime" => [
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            "0000-12-31T23:59:59Z",
            "10000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            "2026-02-29T00:00:00Z",
            "2024-02-29T00:00:00Z",
            "2026-06-30T23:59:60Z",
            "infinity",
            "-infinity",
            "now",
            "epoch",
            "",
            "1970-01-01",
            "-292277-01-01T00:00:00Z",
        ]
        .map(|text| json!(text))
        .to_vec(),
        "ID" => [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "{01a0345f-12ad-7541-8788-f04851249340}",
            "01A0345F12AD75418788F04851249340",
            "urn:uuid:01a0345f-12ad-7541-8788-f04851249340",
            "01a0345f-12ad-7541-8788-f0485124934",
            "g",
            "",
            "0",
        ]
        .map(|text| json!(text))
        .into_iter()
        .chain([json!(0), json!(-1), json!(1.5), json!(null)])
        .collect(),
        "Cursor" => ["", "AA", "AU835r8CAaA1Ax3XerGDkFzwUFUSeQAGWc8ULJIf1j-bpg", "=", "ä", "AQ=="]
            .map(|text| json!(text))
            .into_iter()
            .chain([json!("A".repeat(10_000)), json!(1)])
            .collect(),
        "String" => ["", " ", "\u{0}", "\u{feff}", "\u{202e}", "e\u{301}", "\u{10ffff}", "\u{1f469}\u{200d}\u{1f680}"]
            .map(|text| json!(text))
            .into_iter()
            .chain([json!("x".repeat(100_001)), json!(1)])
            .collect(),
        _ => vec![json!(null), json!(1), json!("NO"), json!([]), json!({})],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_input_takes_sql_and_values_past_their_ends_without_a_fault_of_the_server() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let probe = Probe::start(&world, ada, &[]).await;
    let catalogue = Catalogue::of(&world).await;
    let log = ServerLog::of(&world).await;
    let Stage { workspace, project, task, comment, .. } = Stage::set(&world, &[(ada, "owner")], ada, "").await;
    let ids = BTreeMap::from([
        ("id", task),
        ("ids", task),
        ("workspaceId", workspace),
        ("projectId", project),
        ("taskId", task),
        ("assigneeId", ada),
    ]);
    let mut sweep = Sweep::new("inputs");
    let (mut places, mut texts, mut expected) = (0, 0, 0);
    for place in catalogue.input_places() {
        let within = |variables: &str, selected: &str| match place.parent.as_str() {
            "Query" => format!("query {variables} {{ {selected} }}"),
            "Mutation" => format!("mutation {variables} {{ {selected} }}"),
            "User" => format!("query {variables} {{ viewer {{ {selected} }} }}"),
            "Workspace" => format!("query {variables} {{ workspace(id: \"{workspace}\") {{ {selected} }} }}"),
            "Project" => format!("query {variables} {{ project(id: \"{project}\") {{ {selected} }} }}"),
            "Task" => format!("query {variables} {{ task(id: \"{task}\") {{ {selected} }} }}"),
            "Report" => format!("query {variables} {{ project(id: \"{project}\") {{ report {{ {selected} }} }} }}"),
            other => panic!("a way to the fields of {other}"),
        };
        places += 1;
        let is_text = ["String", "ID", "Cursor", "DateTime"].contains(&place.kind.as_str());
        texts += usize::from(is_text);
        let values = METACHARACTERS.iter().filter(|_| is_text).map(|text| json!(text)).chain(edges(&place.kind));
        for value in values {
            let request = catalogue.request_with(&place, &ids, &value, within);
            let shown: String = value.to_string().chars().take(30).collect();
            let name = format!("{}.{}({}): {shown}", place.parent, place.field, place.path.join("."));
            sweep.add(probe.send(name, request.to_string().as_bytes()).await);
            expected += 1;
        }
    }
    assert!(places > 100 && texts > 60, "{places} places, {texts} of them texts");
    assert!(
        expected > texts * 20 && sweep.answered(200) > expected / 2,
        "{} of {expected} were run",
        sweep.answered(200)
    );
    sweep.finish(expected);
    probe.assert_well().await;
    assert_eq!(
        world.ask(ada, "query($id: ID!) { comment(id: $id) { body } }", json!({ "id": comment })).await.data(),
        &json!({ "comment": { "body": "Yes" } })
    );
    log.assert_no_faults();
}

/// A statement that PostgreSQL cannot read, and names in its log.
const OWN_FAULT: &str = "of_this_test";

/// What PostgreSQL wrote to its log.
struct ServerLog(std::path::PathBuf);

impl ServerLog {
    async fn of(world: &World) -> Self {
        let directory: String = crate::harness::one(&world.sql, "SELECT current_setting('data_directory')")
            .await
            .try_get_by_index(0)
            .unwrap();
        let log = std::path::Path::new(&directory).parent().unwrap().join("log/primary.log");
        let log = Self(log);
        // A fault of this test's own making is seen, so that the absence of others is worth something.
        assert!(world.sql.execute_unprepared(OWN_FAULT).await.is_err());
        assert_eq!(log.faults().iter().filter(|line| line.contains(OWN_FAULT)).count(), 1, "{:?}", log.faults());
        log
    }

    /// Statements that PostgreSQL could not read, and texts that it could not take for values.
    fn faults(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&std::fs::read(&self.0).unwrap()).into_owned();
        let signs = [
            "syntax error",
            "unterminated",
            "invalid input syntax",
            "invalid byte sequence",
            "out of range",
            "cannot insert multiple commands",
        ];
        text.lines().filter(|line| signs.iter().any(|sign| line.contains(sign))).map(str::to_owned).collect()
    }

    fn assert_no_faults(&self) {
        let faults: Vec<_> = self.faults().into_iter().filter(|line| !line.contains(OWN_FAULT)).collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }
}
