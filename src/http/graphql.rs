//! The endpoint: one request in, checked, routed, executed, answered, logged.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_graphql::{Name, Response as Answer, Value, value};
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::FutureExt;
use tokio::time::timeout_at;
use uuid::Uuid;

use super::connection::Connection;
use super::execution::{self, Checked, Document};
use super::media_type::MediaType;
use super::response::{self, Refused, finish, refuse, respond, tell_allowance};
use super::{App, CONSISTENCY_TOKEN, REQUEST_ID, request};
use crate::config::Limits;
use crate::database::{Consistency, Meter, Needs, Operation, Origin, Served, Target};
use crate::error::{Code, Error};
use crate::guard::Cost;
use crate::metrics::Refusal;
use crate::rate_limit::{Allowance, Caller};
use crate::telemetry::{Answered, TRACE_RESPONSE, Trace, milliseconds};

/// Answers a request.
pub(super) async fn serve(State(app): State<Arc<App>>, request: axum::extract::Request) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let request_id = text(&parts.headers, REQUEST_ID.as_str()).unwrap_or_default();
    let meter = Meter::default();
    let trace = app.traces.as_ref().map(|traces| traces.open(&parts.headers));
    let has_unread_body = !body.is_end_stream();
    let operation = String::from("-");
    let mut asked = Asked { operation, kind: None, allowance: None, has_unread_body, request_id, trace };
    let (media_type, outcome) = match MediaType::negotiate(&parts.headers) {
        Ok(media_type) => (media_type, caught(&app, answer(&app, &parts, body, &meter, &mut asked)).await),
        Err(refused) => (MediaType::Json, Err(refused)),
    };
    let Asked { operation, kind, allowance, has_unread_body, request_id, trace } = &asked;
    let (code, mut response) = match outcome {
        Ok(mut answer) => {
            let code = finish(&mut answer, request_id);
            if app.debug_sql && is_asked_for(&parts.headers, "sql") {
                answer.extensions.insert("sql".to_owned(), statements(&meter));
            }
            (code, respond(&answer, media_type))
        }
        Err(refused) => (refused.code().as_str(), refuse(refused, media_type, request_id)),
    };
    if let Some(allowance) = allowance {
        tell_allowance(&mut response, *allowance);
    }
    // What comes of the body would be taken for the next request, so that there can be none: who is not told sends it.
    if *has_unread_body {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let total = started.elapsed();
    let trace = trace.as_ref();
    Answered { operation, kind: *kind, meter: &meter, total, code, request_id, trace }.tell(&app.metrics);
    if let Some(header) = trace.and_then(Trace::response_header) {
        response.headers_mut().insert(TRACE_RESPONSE, header);
    }
    response
}

/// What is known of a request as it is read.
struct Asked {
    /// The document's name of the operation; `-` where it has none.
    operation: String,
    kind: Option<Operation>,
    /// What its caller may still ask for, where that is limited.
    allowance: Option<Allowance>,
    /// Whether its body is, or may be, still on its way.
    has_unread_body: bool,
    request_id: String,
    trace: Option<Trace>,
}

/// Makes a panic an answer, and counts it. The runtime has printed it already.
async fn caught(app: &App, answer: impl Future<Output = Result<Answer, Refused>>) -> Result<Answer, Refused> {
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
        app.metrics.panics().panicked();
        Err(Error::panicked().into())
    })
}

async fn answer(app: &App, parts: &Parts, body: Body, meter: &Meter, asked: &mut Asked) -> Result<Answer, Refused> {
    let headers = &parts.headers;
    let Some(Connection { peer, is_beyond_bound: false }) = parts.extensions.get().copied() else {
        return Err(Error::Overloaded.into());
    };
    let viewer = bearer(headers).and_then(|token| token.map(|token| app.verifier.check(token)).transpose());
    // Whoever guesses tokens pays for it too.
    let caller = Caller::new(viewer.as_ref().ok().copied().flatten(), peer);
    charge(app, caller, 1, asked)?;
    let viewer = viewer?;
    let body = request::receive(app, parts, body).await?;
    asked.has_unread_body &= parts.method != Method::POST;
    let received = request::read(app, parts, &body)?;
    // Once it is here: who sends slowly takes no place from the others meanwhile.
    let borrower = app.database.borrower(viewer);
    let _place = app.admission.enter(&borrower.claim())?;
    let is_trusted = matches!(received.document, Document::Trusted(_));
    let checked = execution::check(received, &app.guard)?;
    let (operation, cost) = (checked.operation, checked.cost);
    asked.kind = Some(operation);
    if let Some(name) = &checked.name {
        asked.operation.clone_from(name);
    }
    if !is_trusted {
        app.trusted_documents.tell_of(&asked.operation);
    }
    if operation == Operation::Mutation && parts.method != Method::POST {
        let refused =
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, Code::BadUserInput, "Send mutations by POST, with JSON.");
        return Err(refused.telling(header::ALLOW, "POST"));
    }
    // A point is paid for already.
    charge(app, caller, cost.complexity.saturating_sub(1), asked)?;
    let comment = asked.trace.as_ref().and_then(|trace| trace.comment(&asked.operation));
    let (operation_name, request_id) = (asked.operation.clone(), asked.request_id.clone());
    let meter = &meter.of(Origin { operation: operation_name, request_id, comment, borrower });
    let token = consistency_token(headers)?;
    let after = token.map(|token| app.database.open_token(token)).transpose()?;
    let needs = Needs { after, reports: checked.reports, avoids_replicas: false };
    let limits = app.guard.limits();
    // It is large, and there are many requests.
    let execution = Box::pin(execute(app, Execution { checked, viewer, needs, allowance: asked.allowance }, meter));
    let (mut answer, served) = execution.await?;
    if let Some(error) = response::unserved(&answer).filter(|_| !served.has_written()) {
        return Err(error.into());
    }
    tell_consistency(&mut answer, &served.consistency(token));
    if is_asked_for(headers, "cost") {
        answer.extensions.insert("cost".to_owned(), of_cost(cost, limits));
    }
    Ok(answer)
}

