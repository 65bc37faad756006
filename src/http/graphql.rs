//! The endpoint: one request in, checked, routed, executed, answered, logged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_graphql::{Response as Answer, ServerError, Value, value};
use async_graphql_axum::GraphQLResponse;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::execution::{self, Checked, Refused, finish, is_executed, label};
use super::{App, REQUEST_ID};
use crate::database::{Meter, Target};
use crate::error::{Code, Error};
use crate::telemetry::{Answered, milliseconds};

/// The header in which a client proves what it has written.
const CONSISTENCY_TOKEN: &str = "x-consistency-token";

/// A request's body may be this many times as large as its document.
const BODY_PER_DOCUMENT: usize = 4;

/// Answers a request.
pub(super) async fn serve(State(app): State<Arc<App>>, request: Request) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let request_id = text(&parts.headers, REQUEST_ID.as_str()).unwrap_or_default();
    let meter = Meter::default();
    let mut operation = String::from("-");
    let outcome = answer(&app, &parts.headers, body, &meter, &mut operation).await;
    let (code, response) = match outcome {
        Ok(mut answer) => {
            let code = finish(&mut answer, &request_id);
            if app.debug_sql && text(&parts.headers, "x-debug").is_some_and(|topics| topics.contains("sql")) {
                answer.extensions.insert("sql".to_owned(), statements(&meter));
            }
            (code, respond(answer))
        }
        Err(Refused { status, code, message }) => (code, refuse(status, code, &message, &request_id)),
    };
    Answered { operation: &operation, meter: &meter, total: started.elapsed(), code, request_id: &request_id }.log();
    response
}

async fn answer(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    meter: &Meter,
    operation_name: &mut String,
) -> Result<Answer, Refused> {
    let viewer = bearer(headers)?.map(|token| app.verifier.check(token)).transpose()?;
    let request = read(app, headers, body).await?;
    let Checked { request, name, operation } = execution::check(request, &app.limits)?;
    if let Some(name) = name {
        *operation_name = name;
    }
    let after = consistency_token(headers)?.map(|token| app.database.open_token(token)).transpose()?;
    let route = app.database.route(operation, meter, after).await;
    Ok(execution::run(&app.schema, request, viewer, route, &app.limits).await?)
}

/// Reads the body, no further than its limit.
async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<async_graphql::Request, Refused> {
    // A form can be sent by any page that a browser shows; JSON cannot without the server's consent.
    let is_json = text(headers, header::CONTENT_TYPE.as_str()).is_some_and(|content_type| {
        content_type.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
    });
    if !is_json {
        let message = "Send JSON, with the header Content-Type: application/json.";
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::BadUserInput, message));
    }
    let max_bytes =
        usize::try_from(app.limits.max_document_bytes).unwrap_or(usize::MAX).saturating_mul(BODY_PER_DOCUMENT);
    let bytes = to_bytes(body, max_bytes).await.map_err(|_| {
        let message = format!("The body has more than {max_bytes} bytes, or ended early.");
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, Code::LimitExceeded, message)
    })?;
    // The list of an object's values would be read as the object.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        let message = "The body is a list; send one request at a time.";
        return Err(Refused::new(StatusCode::BAD_REQUEST, Code::BadUserInput, message));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!(
            "The body is not {{\"query\": \"…\", \"variables\": {{…}}, \"operationName\": \"…\"}}: line {}, column {}.",
            error.line(),
            error.column()
        );
        Refused::new(StatusCode::BAD_REQUEST, Code::BadUserInput, message)
    })
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
    let token = headers.get(CONSISTENCY_TOKEN).map(axum::http::HeaderValue::to_str);
    token.transpose().map_err(|_| Error::BadConsistencyToken)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn respond(answer: Answer) -> Response {
    if is_executed(&answer) {
        return GraphQLResponse::from(answer).into_response();
    }
    // `data` must be absent where nothing was executed; the library would write null.
    let body = serde_json::to_string(&Errors { errors: answer.errors }).unwrap_or_default();
    (StatusCode::BAD_REQUEST, MEDIA_TYPE, body).into_response()
}

/// The body of an answer to a request that was not executed.
#[derive(Serialize)]
struct Errors {
    errors: Vec<ServerError>,
}

const MEDIA_TYPE: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/graphql-response+json")];

fn refuse(status: StatusCode, code: &str, message: &str, request_id: &str) -> Response {
    let mut error = ServerError::new(message, None);
    label(&mut error, code, request_id);
    let body = serde_json::to_string(&Errors { errors: vec![error] }).unwrap_or_default();
    let mut response = (status, MEDIA_TYPE, body).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

/// The answer to a request whose handling panicked. The panic itself has been printed by the runtime.
pub(super) fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let message = "Something went wrong on our side.";
    refuse(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal.as_str(), message, "")
}

/// What `X-Debug: sql` shows.
fn statements(meter: &Meter) -> Value {
    let executed = meter.executed();
    let count = |target| executed.iter().filter(|statement| statement.target == target).count();
    let database: Duration = executed.iter().map(|statement| statement.elapsed).sum();
    let statements: Vec<Value> = executed
        .iter()
        .map(|statement| {
            let target = match statement.target {
                Target::Primary => "primary",
                Target::Replica => "replica",
            };
            value!({
                "name": statement.name,
                "rows": statement.rows,
                "ms": milliseconds(statement.elapsed),
                "target": target,
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
