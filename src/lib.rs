//! Trellis: a GraphQL server for project management, on PostgreSQL.
