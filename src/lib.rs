//! Trellis: a GraphQL server for project management, on PostgreSQL.
pub mod batch;
pub mod clock;
pub mod commands;
pub mod config;
pub mod database;
pub mod entities;
pub mod error;
pub mod loaders;
pub mod reports;
