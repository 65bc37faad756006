//! One operation, whoever brought it: checked and executed.

use std::sync::Arc;

use async_graphql::parser::types::{ExecutableDocument, OperationType};
use async_graphql::{Request, Response as Answer, Variables};
use uuid::Uuid;

use crate::batch::Gate;
use crate::config::Limits;
use crate::database::{Operation, Route};
use crate::error::Error;
use crate::guard::{Admitted, Cost, Guard};
use crate::schema::Schema;
use crate::schema::session::Session;

/// The document of a request.
#[derive(Debug)]
pub enum Document {
    /// As it was sent.
    Text(String),
    /// Of the manifest, where it was parsed at the start.
    Trusted(Arc<ExecutableDocument>),
}

impl Document {
    /// Parsed, for the library to keep: it takes the selections that are skipped out of it.
    fn parse(&self, guard: &Guard) -> Result<ExecutableDocument, Error> {
        match self {
            Self::Text(text) => guard.parse(text),
            Self::Trusted(document) => Ok(ExecutableDocument::clone(document)),
        }
    }
}

/// A request as a client sends it.
#[derive(Debug)]
pub struct Received {
    /// The document.
    pub document: Document,
    /// Which of its operations is asked for.
    pub operation_name: Option<String>,
    /// The variables.
    pub variables: Variables,
}

impl From<Document> for Received {
    fn from(document: Document) -> Self {
        Self { document, operation_name: None, variables: Variables::default() }
    }
}

/// A request that may be executed.
pub struct Checked {
    /// The request, with its document parsed and its variables completed.
    pub request: Request,
    /// What it can be made of once more. Mutations are executed once.
    pub again: Option<Received>,
    /// The document's name of the operation, where it has one.
    pub name: Option<String>,
    /// What kind of operation it is.
    pub operation: Operation,
    /// What it costs.
    pub cost: Cost,
    /// Whether it may select a report: the name of the field is somewhere in the document.
    pub reports: bool,
}

/// Passes a request through the guard.
///
/// # Errors
/// The document is not GraphQL, is too large, or lacks the operation or a variable.
pub fn check(received: Received, guard: &Guard) -> Result<Checked, Error> {
    let Received { document, operation_name, mut variables } = received;
    let admitted = guard.admit(document.parse(guard)?, operation_name.as_deref(), &mut variables)?;
    let Admitted { document: parsed, name, kind, cost } = admitted;
    let reports = match &document {
        Document::Text(text) => text.contains("report"),
        Document::Trusted(_) => true,
    };
    let (operation, again) = match kind {
        OperationType::Mutation => (Operation::Mutation, None),
        OperationType::Query | OperationType::Subscription => {
            let (operation_name, variables) = (operation_name.clone(), variables.clone());
            (Operation::Query, Some(Received { document, operation_name, variables }))
        }
    };
    Ok(Checked { request: request(parsed, operation_name, variables), again, name, operation, cost, reports })
}

/// Makes the request of one that has been checked once more.
///
/// # Errors
/// None: its document has been parsed before.
pub fn renew(checked: &Received, guard: &Guard) -> Result<Request, Error> {
    let Received { document, operation_name, variables } = checked;
    Ok(request(document.parse(guard)?, operation_name.clone(), variables.clone()))
}

/// The library need not see the text of a document that is parsed.
fn request(document: ExecutableDocument, operation_name: Option<String>, variables: Variables) -> Request {
    let mut request = Request::new("").variables(variables);
    request.operation_name = operation_name;
    request.set_parsed_query(document);
    request
}

/// Executes a request that has been checked, as `viewer` and over `route`. It is for the caller to give it up.
pub async fn run(schema: &Schema, request: Request, viewer: Option<Uuid>, route: Route, limits: &Limits) -> Answer {
    let gate = Gate::default();
    let session = Session::new(viewer, route, gate.clone());
    let mut answer = gate.run(schema.execute(request.data(session))).await;
    answer.errors.truncate(usize::from(limits.max_errors));
    answer
}
