//! The inputs that several mutations share, and how inputs become changes.

use async_graphql::{ID, InputObject, MaybeUndefined};

use super::scalar::DateTime;
use crate::commands::Change;
use crate::error::{UserError, UserErrorCode};

/// What to delete.
#[derive(Debug, InputObject)]
pub struct DeleteInput {
    /// Which one.
    pub id: ID,
    /// When you last saw it change: where it has changed since, nothing is written, and you get it as it is now.
    pub expected_updated_at: Option<DateTime>,
    /// Your name for this write, of 1 to 255 characters: sent again within 24 hours, the same input gets the first answer
    /// and writes nothing.
    pub idempotency_key: Option<String>,
}

/// What to bring back.
#[derive(Debug, InputObject)]
pub struct RestoreInput {
    /// Which one.
    pub id: ID,
    /// Your name for this write, of 1 to 255 characters: sent again within 24 hours, the same input gets the first answer
    /// and writes nothing.
    pub idempotency_key: Option<String>,
}

/// A column that null clears.
pub(super) fn clearable<T>(value: MaybeUndefined<T>) -> Change<Option<T>> {
    match value {
        MaybeUndefined::Undefined => Change::Keep,
        MaybeUndefined::Null => Change::Set(None),
        MaybeUndefined::Value(value) => Change::Set(Some(value)),
    }
}

/// A column that cannot be cleared: null is a fault.
pub(super) fn kept<T>(value: MaybeUndefined<T>, field: &str, faults: &mut Vec<UserError>) -> Option<T> {
    if value.is_null() {
        let message = "Cannot be cleared. Leave it out to keep it.";
        faults.push(UserError::of(field, UserErrorCode::Invalid, message));
    }
    value.take()
}
