//! One operation, whoever brought it: checked and executed.

use async_graphql::parser::types::{ExecutableDocument, OperationType};
use async_graphql::{Request, Response as Answer};
use uuid::Uuid;

use crate::batch::Gate;
use crate::config::Limits;
use crate::database::{Operation, Route};
use crate::error::Error;
use crate::guard::{Admitted, Cost, Guard};
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
    /// What it costs.
    pub cost: Cost,
    /// Whether it may select a report: the name of the field is somewhere in the document.
    pub reports: bool,
}

/// Passes a request through the guard; a `trusted` document has been parsed already.
///
/// # Errors
/// The document is not GraphQL, is too large, or lacks the operation or a variable.
pub fn check(mut request: Request, trusted: Option<ExecutableDocument>, guard: &Guard) -> Result<Checked, Error> {
    // The text of a trusted one need not be at hand.
    let reports = trusted.is_some() || request.query.contains("report");
    let document = trusted.map_or_else(|| guard.parse(&request.query), Ok)?;
    let admitted = guard.admit(document, request.operation_name.as_deref(), &mut request.variables)?;
    let Admitted { document, name, kind, cost } = admitted;
    let operation = match kind {
        OperationType::Mutation => Operation::Mutation,
        OperationType::Query | OperationType::Subscription => Operation::Query,
    };
    request.set_parsed_query(document);
    Ok(Checked { request, name, operation, cost, reports })
}

/// Executes a request that has been checked, as `viewer` and over `route`. It is for the caller to give it up.
pub async fn run(schema: &Schema, request: Request, viewer: Option<Uuid>, route: Route, limits: &Limits) -> Answer {
    let gate = Gate::default();
    let session = Session::new(viewer, route, gate.clone());
    let mut answer = gate.run(schema.execute(request.data(session))).await;
    answer.errors.truncate(usize::from(limits.max_errors));
    answer
}
