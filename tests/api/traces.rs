//! Traces: what a collector gets, what PostgreSQL and the caller are told, and that a collector that is gone is no
//! matter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::errors::{beside, lock, waiting};
use crate::harness::{PATIENT, SECRET, World, one};
use crate::instance::{Ended, Instance, trellis};

/// A collector that speaks OTLP over HTTP.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Collector {
    /// Its address.
    async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/v1/traces", post(Self::receive)).with_state(self.clone());
        tokio::spawn(async move { axum_serve(listener, routes).await });
        address
    }

    async fn receive(State(collector): State<Self>, body: Bytes) -> Vec<u8> {
        collector.0.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
        Vec::new()
    }

    /// Every span, by its id.
    fn spans(&self) -> BTreeMap<Vec<u8>, Span> {
        let received = self.0.lock().unwrap();
        let scopes = received.iter().flat_map(|request| &request.resource_spans).flat_map(|spans| &spans.scope_spans);
        scopes.flat_map(|scope| &scope.spans).map(|span| (span.span_id.clone(), span.clone())).collect()
    }

    /// The services that sent anything.
    fn services(&self) -> BTreeSet<String> {
        let received = self.0.lock().unwrap();
        let resources = received.iter().flat_map(|request| &request.resource_spans).flat_map(|spans| &spans.resource);
        let attributes = resources.flat_map(|resource| &resource.attributes).filter(|pair| pair.key == "service.name");
        attributes.map(value).collect()
    }
}

/// Serves on the connections that come. axum's own server is a feature that Trellis has no use for.
async fn axum_serve(listener: TcpListener, routes: Router) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(routes.clone());
        let http = hyper::server::conn::http1::Builder::new();
        tokio::spawn(http.serve_connection(hyper_util::rt::TokioIo::new(stream), service));
    }
}

fn value(attribute: &KeyValue) -> String {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("a value that nobody sets: {other:?}"),
    }
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    span.attributes.iter().map(|attribute| (attribute.key.as_str(), value(attribute))).collect()
}

/// A server in a process of its own that delivers traces to an address.
struct Traced {
    world: World,
    token: String,
    url: String,
}

impl Traced {
    async fn new(collector: &str, words: &[&str]) -> (Self, Instance) {
        let world = World::new().await;
        let ada = world.user("ada").await;
        let home = world.workspace("home", ada).await;
        world.fill(home, ada, [2, 3, 2]).await;
        let token = world.token(ada);
        let mut command = trellis();
        let logged = format!("{}&options[log_statement]=all", world.addresses.primary);
        command.args(["--database-url", &logged, "--jwt-secret", SECRET, "--listen", "127.0.0.1:0"]);
        command.args(["--primary-connections", "4", "--otlp-endpoint", collector]).args(words);
        let mut instance = Instance::spawn(&mut command);
        let url = instance.url().await;
        (Self { world, token, url }, instance)
    }

    /// The answer, and the header that tells of its trace.
    async fn ask(&self, document: &str, headers: &[(&str, &str)]) -> (Value, String) {
        let mut request = self.world.http().post(format!("{}/graphql", self.url)).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.json(&json!({ "query": document })).send().await.unwrap();
        let trace = response.headers().get("traceresponse").map(|value| value.to_str().unwrap().to_owned());
        (response.json().await.unwrap(), trace.unwrap_or_default())
    }
}

const FOUR_LEVELS: &str = "query Review { workspaces(first: 1) { nodes { projects(first: 2) { nodes {
    tasks(first: 3) { nodes { title comments(first: 2) { nodes { body } } } } } } } } }";

