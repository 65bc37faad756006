//! Writes answers: bodies, status codes and headers, and what an error tells a client and what the log.

use std::borrow::Cow;

use async_graphql::{Response as Answer, ServerError, Value};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::media_type::MediaType;
use super::{RATE_LIMIT, RATE_LIMIT_POLICY};
use crate::error::{Code, Error, shortened};
use crate::rate_limit::Allowance;

/// Why a request is not executed at all.
#[derive(Debug)]
pub struct Refused {
    /// None where it is for the media type to say: the request is well formed, and its document cannot be run.
    status: Option<StatusCode>,
    code: Code,
    message: String,
    /// Tells the client what would have been taken.
    header: Option<(HeaderName, &'static str)>,
    /// What the log is told besides.
    error: Option<Error>,
}

impl Refused {
    /// The request is no request, or cannot be answered now.
    pub(super) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status: Some(status), code, message: message.into(), header: None, error: None }
    }

    /// The request is well formed, and its document cannot be run.
    pub(super) fn document(code: Code, message: impl Into<String>) -> Self {
        Self { status: None, code, message: message.into(), header: None, error: None }
    }

    /// The same with a header that tells what would have been taken.
    pub(super) fn telling(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// What a client gets to see; the log gets the cause.
    #[must_use]
    pub fn into_error(self, request_id: &str) -> ServerError {
        if let Some(error) = &self.error {
            log_cause(error, request_id);
        }
        let mut error = ServerError::new(self.message, None);
        label(&mut error, self.code, request_id);
        error
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let (code, message) = (error.code(), error.to_string());
        let refused = match code {
            Code::Unauthenticated => {
                Self::new(StatusCode::UNAUTHORIZED, code, message).telling(header::WWW_AUTHENTICATE, "Bearer")
            }
            Code::RateLimited => Self::new(StatusCode::TOO_MANY_REQUESTS, code, message),
            Code::Timeout | Code::Overloaded | Code::Unavailable => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
            }
            // Nobody is invited to send it again without a look.
            Code::OutcomeUnknown | Code::Internal => Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, message),
            // It came in a header.
            Code::BadConsistencyToken => Self::new(StatusCode::BAD_REQUEST, code, message),
            _ => Self::document(code, message),
        };
        Self { error: Some(error), ..refused }
    }
}

/// Tells what a caller may still ask for, as draft 11 of
/// [RateLimit header fields](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/) has it. Points are
/// no unit of its registry, so a parameter of our own names them.
pub(super) fn tell_allowance(response: &mut Response, allowance: Allowance) {
    let Allowance { limit, remaining, .. } = allowance;
    let policy = format!("\"caller\";q={limit};w={};trellis-unit=\"points\"", allowance.window());
    // The two must not contradict each other.
    let told = response.headers().get(header::RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
    let left = format!("\"caller\";r={remaining};t={}", told.unwrap_or(allowance.reset()));
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// The answer to a request that is not executed.
pub(super) fn refuse(mut refused: Refused, media_type: MediaType, request_id: &str) -> Response {
    let status = refused.status.unwrap_or_else(|| media_type.status_of_unexecuted());
    let header = refused.header.take().map(|(name, value)| (name, HeaderValue::from_static(value)));
    let wait = match refused.error {
        Some(Error::RateLimited { retry_after, .. }) => Some((header::RETRY_AFTER, HeaderValue::from(retry_after))),
        _ => None,
    };
    let mut response = write(status, media_type, &Errors { errors: &[refused.into_error(request_id)] });
    for (name, value) in header.into_iter().chain(wait) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The answer to a request that the library was given. [`finish`] has been called on it.
pub(super) fn respond(answer: &Answer, media_type: MediaType) -> Response {
    if is_executed(answer) {
        let mut response = write(StatusCode::OK, media_type, answer);
        response.headers_mut().extend(answer.http_headers.clone());
        return response;
    }
    // `data` must be absent where nothing was executed; the library would write null.
    write(media_type.status_of_unexecuted(), media_type, &Errors { errors: &answer.errors })
}

/// The body of an answer to a request that was not executed.
#[derive(Serialize)]
struct Errors<'a> {
    errors: &'a [ServerError],
}

/// How long a client that was turned away should wait, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

fn write(status: StatusCode, media_type: MediaType, body: &impl Serialize) -> Response {
    let body = match serde_json::to_vec(body) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let headers = [
        (header::CONTENT_TYPE, media_type.content_type()),
        // Who else asks for the same, or later, may see something else.
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept"),
    ];
    let mut response = (status, headers, body).into_response();
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

/// Gives every error its code and its text for clients, logs what they are not told, and returns the code for the log.
pub fn finish(answer: &mut Answer, request_id: &str) -> &'static str {
    let executed = is_executed(answer);
    let mut first = None;
    for error in &mut answer.errors {
        let code = finish_error(error, executed, request_id);
        first.get_or_insert(code.as_str());
    }
    first.unwrap_or("OK")
}

/// Why a request was not served, where that is all there is to tell: each of its fields failed because the database was
/// away or busy. Like that, it is the same as one that was not executed, and may be sent again; unless it has written
/// something, and failed at what it selects.
#[must_use]
pub fn unserved(answer: &Answer) -> Option<Error> {
    let is_empty = match &answer.data {
        Value::Object(fields) => fields.values().all(|value| *value == Value::Null),
        data => *data == Value::Null,
    };
    let ours = |error: &ServerError| error.source::<Error>().cloned();
    let errors = answer.errors.iter().map(ours).collect::<Option<Vec<Error>>>().filter(|_| is_empty)?;
    let is_for_later = |error: &Error| matches!(error.code(), Code::Unavailable | Code::Overloaded);
    errors.iter().all(is_for_later).then(|| errors.into_iter().next()).flatten()
}

/// Whether a part of a query failed on a server that went away, or for others' work: all of it may succeed elsewhere.
#[must_use]
pub fn is_interrupted(answer: &Answer) -> bool {
    let is_interruption = |error: &Error| matches!(error, Error::Unavailable(_) | Error::Interrupted(_));
    answer.errors.iter().any(|error| error.source::<Error>().is_some_and(is_interruption))
}

/// How the library's messages begin that are about a value and not about the document: it has no type for these either.
const BAD_INPUT: [&str; 3] = ["Invalid value for argument", "Expected input type", "Failed to parse"];

fn finish_error(error: &mut ServerError, executed: bool, request_id: &str) -> Code {
    let code = match error.source::<Error>() {
        Some(ours) => {
            log_cause(ours, request_id);
            ours.code()
        }
        None if executed || !error.path.is_empty() => Code::BadUserInput,
        None if BAD_INPUT.iter().any(|start| error.message.starts_with(start)) => Code::BadUserInput,
        None => Code::GraphqlValidationFailed,
    };
    // The library repeats what was sent.
    if let Cow::Owned(message) = shortened(&error.message) {
        error.message = message;
    }
    label(error, code, request_id);
    code
}

/// Logs what a client is not told.
fn log_cause(error: &Error, request_id: &str) {
    if let Some(cause) = error.cause() {
        tracing::error!(request_id, code = error.code().as_str(), %cause, "a request failed");
    }
}

/// Tells a client what kind of error it is, and by which id to ask about it.
fn label(error: &mut ServerError, code: Code, request_id: &str) {
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("code", code.as_str());
    extensions.set("requestId", request_id);
}

/// Whether execution began: an answer of nothing but errors without a path was refused before.
fn is_executed(answer: &Answer) -> bool {
    answer.data != Value::Null || answer.errors.iter().any(|error| !error.path.is_empty())
}
