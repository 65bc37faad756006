//! `/metrics`: what it counts, and that a scraper of OpenMetrics can read it.
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;
use trellis::metrics::Metrics;

use crate::harness::World;

/// The samples of `/metrics` by name and labels, each line looked at as the specification of OpenMetrics has it.
pub async fn scrape(world: &World) -> BTreeMap<String, f64> {
    let response = world.http().get(world.url("/metrics")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let media_type = response.headers()["content-type"].to_str().unwrap();
    assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = response.text().await.unwrap();
    let body = text.strip_suffix("# EOF\n").expect("it ends with the mark of the end");

    let (mut families, mut samples) = (BTreeMap::new(), BTreeMap::new());
    let mut family = ("", "");
    for line in body.lines() {
        if let Some(described) = line.strip_prefix("# ") {
            let mut words = described.splitn(3, ' ');
            let (kind, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match kind {
                "HELP" => assert!(rest.ends_with('.'), "{line}"),
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                "TYPE" => {
                    family = (name, rest);
                    assert!(families.insert(name, rest).is_none(), "described once, its samples together: {line}");
                }
                _ => panic!("not of OpenMetrics: {line}"),
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a sample has a value");
        let name = sample.split('{').next().unwrap();
        let suffix = name.strip_prefix(family.0).unwrap_or_else(|| panic!("of the family {family:?}: {line}"));
        let suffixes: &[&str] = match family.1 {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("a type that is not used: {other}"),
        };
        assert!(suffixes.contains(&suffix), "{family:?}: {line}");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("a number: {line}"));
        assert!(value >= 0.0, "{line}");
        assert!(samples.insert(sample.to_owned(), value).is_none(), "each sample once: {line}");
    }
    assert!(families.len() >= 8, "{families:?}");
    assert_buckets_grow(&samples);
    samples
}

/// Every histogram's buckets count those before them too, and end with all.
fn assert_buckets_grow(samples: &BTreeMap<String, f64>) {
    let mut histograms: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (sample, value) in samples {
        let Some((name, labels)) = sample.split_once("_bucket{le=\"") else { continue };
        let (bound, others) = labels.split_once('"').unwrap();
        let count = format!("{name}_count{{{}", others.trim_start_matches(','));
        histograms.entry(count).or_default().push((bound.replace("+Inf", "inf").parse().unwrap(), *value));
    }
    assert!(histograms.len() >= 3, "saw {:?}", histograms.keys());
    for (count, mut buckets) in histograms {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{count}: {buckets:?}");
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, samples[&count])), "{count}");
    }
}

/// A server that was asked for rows, a report, a write, and what it refuses; none where a busy machine has taken the
/// replica for silent, and the report was asked for elsewhere too.
async fn asked() -> Option<World> {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    world.fill(home, ada, [2, 2, 0]).await;
    world.replicated().await;
    let read = "query Mine { workspaces(first: 1) { nodes { projects(first: 2) { nodes { name } } } } }";
    for _ in 0..3 {
        world.ask(ada, read, json!({})).await.data();
    }
    let report = "{ workspaces(first: 1) { nodes { report { totals { total } } } } }";
    let report = world.ask(ada, report, json!({})).await;
    report.data();
    let write = "mutation { workspaceCreate(input: { name: \"New\", slug: \"new\" }) { userErrors { code } } }";
    world.ask(ada, write, json!({})).await.data();
    world.ask_anonymously("{ workspaces(first: 1) { nodes { name } } }").await;
    world.ask_anonymously("{ this is no document").await;
    ((report.statements_on("primary"), report.statements_on("replica")) == (1, 1)).then_some(world)
}

#[tokio::test]
async fn the_metrics_count_requests_statements_and_pools_and_can_be_read_by_a_scraper() {
    let mut world = asked().await;
    for _ in 0..4 {
        if world.is_none() {
            world = asked().await;
        }
    }
    let world = world.expect("a replica answers the report in one of five worlds");
    let samples = scrape(&world).await;
    let of = |sample: &str| samples.get(sample).copied().unwrap_or_else(|| panic!("there is {sample}: {samples:#?}"));
    let requests = [("query", "OK", 4), ("mutation", "OK", 1), ("query", "UNAUTHENTICATED", 1)];
    for (operation, code, count) in requests.into_iter().chain([("none", "GRAPHQL_PARSE_FAILED", 1)]) {
        let sample = format!("trellis_requests_total{{operation=\"{operation}\",code=\"{code}\"}}");
        assert_eq!(of(&sample), f64::from(count), "{sample}");
    }
    assert_eq!(of("trellis_request_duration_seconds_count{operation=\"query\"}"), 5.0);
    assert!(of("trellis_request_duration_seconds_sum{operation=\"query\"}") > 0.0);
    // Three times two levels, a workspace and its report, and none for nobody.
    assert_eq!(of("trellis_request_statements_sum{operation=\"query\"}"), 8.0);
    let statements = [("workspaces_of_user", "primary", 4), ("projects_of_workspace_by_created_at", "primary", 3)];
    let others = [("tally_of_workspace", "replica", 1), ("workspace_create", "primary", 1), ("commit", "primary", 1)];
    for (name, target, count) in statements.into_iter().chain(others) {
        let sample = format!("trellis_statement_duration_seconds_count{{statement=\"{name}\",target=\"{target}\"}}");
        assert_eq!(of(&sample), f64::from(count), "{sample}");
    }
    for (door, max, least) in [("primary", 4, 1.0), ("primary-read-only", 3, 0.0), ("replica-1", 3, 1.0)] {
        assert_eq!(of(&format!("trellis_pool_max_connections{{door=\"{door}\"}}")), f64::from(max));
        assert_eq!(of(&format!("trellis_pool_timeouts_total{{door=\"{door}\"}}")), 0.0);
        assert!(of(&format!("trellis_pool_wait_seconds_count{{door=\"{door}\"}}")) >= least);
        let open = |state| of(&format!("trellis_pool_connections{{door=\"{door}\",state=\"{state}\"}}"));
        assert!((least..=f64::from(max)).contains(&(open("idle") + open("in_use"))), "{door}");
    }
    for server in ["primary", "replica-1"] {
        assert_eq!(of(&format!("trellis_server_up{{server=\"{server}\"}}")), 1.0);
        assert!(of(&format!("trellis_server_lag_seconds{{server=\"{server}\"}}")) < 30.0);
    }
    for (kind, batches, keys) in [("WorkspacesOfUser", 4, 4), ("ProjectsOfWorkspace", 3, 3), ("Tally", 1, 1)] {
        assert_eq!(of(&format!("trellis_batch_keys_count{{kind=\"{kind}\"}}")), f64::from(batches), "{kind}");
        assert_eq!(of(&format!("trellis_batch_keys_sum{{kind=\"{kind}\"}}")), f64::from(keys), "{kind}");
    }
    let strangers = ["ada", "home", "this"];
    let told: BTreeSet<&String> =
        samples.keys().filter(|key| strangers.iter().any(|word| key.contains(word))).collect();
    assert!(told.is_empty(), "nothing else that comes from clients is a label: {told:?}");
}

