//! Writes by noun: plain input, one transaction on the primary, the row that was written.
//!
//! Whether the caller may write, and whether what the input refers to exists, is decided inside the statement that
//! writes. Only when it wrote nothing does a second statement ask why.

mod access;
pub mod comment;
pub mod project;
pub mod task;
mod text;
pub mod workspace;
