//! The one source of time and of ids.
#![expect(clippy::disallowed_methods, reason = "this is the home that the lint points to")]

use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

/// The present instant, to the microsecond: what PostgreSQL can hold.
#[must_use]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// A new UUID v7: ids grow with time, so inserts land at the right edge of the primary key's index.
#[must_use]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}
