//! The one error of the server, its closed list of codes, and what a client may be told of it.
//!
//! The cause of an internal error stays here: it is logged once, where the answer is written, and never sent. A GraphQL
//! error made from it keeps it as its source, from which the endpoint takes code and text.

use std::borrow::Cow;
use std::sync::Arc;

use sea_orm::DbErr;

/// The value of `extensions.code` in a top-level GraphQL error. Clients rely on these: changing one breaks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A field needs a caller, and there is no valid bearer token.
    Unauthenticated,
    /// The caller's role does not allow it.
    Forbidden,
    /// An argument has a value that can never be right.
    BadUserInput,
    /// A cursor is damaged or belongs to another order.
    InvalidCursor,
    /// The document is not GraphQL.
    GraphqlParseFailed,
    /// The document does not fit the schema.
    GraphqlValidationFailed,
    /// The document is not one of those that the server answers.
    DocumentNotTrusted,
    /// The request passes one of the limits that `server { limits }` lists.
    LimitExceeded,
    /// The caller has asked for too much in too short a time.
    RateLimited,
    /// The answer took longer than the deadline.
    Timeout,
    /// There are as many requests or connections as the server takes, or every database connection stayed busy for the
    /// whole acquire timeout; or all of those that one workspace or one caller may have.
    Overloaded,
    /// The database cannot be reached.
    Unavailable,
    /// The write may have been done, or not: the database was lost before it answered, or was too slow.
    OutcomeUnknown,
    /// A consistency token was not made by this server, nor by one with its secret.
    BadConsistencyToken,
    /// A defect of the server.
    Internal,
}

impl Code {
    /// The code as clients see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::InvalidCursor => "INVALID_CURSOR",
            Self::GraphqlParseFailed => "GRAPHQL_PARSE_FAILED",
            Self::GraphqlValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            Self::DocumentNotTrusted => "DOCUMENT_NOT_TRUSTED",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::RateLimited => "RATE_LIMITED",
            Self::Timeout => "TIMEOUT",
            Self::Overloaded => "OVERLOADED",
            Self::Unavailable => "UNAVAILABLE",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Self::BadConsistencyToken => "BAD_CONSISTENCY_TOKEN",
            Self::Internal => "INTERNAL",
        }
    }
}

/// Why something could not be answered. `Display` is what a client may read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no caller.
    #[error("This needs a caller: send the header Authorization: Bearer <token>.")]
    Unauthenticated,
    /// The caller's role does not allow it; the text says what role would.
    #[error("{0}")]
    Forbidden(&'static str),
    /// An argument can never be right; the text says how to mend it.
    #[error("{0}")]
    BadUserInput(String),
    /// A cursor is damaged or belongs to another order.
    #[error("The cursor is damaged or belongs to another order. Start again without it.")]
    InvalidCursor,
    /// The document is not GraphQL; the text says where.
    #[error("{0}")]
    GraphqlParseFailed(String),
    /// The document does not fit the schema; the text says how.
    #[error("{0}")]
    GraphqlValidationFailed(String),
    /// The document is not in the manifest of trusted ones; the text says how to mend it.
    #[error("{0}")]
    DocumentNotTrusted(&'static str),
    /// The request passes a limit; the text names the limit, its maximum and the request's value.
    #[error("{0}")]
    LimitExceeded(String),
    /// The caller has not as many points as the request costs.
    #[error(
        "The request costs {cost} points or more, and this caller has fewer left. A full bucket has {limit}. Try again in \
         {retry_after} s."
    )]
    RateLimited {
        /// What the request costs, as far as that is known.
        cost: u32,
        /// Points in a full bucket.
        limit: u32,
        /// In how many seconds there will be enough.
        retry_after: u64,
    },
    /// The answer took longer than the deadline.
    #[error("The request took too long and was given up. Ask for less at once, or try again.")]
    Timeout,
    /// There is too much to do already.
    #[error("The server is busy. Try again in a moment.")]
    Overloaded,
    /// There is too much to do already for the caller's workspace, or for the caller.
    #[error("Your workspace has as much of the server as one may have. Try again in a moment.")]
    ShareTaken,
    /// Others' work got in the way: nothing was done, and the same may succeed if it is tried again. The cause is for the
    /// log.
    #[error("Others' work got in the way, more than once. Try again in a moment.")]
    Interrupted(Arc<DbErr>),
    /// The database cannot be reached; the cause is for the log.
    #[error("The database cannot be reached right now. Try again in a moment.")]
    Unavailable(Arc<DbErr>),
    /// A write was begun, and given up before the database said whether it was done; the cause is for the log.
    #[error(
        "The database did not say in time whether the write was done. Send it again with the same idempotencyKey: it is \
         done once. Where it had none, look whether it was done."
    )]
    OutcomeUnknown(Arc<DbErr>),
    /// A consistency token was not made here.
    #[error("The consistency token was not made by this server. Go on without it.")]
    BadConsistencyToken,
    /// A defect; the cause is for the log.
    #[error("Something went wrong on our side. The request id identifies the report of it.")]
    Internal(Arc<DbErr>),
}

