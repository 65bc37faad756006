//! Consistency tokens: given for a write, taken for a report that must count it, refused where they are not ours.

use serde_json::{Value, json};
use trellis::database::{Command, Database, Exchange, Meter, NamedStatement, Needs, Operation};
use trellis::error::UserError;
use trellis::metrics::Metrics;
use uuid::Uuid;

use crate::harness::{Answer, SECRET, World, eventually, settings};
use crate::mutations::{MUTATIONS, Stage, named};

/// Runs a document with a token.
async fn ask_after(world: &World, caller: Uuid, document: &str, variables: &Value, token: &[u8]) -> Answer {
    let request = world.http().post(world.url("/graphql")).bearer_auth(world.token(caller));
    let request = request.header("x-consistency-token", token).header("x-debug", "sql");
    Answer::of(request.json(&json!({ "query": document, "variables": variables })).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mutation_gives_a_token_where_something_was_written() {
    let world = World::new().await;
    let (ada, stranger) = (world.user("ada").await, world.user("stranger").await);
    let mut given = 0;
    for mutation in &MUTATIONS {
        let (name, input) = (mutation.name, mutation.input);
        let stage = Stage::set(&world, &[(ada, "owner")], ada, name).await;
        let document = format!(
            "mutation($input: {input}!) {{ {name}(input: $input) {{ consistencyToken userErrors {{ code }} }} }}"
        );
        let mut bad = stage.input(name);
        bad["idempotencyKey"] = json!("");
        let refused = world.ask(ada, &document, json!({ "input": bad })).await;
        assert_eq!(refused.data()[name]["userErrors"][0]["code"], "INVALID", "{name}");
        assert_eq!(refused.data()[name]["consistencyToken"], json!(null), "{name}");
        if name != "workspaceCreate" {
            let refused = world.ask(stranger, &document, json!({ "input": stage.input(name) })).await;
            assert_eq!(refused.data()[name]["consistencyToken"], json!(null), "{name}");
        }
        let written = world.ask(ada, &document, json!({ "input": stage.input(name) })).await;
        assert_eq!(written.data()[name]["userErrors"], json!([]), "{name}");
        assert!(written.data()[name]["consistencyToken"].as_str().unwrap().len() > 20, "{name}");
        given += 1;
    }
    assert_eq!(given, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_costs_no_statement_and_is_found_under_an_alias_and_in_a_fragment() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "member")], ada, "taskUpdate").await;
    let ask = async |selection: &str, fragment: &str| {
        let document = format!(
            "mutation($id: ID!) {{ taskUpdate(input: {{ id: $id, title: \"Drawn\" }}) {{ task {{ title }} {selection} }} }} {fragment}"
        );
        world.ask(ada, &document, json!({ "id": stage.task })).await
    };
    assert_eq!(ask("", "").await.statements(), ["begin", "commit", "task_update"]);
    for (selection, fragment) in [
        ("consistencyToken", ""),
        ("proof: consistencyToken", ""),
        ("...P", "fragment P on TaskPayload { proof: consistencyToken }"),
        ("... on TaskPayload { consistencyToken }", ""),
    ] {
        let answer = ask(selection, fragment).await;
        assert_eq!(answer.statements(), ["begin", "commit", "task_update"], "{selection}");
        let payload = &answer.data()["taskUpdate"];
        let token = payload.get("proof").unwrap_or(&payload["consistencyToken"]);
        assert!(token.is_string(), "{selection}: {payload}");
    }
}

const REPORT: &str = "query($id: ID!) { project(id: $id) { report { totals { total } freshness { source } } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_is_asked_with_the_token_of_a_write_counts_that_write() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "member")], ada, "taskCreate").await;
    let create = "mutation($input: TaskCreateInput!) { taskCreate(input: $input) { consistencyToken } }";
    let mut token = String::new();
    let variables = json!({ "id": stage.project });
    for round in 1..=50 {
        let answer = world.ask(ada, create, json!({ "input": stage.input("taskCreate") })).await;
        token = answer.data()["taskCreate"]["consistencyToken"].as_str().unwrap().to_owned();
        let report = ask_after(&world, ada, REPORT, &variables, token.as_bytes()).await;
        assert_eq!(report.data()["project"]["report"]["totals"]["total"], json!(1 + round), "round {round}");
    }
    // A replica that has caught up serves such a report: the token does not send it to the primary for good.
    let report = eventually("the replica serves a report with a token", || async {
        let report = ask_after(&world, ada, REPORT, &variables, token.as_bytes()).await;
        let report = report.data()["project"]["report"].clone();
        if report["freshness"]["source"] == "REPLICA" { Ok(report) } else { Err(report) }
    })
    .await;
    assert_eq!(report["totals"]["total"], 51);
}

/// A write that writes nothing, and is committed.
#[derive(serde::Serialize)]
struct Nothing;

impl Command for Nothing {
    type Output = ();

    const NAME: &'static str = "nothing";

    fn faults(&self) -> Vec<UserError> {
        Vec::new()
    }

    fn exchange(&self) -> Exchange<()> {
        Exchange::new(NamedStatement::new("nothing", "SELECT 1", []), |_| Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_cut_or_foreign_token_is_refused_before_anything_is_done() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "member")], ada, "taskCreate").await;
    let token_of = async |secret: &str| {
        let database =
            Database::connect(&world.addresses, &settings(&[]).pools, secret, &Metrics::default()).await.unwrap();
        let route = database.route(Operation::Mutation, &Meter::default(), Needs::default()).await.unwrap();
        let writer = route.writer.unwrap();
        writer.execute(Vec::new(), Nothing, None).await.unwrap();
        let token = writer.consistency_token().unwrap();
        database.close().await;
        token
    };
    let good = token_of(SECRET).await;
    let mut bad: Vec<Vec<u8>> = vec![
        token_of("a secret of another server, of 32 bytes or more").await.into_bytes(),
        Vec::new(),
        b"null".to_vec(),
        b"AAAA".to_vec(),
        "A".repeat(good.len()).into_bytes(),
        "A".repeat(4_000).into_bytes(),
        format!("{good}=").into_bytes(),
        format!("{good}AAAA").into_bytes(),
        format!("{good}, {good}").into_bytes(),
        good.to_uppercase().into_bytes(),
        "größer".as_bytes().to_vec(),
        vec![0xff, 0xfe],
    ];
    for end in 1..good.len() {
        bad.push(good.as_bytes()[..end].to_vec());
    }
    for place in 0..good.len() {
        let mut forged = good.clone().into_bytes();
        forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
        bad.push(forged);
    }
    assert_eq!(bad.len(), 12 + 43 + 44);
    let before = crate::mutations::contents(&world, None).await;
    let (write, input) = (named("taskCreate").document(), json!({ "input": stage.input("taskCreate") }));
    for token in &bad {
        let shown = String::from_utf8_lossy(token);
        for (document, variables) in [(REPORT, json!({ "id": stage.project })), (write.as_str(), input.clone())] {
            let answer = ask_after(&world, ada, document, &variables, token).await;
            assert_eq!((answer.status.as_u16(), answer.codes()), (400, vec!["BAD_CONSISTENCY_TOKEN"]), "{shown}");
            assert!(answer.body.get("data").is_none(), "{shown}");
        }
    }
    assert_eq!(crate::mutations::contents(&world, None).await, before);
    let answer = ask_after(&world, ada, REPORT, &json!({ "id": stage.project }), good.as_bytes()).await;
    assert_eq!(answer.data()["project"]["report"]["totals"]["total"], 1);
}
