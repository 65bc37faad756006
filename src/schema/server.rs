//! What this server is, which needs no login, and what a document would cost.

use std::sync::Arc;

use async_graphql::{Context, Json, Object, SimpleObject, Variables};

use super::scalar::DateTime;
use super::session::Session;
use crate::clock;
use crate::config::{DEFAULT_PAGE, MAX_PAGE};
use crate::error::Error;
use crate::guard::Guard;
use crate::rate_limit::Allowance;

/// The root field about the server.
#[derive(Debug, Default)]
pub struct ServerQuery;

#[Object]
impl ServerQuery {
    /// What this server is, and its limits; needs no login.
    fn server(&self, context: &Context<'_>) -> Server {
        let limits = context.data_unchecked::<Arc<Guard>>().limits();
        Server {
            version: env!("CARGO_PKG_VERSION"),
            limits: Limits {
                max_body_bytes: int(limits.max_body_bytes()),
                max_document_bytes: int(limits.max_document_bytes),
                max_tokens: int(limits.max_tokens),
                max_name_bytes: int(limits.max_name_bytes),
                max_nesting: int(limits.max_nesting),
                max_value_nesting: int(limits.max_value_nesting),
                max_list_items: int(limits.max_list_items),
                max_operations: int(limits.max_operations),
                max_variables: int(limits.max_variables),
                max_directives: int(limits.max_directives),
                max_selections: int(limits.max_selections),
                max_aliases: int(limits.max_aliases),
                max_root_fields: int(limits.max_root_fields),
                max_depth: int(limits.max_depth),
                max_complexity: int(limits.max_complexity),
                max_introspection: int(limits.max_introspection),
                max_estimates: int(limits.max_estimates),
                max_answer_bytes: int(limits.max_answer_bytes),
                max_page_size: int(MAX_PAGE),
                default_page_size: int(DEFAULT_PAGE),
                max_errors: int(limits.max_errors),
                request_timeout_ms: int(limits.request_timeout_ms),
            },
        }
    }

    /// What the caller may still ask for; null where the server does not limit it. Needs no login.
    fn rate_limit(&self, context: &Context<'_>) -> Option<RateLimit> {
        let allowance = context.data_opt::<Allowance>()?;
        Some(RateLimit {
            limit: int(allowance.limit),
            points_per_second: int(allowance.per_second),
            cost: int(allowance.cost),
            remaining: int(allowance.remaining),
            reset_at: DateTime(clock::now() + chrono::Duration::seconds(allowance.reset().into())),
        })
    }

    /// What a document would cost, its one operation being sent with these variables. Nothing of it is executed, and it
    /// may cost more than is allowed. What is not in the schema counts as one field. The limit `maxEstimates` says how
    /// often a request may ask.
    async fn estimate_cost(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The document.")] document: String,
        #[graphql(desc = "The variables: an object.")] variables: Option<Json<Variables>>,
    ) -> Option<Result<Cost, Error>> {
        let guard = context.data_unchecked::<Arc<Guard>>();
        let variables = variables.map(|Json(variables)| variables).unwrap_or_default();
        let estimates = Session::of(context).count_estimate();
        let allowed = estimates.and_then(|estimates| guard.check_estimates(estimates));
        let cost = allowed.and_then(|()| guard.estimate(&document, variables));
        Some(cost.map(|cost| Cost {
            complexity: int(cost.complexity),
            depth: int(cost.depth),
            max_complexity: int(guard.limits().max_complexity),
            max_depth: int(guard.limits().max_depth),
        }))
    }
}

fn int(value: impl TryInto<i32>) -> i32 {
    value.try_into().unwrap_or(i32::MAX)
}

/// This server.
#[derive(Debug, SimpleObject)]
pub struct Server {
    /// The release, as in `1.2.3`.
    version: &'static str,
    /// What one request may ask for.
    limits: Limits,
}

/// What one request may ask for; more is refused with `LIMIT_EXCEEDED`.
#[derive(Debug, SimpleObject)]
pub struct Limits {
    /// How many bytes the body of a request may have, unpacked too.
    max_body_bytes: i32,
    /// How many bytes a document may have.
    max_document_bytes: i32,
    /// How many tokens a document may have, and how many values its variables.
    max_tokens: i32,
    /// How many bytes a name in a document may have.
    max_name_bytes: i32,
    /// How deep brackets may nest in a document, its fragments written out.
    max_nesting: i32,
    /// How deep lists and objects may nest in a value.
    max_value_nesting: i32,
    /// How many items a list in a document or in its variables may have.
    max_list_items: i32,
    /// How many operations a document may hold.
    max_operations: i32,
    /// How many variables an operation may declare.
    max_variables: i32,
    /// How many directives a document may hold.
    max_directives: i32,
    /// How many selections a document may hold, with its fragments written out. A field counts once more for each
    /// fragment that it stands in.
    max_selections: i32,
    /// How many aliases an operation may hold, with its fragments written out.
    max_aliases: i32,
    /// How many root fields an operation may select.
    max_root_fields: i32,
    /// How deep fields may nest.
    max_depth: i32,
    /// How many fields the answer may hold at most: what is selected in a list counts for each row of its page.
    max_complexity: i32,
    /// How many fields an answer about the schema may hold.
    max_introspection: i32,
    /// How often a request may select `estimateCost`.
    max_estimates: i32,
    /// How many bytes the long texts of an answer may have: descriptions of tasks, and bodies of comments.
    max_answer_bytes: i32,
    /// How many rows a page may have.
    max_page_size: i32,
    /// How many rows a page has that says nothing about its size.
    default_page_size: i32,
    /// How many errors an answer holds at most.
    max_errors: i32,
    /// After how many milliseconds a request is given up.
    request_timeout_ms: i32,
}

/// What a caller may ask for in a while. A request costs as many points as its complexity, one at least.
#[derive(Debug, SimpleObject)]
pub struct RateLimit {
    /// How many points may be spent at once by who has spent none for a while.
    limit: i32,
    /// How many points come back each second.
    points_per_second: i32,
    /// How many points this request has cost.
    cost: i32,
    /// How many points are left.
    remaining: i32,
    /// When all points will be back, if no other request is sent.
    reset_at: DateTime,
}

/// What an operation costs, and what it may cost.
#[derive(Debug, SimpleObject)]
pub struct Cost {
    /// How many fields the answer may hold: what is selected in a list counts for each row of its page.
    complexity: i32,
    /// How deep its fields nest.
    depth: i32,
    /// How complex an operation may be.
    max_complexity: i32,
    /// How deep fields may nest.
    max_depth: i32,
}
