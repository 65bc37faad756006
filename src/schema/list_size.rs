//! How long a list is that has no page, for counting what a document asks for.

use async_graphql::TypeDirective;

/// How many elements a list is taken to have when the complexity of a document is counted. A list whose field takes
/// `first`, or lies in the page of one that does, has as many as are asked for.
#[TypeDirective(location = "FieldDefinition", name = "listSize")]
pub(super) fn list_size(assumed_size: i32) {}
