//! Columns and relations by noun: no I/O, no GraphQL.
//!
//! Columns are declared in the order in which every statement selects them, so rows are decoded by index: decoding
//! by name costs two look-ups for each value.

pub mod comment;
pub mod member;
pub mod project;
pub mod task;
pub mod user;
pub mod workspace;

/// The columns of a statement's select list: `alias.first, alias.second`.
#[must_use]
pub fn columns<C: sea_orm::IdenStatic>(alias: &str, columns: impl IntoIterator<Item = C>) -> String {
    columns.into_iter().map(|column| format!("{alias}.{}", column.as_str())).collect::<Vec<_>>().join(", ")
}