/// Takes points from a caller, where callers are limited.
fn charge(app: &App, caller: Caller, points: u64, asked: &mut Asked) -> Result<(), Error> {
    let Some(limiter) = &app.rate_limiter else { return Ok(()) };
    let charged = limiter.charge(caller, points, asked.allowance);
    asked.allowance = Some(charged.unwrap_or_else(|_| limiter.exhausted()));
    charged.map(drop).inspect_err(|_| app.metrics.admission().refused(Refusal::Rate)).map_err(Error::from)
}

/// What is executed, for whom, and what it needs.
struct Execution {
    checked: Checked,
    viewer: Option<Uuid>,
    needs: Needs,
    allowance: Option<Allowance>,
}

/// Executes an operation. A query that comes upon a server that goes away is executed anew, all of it, so that it still
/// sees one state: once more wherever it should go, then on the primary if there is one.
async fn execute(app: &App, execution: Execution, meter: &Meter) -> Result<(Answer, Served), Refused> {
    let Execution { checked: Checked { mut request, again, operation, .. }, viewer, mut needs, allowance } = execution;
    let limits = app.guard.limits();
    let deadline = tokio::time::Instant::now() + limits.request_timeout();
    for attempt in 1.. {
        let again = again.as_ref().filter(|_| attempt < ATTEMPTS);
        let route = timeout_at(deadline, app.database.route(operation, meter, needs)).await;
        let again = match (route.map_err(|_| Error::Timeout)?, again) {
            // A replica may have been silent for a moment only.
            (Err(Error::Unavailable(_)), Some(again)) => again,
            (Err(error), _) => return Err(error.into()),
            (Ok(route), again) => {
                let (served, writer) = (route.served.clone(), route.writer.clone());
                if let Some(allowance) = allowance {
                    request = request.data(allowance);
                }
                let answer = timeout_at(deadline, execution::run(&app.schema, request, viewer, route, limits)).await;
                let answer = answer.map_err(|_| writer.map_or(Error::Timeout, |writer| writer.given_up()))?;
                let Some(again) = again.filter(|_| response::is_interrupted(&answer)) else {
                    return Ok((answer, served));
                };
                again
            }
        };
        app.database.reconsider().await;
        needs.avoids_replicas = attempt + 1 == ATTEMPTS;
        request = execution::renew(again, &app.guard)?;
    }
    Err(Error::Timeout.into())
}

/// How often a query is executed.
const ATTEMPTS: u32 = 3;

/// Gives the client its token, and where that is news, tells which server was read.
fn tell_consistency(answer: &mut Answer, consistency: &Consistency) {
    let Consistency { token, served_by, lag, is_lost, is_telling } = consistency;
    if let Some(token) = token.as_deref().and_then(|token| HeaderValue::from_str(token).ok()) {
        answer.http_headers.insert(CONSISTENCY_TOKEN, token);
    }
    if !is_telling {
        return;
    }
    let lag_ms = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
    let mut told = value!({ "token": token, "servedBy": served_by, "lagMs": lag_ms });
    if let (true, Value::Object(told)) = (*is_lost, &mut told) {
        told.insert(Name::new("code"), Value::from("WRITE_LOST_IN_FAILOVER"));
    }
    answer.extensions.insert("consistency".to_owned(), told);
}

/// Whether the header `X-Debug` names a topic.
fn is_asked_for(headers: &HeaderMap, topic: &str) -> bool {
    let topics = text(headers, "x-debug").unwrap_or_default();
    topics.split(',').any(|asked| asked.trim().eq_ignore_ascii_case(topic))
}

/// What `X-Debug: cost` shows.
fn of_cost(Cost { complexity, depth }: Cost, limits: &Limits) -> Value {
    let (max_complexity, max_depth) = (limits.max_complexity, limits.max_depth);
    value!({ "complexity": complexity, "depth": depth, "maxComplexity": max_complexity, "maxDepth": max_depth })
}

/// The bearer token; none where there is no Authorization header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Error::Unauthenticated)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(Error::Unauthenticated) }
}

/// The consistency token; none where there is no header. One that is no text must not pass for none: its sender counts
/// on it.
fn consistency_token(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let token = headers.get(CONSISTENCY_TOKEN).map(HeaderValue::to_str);
    token.transpose().map_err(|_| Error::BadConsistencyToken)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// What `X-Debug: sql` shows.
fn statements(meter: &Meter) -> Value {
    let executed = meter.executed();
    let count = |target| executed.iter().filter(|statement| statement.target == target).count();
    let database: Duration = executed.iter().map(|statement| statement.elapsed).sum();
    let statements: Vec<Value> = executed
        .iter()
        .map(|statement| {
            value!({
                "name": statement.name,
                "rows": statement.rows,
                "ms": milliseconds(statement.elapsed),
                "target": statement.target.name(),
                "keys": statement.keys,
            })
        })
        .collect();
    value!({
        "primary": count(Target::Primary),
        "replica": count(Target::Replica),
        "ms": milliseconds(database),
        "statements": statements,
    })
}
