//! What this server is; needs no login.

use async_graphql::{Context, Object, SimpleObject};

use super::page::{DEFAULT_PAGE, MAX_PAGE};
use crate::config;

/// The root field about the server.
#[derive(Debug, Default)]
pub struct ServerQuery;

#[Object]
impl ServerQuery {
    /// What this server is, and its limits; needs no login.
    fn server(&self, context: &Context<'_>) -> Server {
        let limits = context.data_unchecked::<config::Limits>();
        Server {
            version: env!("CARGO_PKG_VERSION"),
            limits: Limits {
                max_depth: i32::from(limits.max_depth),
                max_complexity: int(limits.max_complexity),
                max_aliases: i32::from(limits.max_aliases),
                max_root_fields: i32::from(limits.max_root_fields),
                max_selections: int(limits.max_selections),
                max_document_bytes: int(limits.max_document_bytes),
                max_page_size: i32::from(MAX_PAGE),
                default_page_size: i32::from(DEFAULT_PAGE),
                request_timeout_ms: int(limits.request_timeout_ms),
            },
        }
    }
}

fn int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
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
    /// How deep fields may nest.
    max_depth: i32,
    /// How many fields the answer may hold at most: a connection counts its page times what is selected in it.
    max_complexity: i32,
    /// How many aliases a document may hold.
    max_aliases: i32,
    /// How many root fields an operation may select.
    max_root_fields: i32,
    /// How many fields an operation may select, with its fragments written out.
    max_selections: i32,
    /// How many bytes a document may have.
    max_document_bytes: i32,
    /// How many rows a page may have.
    max_page_size: i32,
    /// How many rows a page has that says nothing about its size.
    default_page_size: i32,
    /// After how many milliseconds a request is given up.
    request_timeout_ms: i32,
}
