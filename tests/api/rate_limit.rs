//! Points of complexity: what each request costs its caller, what is told of it, and who pays.
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use reqwest::StatusCode;
use serde_json::{Value, json};
use trellis::clock;

use crate::harness::{Answer, World, eventually};
use crate::instance::{run, trellis};
use crate::metrics::scrape;

/// A bucket that hardly fills while a test runs.
const SLOW: [&str; 6] = ["--max-complexity", "100", "--rate-limit", "1", "--rate-limit-burst", "100"];

/// The number after `key` in a header, such as `r` in `"caller";r=98;t=2`.
fn number(answer: &Answer, header: &str, key: &str) -> u64 {
    let value = answer.headers[header].to_str().unwrap();
    let found = value.split(';').find_map(|part| part.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{key} in {value}")).parse().unwrap()
}

/// A document of ten root fields, which cost so many points each.
fn document(points: usize) -> String {
    let limits = ["maxDepth", "maxTokens", "maxAliases", "maxNesting", "maxErrors", "maxOperations", "maxVariables"];
    let server = format!("server {{ version limits {{ {} }} }}", limits[..points - 3].join(" "));
    format!("{{ {} }}", (0..10).map(|number| format!("s{number}: {server}")).collect::<Vec<_>>().join(" "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_tells_what_is_left_and_the_field_tells_the_same() {
    let world = World::with(&SLOW).await;
    let ada = world.user("ada").await;
    let document = "{ viewer { name } rateLimit { limit pointsPerSecond cost remaining resetAt } }";
    let before = clock::now();
    let answer = world.ask(ada, document, json!({})).await;
    let told = &answer.data()["rateLimit"];
    assert_eq!(answer.headers["ratelimit-policy"], "\"caller\";q=100;w=100;trellis-unit=\"points\"");
    assert_eq!((&told["limit"], &told["pointsPerSecond"], &told["cost"]), (&json!(100), &json!(1), &json!(8)));
    let remaining = told["remaining"].as_u64().unwrap();
    assert!((92..=99).contains(&remaining), "{remaining}");
    let header = |key| number(&answer, "ratelimit", key);
    assert_eq!((header("r"), header("t")), (remaining, 100 - remaining));
    let reset: chrono::DateTime<chrono::Utc> = told["resetAt"].as_str().unwrap().parse().unwrap();
    assert!((1..60).contains(&(reset - before).num_seconds()), "{reset}");
    // What is refused costs one point, and an answer that was not executed tells it too.
    let answer = world.ask(ada, "{", json!({})).await;
    assert_eq!(answer.codes(), ["GRAPHQL_PARSE_FAILED"]);
    assert!((90..=99).contains(&number(&answer, "ratelimit", "r")), "{:?}", answer.headers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_spent_all_points_waits_and_the_others_do_not() {
    let world = World::with(&SLOW).await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    world.ask(ada, &document(5), json!({})).await.data();
    let refused = world.ask(ada, &document(10), json!({})).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.text);
    assert_eq!(refused.codes(), ["RATE_LIMITED"]);
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((20..=51).contains(&wait), "{wait}");
    assert_eq!((number(&refused, "ratelimit", "r"), number(&refused, "ratelimit", "t")), (0, wait));
    let message = refused.body["errors"][0]["message"].as_str().unwrap();
    let beginning = "The request costs 100 points or more, and this caller has fewer left. A full bucket has 100.";
    assert!(message.starts_with(beginning), "{message}");
    // Others have buckets of their own, and whoever has no valid token has the address's.
    world.ask(grace, "{ viewer { name } }", json!({})).await.data();
    let guess = async || {
        let request = world.http().post(world.url("/graphql")).bearer_auth("guessed");
        Answer::of(request.json(&json!({ "query": "{ __typename }" })).send().await.unwrap()).await
    };
    let mut guesses = 0;
    let refused = loop {
        let answer = guess().await;
        if answer.status != StatusCode::UNAUTHORIZED {
            break answer;
        }
        guesses += 1;
        assert!(guesses < 200, "guesses cost nothing");
    };
    assert!(guesses >= 100, "{guesses}");
    assert_eq!(refused.codes(), ["RATE_LIMITED"]);
    // A point comes back each second, and this costs fifty.
    assert_eq!(world.ask_anonymously(&document(5)).await.status, StatusCode::TOO_MANY_REQUESTS);
    world.ask(grace, "{ viewer { name } }", json!({})).await.data();
    let samples = scrape(&world).await;
    assert_eq!(samples["trellis_rate_limit_callers"], 3.0, "two users and an address");
    assert_eq!(samples["trellis_requests_refused_total{reason=\"rate\"}"], 3.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_come_back_and_a_caller_whose_bucket_is_full_is_forgotten() {
    let world = World::with(&["--max-complexity", "100", "--rate-limit", "100"]).await;
    let ada = world.user("ada").await;
    let answer = world.ask(ada, "{ rateLimit { limit } viewer { name } }", json!({})).await;
    assert_eq!(answer.data()["rateLimit"]["limit"], 3_000, "what comes back in 30 seconds");
    assert!(number(&answer, "ratelimit", "r") < 3_000);
    eventually("the caller is forgotten", || async {
        let callers = scrape(&world).await["trellis_rate_limit_callers"];
        if callers == 0.0 { Ok(()) } else { Err(callers) }
    })
    .await;
    let answer = world.ask(ada, "{ rateLimit { remaining } }", json!({})).await;
    // Of the two that it costs the first may be back when the second is taken.
    let remaining = answer.data()["rateLimit"]["remaining"].as_u64().unwrap();
    assert!((2_998..=2_999).contains(&remaining), "{remaining}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_limited_unless_the_settings_say_so() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let answer = world.ask(ada, "{ rateLimit { remaining } }", json!({})).await;
    assert_eq!(answer.data()["rateLimit"], Value::Null);
    assert!(!answer.headers.contains_key("ratelimit") && !answer.headers.contains_key("ratelimit-policy"));
    let words = ["serve", "--rate-limit", "1", "--rate-limit-burst", "4999"];
    run(trellis().args(words)).await.assert_refused(&["TRELLIS_RATE_LIMIT_BURST is 4999", "5000"]);
}
