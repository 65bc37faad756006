//! The one source of time and of ids.
#![expect(clippy::disallowed_methods, reason = "this is the home that the lint points to")]

use chrono::{DateTime, SubsecRound, Utc};
use uuid::{NoContext, Timestamp, Uuid};

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

/// A UUID v7 of a past instant, for rows that are made with a history. Two of the same instant differ by chance only.
#[must_use]
pub fn id_at(instant: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(instant.timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, instant.timestamp_subsec_nanos()))
}
