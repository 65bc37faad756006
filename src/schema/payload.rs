//! What mutations answer: the row, or why nothing was written.

use async_graphql::{Context, Enum, SimpleObject};

use super::scalar::ConsistencyToken;
use super::session::Session;
use crate::database::Command;
use crate::error::{self, Error, Failure};

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
    /// The row is not as you last saw it; the payload holds it as it is now.
    Conflict,
    /// Another row has the value already.
    NotUnique,
    /// The input asks for more than one mutation may do.
    LimitExceeded,
    /// The idempotency key was used for another input.
    IdempotencyMismatch,
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

/// What became of a write.
pub struct Outcome<T> {
    /// What was written, or on CONFLICT the row as it is.
    pub row: Option<T>,
    /// Why nothing was written.
    pub user_errors: Vec<UserError>,
    /// Proof of the write.
    pub consistency_token: Option<ConsistencyToken>,
}

/// Writes, and tells faults of the input apart from failures.
///
/// # Errors
/// There is no caller, or the write failed for a reason that no other input would mend.
pub async fn write<C: Command>(
    context: &Context<'_>,
    command: C,
    idempotency_key: Option<String>,
) -> Result<Outcome<C::Output>, Error> {
    write_unless(context, Vec::new(), command, idempotency_key).await
}

/// Writes as [`write`] does, unless decoding the input has found faults: they are told with every other fault of it.
///
/// # Errors
/// There is no caller, or the write failed for a reason that no other input would mend.
pub async fn write_unless<C: Command>(
    context: &Context<'_>,
    faults: Vec<error::UserError>,
    command: C,
    idempotency_key: Option<String>,
) -> Result<Outcome<C::Output>, Error> {
    let session = Session::of(context);
    let written = match session.execute(faults, command, idempotency_key).await {
        Ok(written) => written,
        Err(failure) => return refused(failure),
    };
    let consistency_token = session.consistency_token().map(ConsistencyToken);
    Ok(Outcome { row: Some(written), user_errors: Vec::new(), consistency_token })
}

/// What becomes of a write that was refused.
fn refused<T>(failure: Failure<T>) -> Result<Outcome<T>, Error> {
    match failure {
        Failure::Refused { errors, current } => Ok(Outcome {
            row: current,
            user_errors: errors.into_iter().map(UserError::from).collect(),
            consistency_token: None,
        }),
        Failure::Failed(error) => Err(error),
    }
}
