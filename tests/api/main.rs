//! The tests of the server, through HTTP, against a real primary and a real streaming replica.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::missing_panics_doc, clippy::must_use_candidate, reason = "nobody but the tests calls these")]
#![allow(clippy::too_many_lines, reason = "a test builds its world, acts and asserts in one place")]

mod catalogue;
mod cluster;
mod failover;
mod faults;
mod fixtures;
mod fragile;
mod harness;
mod instance;
mod listing;
mod mutations;
mod probe;
mod requests;
mod silence;

mod budgets;
mod statements;

mod comment;
mod project;
mod report;
mod task;
mod workspace;

mod conflict;
mod deleted_lists;
mod deletion;
mod idempotency;
mod many;
mod proofs;
mod registry;
mod rights;

mod cursors;
mod data_directory;
mod moving;
mod paging;
mod visibility;

mod connection;
mod errors;
mod http;
mod identity;
mod key_file;
mod limits;
mod overload;
mod rate_limit;
mod sweeps;
mod tenants;
mod trusted;

mod conformance;
mod schema_file;

mod catalog;
mod lint;
mod metrics;
mod migrations;
mod pooler;
mod pools;
mod rehearsal;
mod replication;
mod rollout;
mod seed;
mod shutdown;
mod telemetry;
mod traces;

mod bench;
mod command_line;
mod doctor;
mod explain;
