//! What a failed statement means to a client, by SQLSTATE.

use std::sync::Arc;

use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};

use crate::error::Error;

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        if let DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) = error {
            return Self::Overloaded;
        }
        if is_share_taken(&error) {
            return Self::ShareTaken;
        }
        match sqlstate(&error).as_deref() {
            // query_canceled by statement_timeout, lock_not_available by lock_timeout
            Some("57014" | "55P03") => Self::Timeout,
            // a deadlock, a serialization failure, or on a replica a conflict with what it replays
            Some("40001" | "40P01") => Self::Interrupted(Arc::new(error)),
            // a migration, within a transaction
            _ if is_outdated(&error) => Self::Interrupted(Arc::new(error)),
            // a session or the server that ends or starts; a primary that has become a replica
            Some("57P01" | "57P02" | "57P03" | "25006") => Self::Unavailable(Arc::new(error)),
            _ if is_unknown_time_zone(&error) => Self::BadUserInput(UNKNOWN_TIME_ZONE.to_owned()),
            // no connection; no resources: disk, memory, connections
            Some(code) if code.starts_with("08") || code.starts_with("53") => Self::Unavailable(Arc::new(error)),
            None if is_connection(&error) => Self::Unavailable(Arc::new(error)),
            _ => Self::Internal(Arc::new(error)),
        }
    }
}

const UNKNOWN_TIME_ZONE: &str =
    "timeZone is not in the time zone database of the database server. Ask for a zone that is, as UTC.";

/// A caller waited for a connection as long as one may, and has as many as one may have.
pub(super) fn share_taken() -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(Arc::new(sqlx::Error::PoolTimedOut)))
}

/// Whether it is [`share_taken`]: nothing else makes such an error.
pub(super) fn is_share_taken(error: &DbErr) -> bool {
    matches!(sqlx_error(error), Some(sqlx::Error::PoolTimedOut))
}

/// Whether the server is another one than it was taken for: one that follows, and takes no writes.
pub(super) fn is_replica(error: &DbErr) -> bool {
    sqlstate(error).as_deref() == Some("25006")
}

/// Whether the server, or the way to it, is gone or going.
pub(super) fn is_lost(error: &DbErr) -> bool {
    match sqlstate(error) {
        Some(code) => matches!(code.as_str(), "57P01" | "57P02" | "57P03" | "25006") || code.starts_with("08"),
        None => is_connection(error) && !matches!(error, DbErr::ConnectionAcquire(_)) && !is_share_taken(error),
    }
}

/// Whether a statement was prepared for a table that has changed since: a migration gave a column another type. It was
/// refused before it did anything.
pub(crate) fn is_outdated(error: &DbErr) -> bool {
    let error = database_error(error).and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    // The code is that of everything that is not supported, and the message may be translated.
    error.is_some_and(|error| error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery"))
}

/// Whether the server's time zone database lacks a zone that ours has: it may be older, or packaged without the old names.
fn is_unknown_time_zone(error: &DbErr) -> bool {
    let error = database_error(error).and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    // The code is that of every parameter that cannot be right, and the message may be translated. The routines are those
    // of PostgreSQL 15, and of 16 and later.
    let routines = ["timestamp_zone", "timestamptz_zone", "DecodeTimezoneName"].map(Some);
    error.is_some_and(|error| error.code() == "22023" && routines.contains(&error.routine()))
}

/// The database's own error, where the database answered at all.
pub(super) fn database_error(error: &DbErr) -> Option<&dyn sqlx::error::DatabaseError> {
    match sqlx_error(error)? {
        sqlx::Error::Database(error) => Some(error.as_ref()),
        _ => None,
    }
}

/// The SQLSTATE of a failed statement, where the database answered at all.
pub(crate) fn sqlstate(error: &DbErr) -> Option<String> {
    database_error(error)?.code().map(std::borrow::Cow::into_owned)
}

fn is_connection(error: &DbErr) -> bool {
    matches!(error, DbErr::Conn(_) | DbErr::ConnectionAcquire(_))
        || matches!(
            sqlx_error(error),
            Some(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed)
        )
}

fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}
