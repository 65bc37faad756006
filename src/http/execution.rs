//! One operation, whoever brought it: checked, executed, its errors finished for clients.

use std::time::Duration;

use async_graphql::parser::parse_query;
use async_graphql::{Request, Response as Answer, ServerError, Value};
use axum::http::StatusCode;
use uuid::Uuid;

use super::guard;
use crate::batch::Gate;
use crate::config::Limits;
use crate::database::{Operation, Route};
use crate::error::{Code, Error};
use crate::schema::Schema;
use crate::schema::session::Session;

/// Why a request is not executed at all.
#[derive(Debug)]
pub struct Refused {
    /// The answer's status.
    pub status: StatusCode,
    /// The code for clients.
    pub code: &'static str,
    /// What a client is told.
    pub message: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, code: code.as_str(), message: message.into() }
    }

    /// What a client gets to see.
    #[must_use]
    pub fn into_error(self, request_id: &str) -> ServerError {
        let mut error = ServerError::new(self.message, None);
        label(&mut error, self.code, request_id);
        error
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let status = match error.code() {
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::Timeout | Code::Overloaded | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.code(), error.to_string())
    }
}

/// A request that may be executed.
pub struct Checked {
    /// The request, with its document parsed and its variables completed.
    pub request: Request,
    /// The document's name of the operation, where it has one.
    pub name: Option<String>,
    /// What kind of operation it is.
    pub operation: Operation,
}

/// Checks a request against the limits, and finds its operation.
///
/// # Errors
/// The document is not GraphQL, is too large, or lacks the operation or a variable.
pub fn check(mut request: Request, limits: &Limits) -> Result<Checked, Refused> {
    guard::check_text(&request.query, limits)?;
    let document = parse_query(&request.query).map_err(|error| {
        let message = format!("The document is not GraphQL:\n{error}");
        Refused::new(StatusCode::BAD_REQUEST, Code::GraphqlParseFailed, message)
    })?;
    let Some((name, operation)) = guard::operation(&document, request.operation_name.as_deref()) else {
        let message =
            "operationName must name one of the document's operations; it can be left out where there is one.";
        return Err(Refused::new(StatusCode::BAD_REQUEST, Code::BadUserInput, message));
    };
    guard::check_size(&document, limits)?;
    guard::complete_variables(&document, operation, &mut request.variables)?;
    let (name, operation) = (name.map(str::to_owned), guard::kind(operation));
    request.set_parsed_query(document);
    Ok(Checked { request, name, operation })
}

/// Executes a request that has been checked, as `viewer` and over `route`.
///
/// # Errors
/// It took longer than a request may.
pub async fn run(
    schema: &Schema,
    request: Request,
    viewer: Option<Uuid>,
    route: Route,
    limits: &Limits,
) -> Result<Answer, Error> {
    let gate = Gate::default();
    let session = Session::new(viewer, route, gate.clone());
    let execution = gate.run(schema.execute(request.data(session)));
    let deadline = Duration::from_millis(u64::from(limits.request_timeout_ms));
    tokio::time::timeout(deadline, execution).await.map_err(|_| Error::Timeout)
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

/// How the library's messages begin that are about a value and not about the document: it has no type for these either.
const BAD_INPUT: [&str; 3] = ["Invalid value for argument", "Expected input type", "Failed to parse"];

fn finish_error(error: &mut ServerError, executed: bool, request_id: &str) -> Code {
    let code = match error.source::<Error>() {
        Some(ours) => {
            if let Some(cause) = ours.cause() {
                tracing::error!(request_id, code = ours.code().as_str(), %cause, "a request failed");
            }
            ours.code()
        }
        None if executed || !error.path.is_empty() => Code::BadUserInput,
        // The library has no type for these.
        None if error.message.contains("too complex") => {
            "The document asks for more fields than maxComplexity: ask for smaller pages."
                .clone_into(&mut error.message);
            Code::LimitExceeded
        }
        None if error.message.starts_with("The amount of aliases") => {
            "The document has more aliases than maxAliases.".clone_into(&mut error.message);
            Code::LimitExceeded
        }
        None if BAD_INPUT.iter().any(|start| error.message.starts_with(start)) => Code::BadUserInput,
        None => Code::GraphqlValidationFailed,
    };
    label(error, code.as_str(), request_id);
    code
}

/// Tells a client what kind of error it is, and by which id to ask about it.
pub(super) fn label(error: &mut ServerError, code: &str, request_id: &str) {
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("code", code);
    extensions.set("requestId", request_id);
}

/// Whether execution began: an answer of nothing but errors without a path was refused before.
pub(super) fn is_executed(answer: &Answer) -> bool {
    answer.data != Value::Null || answer.errors.iter().any(|error| !error.path.is_empty())
}