const SAMPLED: (&str, &str) = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
const NOT_SAMPLED: (&str, &str) = ("traceparent", "00-1bf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_sees_the_operation_its_batches_and_their_statements() {
    let collector = Collector::default();
    let address = collector.listen().await;
    let (traced, instance) = Traced::new(&address, &["--trace-ratio", "0", "--service-name", "review"]).await;
    let (answer, told) = traced.ask(FOUR_LEVELS, &[SAMPLED, ("x-request-id", "r-1")]).await;
    assert!(answer.get("errors").is_none(), "{answer}");
    assert_eq!(instance.interrupted().await.code, Some(0));

    let spans = collector.spans();
    assert_eq!(collector.services(), BTreeSet::from(["review".to_owned()]));
    assert!(spans.values().all(|span| hex(&span.trace_id) == "0af7651916cd43dd8448eb211c80319c"), "{spans:#?}");
    let of_kind = |kind: SpanKind| spans.values().filter(move |span| span.kind == kind as i32).collect::<Vec<_>>();
    let [operation] = of_kind(SpanKind::Server)[..] else { panic!("one operation: {spans:#?}") };
    assert_eq!((operation.name.as_str(), hex(&operation.parent_span_id)), ("query", "b7ad6b7169203331".to_owned()));
    assert_eq!(told, format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", hex(&operation.span_id)));
    let expected =
        [("graphql.operation.name", "Review"), ("graphql.operation.type", "query"), ("trellis.request_id", "r-1")];
    assert_eq!(attributes(operation), expected.map(|(key, value)| (key, value.to_owned())).into());

    let mut levels = BTreeMap::new();
    for batch in of_kind(SpanKind::Internal) {
        assert_eq!(batch.parent_span_id, operation.span_id);
        assert!(batch.start_time_unix_nano >= operation.start_time_unix_nano, "it begins within the operation");
        assert!(batch.end_time_unix_nano <= operation.end_time_unix_nano, "and ends within it");
        let below: Vec<_> = spans.values().filter(|span| span.parent_span_id == batch.span_id).collect();
        let [statement] = below[..] else { panic!("one statement a batch: {below:#?}") };
        assert_eq!(statement.kind, SpanKind::Client as i32);
        assert!(statement.start_time_unix_nano >= batch.start_time_unix_nano);
        assert!(statement.end_time_unix_nano <= batch.end_time_unix_nano);
        assert!(statement.end_time_unix_nano > statement.start_time_unix_nano);
        let told = attributes(statement);
        assert_eq!((told["db.system.name"].as_str(), told["trellis.target"].as_str()), ("postgresql", "primary"));
        assert_eq!(told["db.query.summary"], statement.name);
        let figures = (told["trellis.keys"].clone(), told["db.response.returned_rows"].clone());
        assert_eq!(told.len(), 5, "nothing else, and no values: {told:?}");
        assert_eq!(attributes(batch), BTreeMap::from([("trellis.keys", figures.0.clone())]));
        levels.insert(batch.name.clone(), (statement.name.clone(), figures.0, figures.1));
    }
    let level = |kind: &str, name: &str, keys: &str, rows: &str| {
        (kind.to_owned(), (name.to_owned(), keys.to_owned(), rows.to_owned()))
    };
    let expected = [
        level("WorkspacesOfUser", "workspaces_of_user", "1", "1"),
        level("ProjectsOfWorkspace", "projects_of_workspace_by_created_at", "1", "2"),
        level("TaskPage", "tasks_of_project_by_created_at", "2", "6"),
        level("CommentsOfTask", "comments_of_task", "6", "12"),
    ];
    assert_eq!(levels, expected.into());
    assert_eq!(spans.len(), 9, "an operation, four batches, four statements");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_a_request_is_traced_is_for_its_caller_to_say_else_for_the_setting() {
    let collector = Collector::default();
    let address = collector.listen().await;
    let (traced, instance) = Traced::new(&address, &["--trace-ratio", "1"]).await;
    let (_, told) = traced.ask("query Not { viewer { name } }", &[NOT_SAMPLED]).await;
    assert!(told.starts_with("00-1bf7651916cd43dd8448eb211c80319c-") && told.ends_with("-00"), "{told}");
    let (_, told) = traced.ask("query Own { viewer { name } }", &[]).await;
    assert!(told.ends_with("-01"), "{told}");
    let own = told.split('-').nth(1).unwrap().to_owned();
    // What is no traceparent is none.
    let (_, told) = traced.ask("query Bad { viewer { name } }", &[("traceparent", "00-zz-11-01")]).await;
    assert!(told.ends_with("-01"), "{told}");
    let create = "mutation New { workspaceCreate(input: { name: \"New\", slug: \"new\" }) { workspace { id } } }";
    let (answer, _) = traced.ask(create, &[]).await;
    assert!(answer["data"]["workspaceCreate"]["workspace"]["id"].is_string(), "{answer}");
    let (answer, _) = traced.ask("query Wrong { task(id: \"x\") { title } }", &[]).await;
    let code = answer["errors"][0]["extensions"]["code"].as_str().unwrap().to_owned();
    let ended = instance.interrupted().await;

    let spans = collector.spans();
    let roots: BTreeMap<String, &Span> = spans
        .values()
        .filter(|span| span.kind == SpanKind::Server as i32)
        .map(|span| (attributes(span).remove("graphql.operation.name").unwrap_or_default(), span))
        .collect();
    assert!(roots.contains_key("Own") && roots.contains_key("Bad") && !roots.contains_key("Not"), "{:?}", roots.keys());
    assert_eq!(hex(&roots["Own"].trace_id), own);
    assert!(ended.err.contains(&format!("trace_id=\"{own}\"")), "the log names the trace: {}", ended.err);
    assert!(roots["Own"].parent_span_id.is_empty());
    // What a mutation sends belongs to it, in no batch.
    let below = |root: &Span| {
        let spans = spans.values().filter(|span| span.parent_span_id == root.span_id);
        spans.map(|span| span.name.clone()).collect::<BTreeSet<_>>()
    };
    let written = below(roots["New"]);
    assert!(["begin", "workspace_create", "commit"].iter().all(|name| written.contains(*name)), "{written:?}");
    assert_eq!(roots["New"].name, "mutation");
    let wrong = spans.values().find(|span| attributes(span).get("error.type") == Some(&code));
    assert!(wrong.is_some_and(|span| span.status.as_ref().unwrap().code == 2), "{code}: {spans:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_told_of_a_traced_operation_and_keeps_no_statement_for_it() {
    let collector = Collector::default();
    let address = collector.listen().await;
    let (traced, _instance) = Traced::new(&address, &[&PATIENT[..], &["--trace-ratio", "0"]].concat()).await;
    let beside = beside(&traced.world).await;
    let document = |name: &str| format!("query {name} {{ workspaces(first: 1) {{ nodes {{ name }} }} }}");
    let running = async |name: &str, headers: &[(&str, &str)]| {
        let held = lock(&traced.world, "workspaces").await;
        let document = document(name);
        let asked = traced.ask(&document, headers);
        let seen = async {
            let pid = waiting(&beside).await;
            let sql = format!("SELECT query FROM pg_stat_activity WHERE pid = {pid}");
            let query: String = one(&beside, &sql).await.try_get_by_index(0).unwrap();
            held.rollback().await.unwrap();
            query
        };
        let (answer, seen) = tokio::join!(asked, seen);
        assert!(answer.0.get("errors").is_none(), "{answer:?}");
        seen
    };
    let told = running("Review", &[SAMPLED]).await;
    let comment = "/*operation='Review',traceparent='00-0af7651916cd43dd8448eb211c80319c-";
    assert!(told.starts_with(comment) && told.contains("-01'*/ SELECT"), "{told}");
    let plain = running("Review", &[NOT_SAMPLED]).await;
    assert!(plain.starts_with("SELECT") && !plain.contains("/*"), "{plain}");
    // For a hundred operations the session keeps nothing: a statement without a name is gone with the next one.
    let trace = trellis::clock::new_id().simple().to_string();
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    for number in 0..100 {
        let (answer, _) = traced.ask(&document(&format!("Name{number}")), &[("traceparent", &parent)]).await;
        assert!(answer.get("errors").is_none(), "{answer}");
    }
    let directory: String = one(&beside, "SELECT current_setting('data_directory')").await.try_get_by_index(0).unwrap();
    let directory = PathBuf::from(directory);
    let log = directory.with_file_name("log").join(directory.file_name().unwrap()).with_extension("log");
    let log = fs::read(log).unwrap();
    let log = String::from_utf8_lossy(&log);
    let told: Vec<&str> = log.lines().filter(|line| line.contains(&trace)).collect();
    assert_eq!(told.len(), 100, "{told:#?}");
    for (number, line) in told.into_iter().enumerate() {
        let start = format!("execute <unnamed>: /*operation='Name{number}',traceparent='00-{trace}-");
        assert!(line.contains(&start), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_gone_is_told_once_and_every_request_is_answered() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (traced, mut instance) = Traced::new(&format!("http://{gone}"), &["--trace-ratio", "1"]).await;
    for _ in 0..20 {
        let (answer, told) = traced.ask(FOUR_LEVELS, &[]).await;
        assert!(answer.get("errors").is_none() && told.ends_with("-01"), "{answer}");
    }
    instance.logs("traces cannot be delivered").await;
    for _ in 0..20 {
        traced.ask(FOUR_LEVELS, &[]).await;
    }
    let Ended { code, err, .. } = instance.interrupted().await;
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(err.matches("traces cannot be delivered").count(), 1, "{err}");
    assert!(err.contains("onnection refused"), "it says why: {err}");
    assert!(!err.contains("panicked"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_there_are_no_traces_and_an_address_that_cannot_be_one_is_refused() {
    let world = World::new().await;
    let request = world.http().get(world.url("/graphql?query=%7B__typename%7D")).header(SAMPLED.0, SAMPLED.1);
    let answer = request.send().await.unwrap();
    assert!(!answer.headers().contains_key("traceresponse"));
    for endpoint in ["https://collector.example", "localhost:4318", "http://"] {
        let mut command = trellis();
        let refused = crate::instance::run(command.args(["serve", "--otlp-endpoint", endpoint])).await;
        refused.assert_refused(&["--otlp-endpoint", endpoint]);
    }
}