#[tokio::test]
async fn a_batch_is_counted_with_all_its_keys() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    world.fill(home, ada, [7, 2, 0]).await;
    let document =
        "{ workspaces(first: 1) { nodes { projects(first: 100) { nodes { tasks(first: 1) { totalCount } } } } } }";
    world.ask(ada, document, json!({})).await.data();
    let samples = scrape(&world).await;
    let of = |sample: &str| samples.get(sample).copied().unwrap_or_else(|| panic!("there is {sample}: {samples:#?}"));
    assert_eq!(of("trellis_batch_keys_sum{kind=\"TaskCount\"}"), 7.0);
    assert_eq!(of("trellis_batch_keys_count{kind=\"TaskCount\"}"), 1.0);
    assert_eq!(of("trellis_batch_keys_bucket{le=\"5.0\",kind=\"TaskCount\"}"), 0.0);
    assert_eq!(of("trellis_batch_keys_bucket{le=\"10.0\",kind=\"TaskCount\"}"), 1.0);
}

#[tokio::test]
async fn operations_are_counted_by_the_names_that_their_documents_give_them() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    for _ in 0..3 {
        world.ask(ada, "query Me { viewer { name } }", json!({})).await.data();
    }
    // A name that is known is told apart whatever becomes of the operation; one that never worked is not.
    world.ask_anonymously("query Me { viewer { name } }").await;
    world.ask_anonymously("query Stranger { viewer { name } }").await;
    world.ask_anonymously("query Nothing { __typename }").await.data();
    world.ask(ada, "{ viewer { name } }", json!({})).await.data();
    let long = format!("query Long{} {{ viewer {{ name }} }}", "g".repeat(61));
    world.ask(ada, &long, json!({})).await.data();

    let samples = scrape(&world).await;
    let of = |sample: &str| samples.get(sample).copied().unwrap_or_else(|| panic!("there is {sample}: {samples:#?}"));
    for (name, outcome, count) in
        [("Me", "ok", 3), ("Me", "error", 1), ("-", "ok", 1), ("other", "ok", 2), ("other", "error", 1)]
    {
        let sample = format!("trellis_operations_total{{name=\"{name}\",outcome=\"{outcome}\"}}");
        assert_eq!(of(&sample), f64::from(count), "{sample}");
    }
    assert_eq!(of("trellis_operation_statements_total{name=\"Me\"}"), 3.0);
    assert!(of("trellis_operation_duration_seconds_total{name=\"Me\"}") > 0.0);
    assert!(samples.keys().all(|sample| !sample.contains("Stranger") && !sample.contains("Nothing")));
    assert!(samples.keys().all(|sample| !sample.contains("Long")));
}

#[test]
fn ten_thousand_names_of_operations_make_no_more_series_than_a_hundred() {
    let metrics = Metrics::default();
    let series = || metrics.text().unwrap().lines().filter(|line| line.starts_with("trellis_operation")).count();
    let answer = |count: usize| {
        for _ in 0..count {
            let name = format!("N{}", trellis::clock::new_id().simple());
            metrics.operation_answered(&name, "OK", Duration::from_millis(1), 1);
            metrics.operation_answered(&name, "TIMEOUT", Duration::from_millis(1), 1);
        }
    };
    answer(50);
    // Both outcomes, the time and the statements, of each.
    assert_eq!(series(), 4 * 50);
    answer(10_000);
    assert_eq!(series(), 4 * 101, "a hundred, and all others together");
    let others = metrics.text().unwrap();
    assert!(others.contains("trellis_operations_total{name=\"other\",outcome=\"ok\"} 9950\n"), "{others}");
}

#[tokio::test]
async fn two_servers_of_one_process_count_apart() {
    let (busy, idle) = (World::new().await, World::new().await);
    let ada = busy.user("ada").await;
    busy.ask(ada, "{ viewer { name } }", json!({})).await.data();
    let requests = "trellis_requests_total{operation=\"query\",code=\"OK\"}";
    assert_eq!(scrape(&busy).await.get(requests), Some(&1.0));
    let idle = idle.http().get(idle.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(!idle.contains(requests), "{idle}");
}
