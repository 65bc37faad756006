//! Trellis: a GraphQL server for project management, on PostgreSQL.
//!
//! The way of a request, each layer using only those to its right:
//!
//! ```text
//! http -> schema -> { loaders | commands | reports } -> batch -> database -> entities, error, clock
//! ```
//!
//! Rows are read through loaders, written through commands, aggregated through reports: there is no fourth way. The
//! three never use each other.

// In the order in which a request meets them.
pub mod batch;
pub mod clock;
pub mod commands;
pub mod database;
pub mod entities;
pub mod error;
pub mod guard;
pub mod http;
pub mod identity;
pub mod loaders;
pub mod reports;
pub mod schema;

// What requests can make the server send.
pub mod rate_limit;
pub mod registry;

// Around the requests: settings, start, stop, the database's own life.
pub mod bench;
pub mod config;
pub mod deployment;
pub mod doctor;
pub mod explain;
pub mod metrics;
pub mod migrate;
pub mod plan;
pub mod postgres;
pub mod progress;
pub mod scratch;
pub mod seed;
pub mod serve;
pub mod signals;
pub mod telemetry;
pub mod token;
pub mod trusted_documents;
