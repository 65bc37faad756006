//! Fills a database.

pub mod demo;
