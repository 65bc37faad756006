//! What mutations answer: the row, or why nothing was written.

use async_graphql::{Enum, SimpleObject};

use crate::error::{Error, Failure};

/// What kind of fault an input has. The list may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::error::UserErrorCode")]
pub enum UserErrorCode {
    /// The value can never be right.
    Invalid,
    /// What the input refers to does not exist, or is not yours to see.
    NotFound,
    /// You may see it, and you may not do this to it.
    Forbidden,
    /// Another row has the value already.
    NotUnique,
}

/// A fault of the input that a person can mend. Nothing was written.
#[derive(Clone, Debug, SimpleObject)]
pub struct UserError {
    /// What kind of fault it is.
    code: UserErrorCode,
    /// For people; may change.
    message: String,
    /// Which part of the input, as in `["input", "title"]`.
    field: Vec<String>,
}

impl From<crate::error::UserError> for UserError {
    fn from(error: crate::error::UserError) -> Self {
        Self { code: error.code.into(), message: error.message, field: error.field }
    }
}

/// The two halves of a payload: what was written, if anything was, and the faults of the input.
pub type Outcome<T> = (Option<T>, Vec<UserError>);

/// Splits what a command answered into a payload's halves.
///
/// # Errors
/// The write failed for a reason that no other input would mend.
pub fn outcome<T>(result: Result<T, Failure>) -> Result<Outcome<T>, Error> {
    match result {
        Ok(written) => Ok((Some(written), Vec::new())),
        Err(Failure::Refused(faults)) => Ok((None, faults.into_iter().map(UserError::from).collect())),
        Err(Failure::Failed(error)) => Err(error),
    }
}
