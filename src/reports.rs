//! Aggregates by noun: many keys in, one row for each key out, on the server that the route chose for reports.

pub mod task;
