//! One operation, whoever brought it: checked and executed.

use std::time::Duration;

use async_graphql::parser::parse_query;
use async_graphql::{Request, Response as Answer};
use uuid::Uuid;

use super::guard;
use super::response::Refused;
use crate::batch::Gate;
use crate::config::Limits;
use crate::database::{Operation, Route};
use crate::error::{Code, Error};
use crate::schema::Schema;
use crate::schema::session::Session;

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
        Refused::document(Code::GraphqlParseFailed, format!("The document is not GraphQL:\n{error}"))
    })?;
    let Some((name, operation)) = guard::operation(&document, request.operation_name.as_deref()) else {
        let message =
            "operationName must name one of the document's operations; it can be left out where there is one.";
        return Err(Refused::document(Code::BadUserInput, message));
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
