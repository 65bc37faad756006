//! GraphQL types by noun. A resolver decodes, calls down and wraps: no query, no transaction, no SQL here.
#![expect(clippy::too_many_arguments, clippy::unused_self, reason = "the signature of a resolver is that of its field")]

pub mod comment;
pub mod cursor;
mod input;
mod list_size;
pub mod member;
pub mod node;
pub mod page;
pub mod payload;
pub mod project;
pub mod report;
pub mod scalar;
pub mod server;
pub mod session;
pub mod task;
pub mod user;
pub mod validation;
pub mod workspace;

use std::sync::Arc;

use async_graphql::{EmptySubscription, MergedObject, SDLExportOptions, SchemaBuilder};

use crate::config::Limits;
use crate::guard::{Guard, Introspection};

/// Reads: rows from the primary, reports from a replica.
#[derive(Debug, Default, MergedObject)]
pub struct Query(
    node::NodeQuery,
    user::UserQuery,
    workspace::WorkspaceQuery,
    project::ProjectQuery,
    task::TaskQuery,
    comment::CommentQuery,
    server::ServerQuery,
);

/// Writes, each in a transaction of its own on the primary, one after the other. What is selected under a mutation
/// reads the primary too.
#[derive(Debug, Default, MergedObject)]
pub struct Mutation(
    workspace::WorkspaceMutation,
    member::MemberMutation,
    project::ProjectMutation,
    task::TaskMutation,
    comment::CommentMutation,
);

/// The executable schema.
pub type Schema = async_graphql::Schema<Query, Mutation, EmptySubscription>;

fn builder() -> SchemaBuilder<Query, Mutation, EmptySubscription> {
    // The contract names the scalar, although no field is of that type.
    Schema::build(Query::default(), Mutation::default(), EmptySubscription).register_output_type::<scalar::UuidText>()
}

/// The guard that stands before the schema.
///
/// # Errors
/// The schema's text cannot be read: a defect.
pub fn guard(limits: &Limits, introspection: Introspection) -> anyhow::Result<Guard> {
    Guard::new(&sdl(), limits.clone(), introspection)
}

/// Builds the schema. What a request may ask for is the guard's to limit: the library would do so too late.
#[must_use]
pub fn build(guard: &Arc<Guard>) -> Schema {
    let builder = builder().limit_recursive_depth(usize::from(guard.limits().max_nesting)).data(Arc::clone(guard));
    match guard.introspection() {
        Introspection::On => builder.finish(),
        Introspection::Off => builder.disable_introspection().disable_suggestions().finish(),
    }
}

/// The schema as text, sorted, so that a change of it is a small change of the file.
#[must_use]
pub fn sdl() -> String {
    let schema = builder().finish();
    let options = SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .sorted_enum_items()
        .use_space_ident()
        .prefer_single_line_descriptions()
        .include_specified_by();
    let sdl = schema.sdl_with_options(options);
    format!("{}\n", sdl.trim_end())
}