impl Error {
    /// What a row of the answer refers to, the caller does not see any more: it was deleted between two statements,
    /// or this very request has ended the caller's membership, or the row is the kept answer to an earlier request.
    pub const VANISHED: Self =
        Self::Forbidden("You do not see this any more: it was deleted, or you have left its workspace.");

    /// A defect that ended the work on a request. Where it was has been printed already.
    #[must_use]
    pub fn panicked() -> Self {
        Self::Internal(Arc::new(DbErr::Custom("the request panicked".to_owned())))
    }

    /// The code as clients see it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Forbidden(_) => Code::Forbidden,
            Self::BadUserInput(_) => Code::BadUserInput,
            Self::InvalidCursor => Code::InvalidCursor,
            Self::GraphqlParseFailed(_) => Code::GraphqlParseFailed,
            Self::GraphqlValidationFailed(_) => Code::GraphqlValidationFailed,
            Self::DocumentNotTrusted(_) => Code::DocumentNotTrusted,
            Self::LimitExceeded(_) => Code::LimitExceeded,
            Self::RateLimited { .. } => Code::RateLimited,
            Self::Timeout => Code::Timeout,
            Self::Overloaded | Self::ShareTaken | Self::Interrupted(_) => Code::Overloaded,
            Self::Unavailable(_) => Code::Unavailable,
            Self::OutcomeUnknown(_) => Code::OutcomeUnknown,
            Self::BadConsistencyToken => Code::BadConsistencyToken,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// What the log is told and the client is not.
    #[must_use]
    pub fn cause(&self) -> Option<&DbErr> {
        match self {
            Self::Interrupted(cause)
            | Self::Unavailable(cause)
            | Self::OutcomeUnknown(cause)
            | Self::Internal(cause) => Some(cause),
            _ => None,
        }
    }
}

/// Bytes of a message at most. Messages repeat what was sent, which may be long.
const MAX_MESSAGE_BYTES: usize = 500;

/// A message that is not too long.
#[must_use]
pub fn shortened(message: &str) -> Cow<'_, str> {
    if message.len() <= MAX_MESSAGE_BYTES {
        return Cow::Borrowed(message);
    }
    Cow::Owned(format!("{}…", &message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)]))
}

/// What a person can mend in the input of a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserErrorCode {
    /// The value can never be right.
    Invalid,
    /// What the input refers to does not exist, or is not the caller's to see.
    NotFound,
    /// The caller may see it and may not do this to it.
    Forbidden,
    /// The row is not as the caller last saw it.
    Conflict,
    /// Another live row has the value already.
    NotUnique,
    /// The input asks for more than one write may do.
    LimitExceeded,
    /// The idempotency key was used for another input.
    IdempotencyMismatch,
}

/// One fault in the input of a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserError {
    /// What kind of fault it is.
    pub code: UserErrorCode,
    /// For people; may change.
    pub message: String,
    /// The input path, such as `["input", "title"]`.
    pub field: Vec<String>,
}

impl UserError {
    /// A fault of one field of a mutation's `input`.
    #[must_use]
    pub fn of(field: &str, code: UserErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: vec!["input".to_owned(), field.to_owned()] }
    }
}

/// Why a command wrote nothing; `T` is what it would have written.
#[derive(Clone, Debug)]
pub enum Failure<T> {
    /// Expected: the caller is told every fault that was found.
    Refused {
        /// The faults.
        errors: Vec<UserError>,
        /// The row as it is, where the caller had another one in mind.
        current: Option<T>,
    },
    /// Unexpected: the database or the server failed.
    Failed(Error),
}

impl<T> Failure<T> {
    /// A refusal with these faults.
    #[must_use]
    pub fn refused(errors: Vec<UserError>) -> Self {
        Self::Refused { errors, current: None }
    }
}

impl<T> From<Error> for Failure<T> {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl<T> From<UserError> for Failure<T> {
    fn from(error: UserError) -> Self {
        Self::refused(vec![error])
    }
}

/// A statement of a write failed.
#[derive(Clone, Debug)]
pub enum StatementFailure {
    /// The input violated a constraint that people can be told about.
    Violated(UserError),
    /// The database failed.
    Failed(Error),
}

impl<T> From<StatementFailure> for Failure<T> {
    fn from(failure: StatementFailure) -> Self {
        match failure {
            StatementFailure::Violated(error) => error.into(),
            StatementFailure::Failed(error) => error.into(),
        }
    }
}
