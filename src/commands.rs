//! Writes by noun: plain input, one transaction on the primary, the row that was written.
//!
//! Whether the caller may write, and whether what the input refers to exists, is decided inside the statement that
//! writes.

pub mod access;
pub mod comment;
pub mod deletion;
pub mod member;
pub mod project;
pub mod task;
mod text;
pub mod workspace;
pub mod write;

use serde::Serialize;

/// What an update does to a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Change<T> {
    /// Leaves it.
    Keep,
    /// Writes it.
    Set(T),
}

impl<T: Clone> Change<T> {
    fn is_set(&self) -> bool {
        matches!(self, Self::Set(_))
    }

    fn value(&self) -> Option<T> {
        match self {
            Self::Keep => None,
            Self::Set(value) => Some(value.clone()),
        }
    }
}
