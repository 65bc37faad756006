//! Counts of tasks made and completed, by the intervals of a calendar.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;

use super::{Statement, Subject};
use crate::batch::{Key, Scope};
use crate::error::Error;

const STATEMENT: Statement =
    Statement { names: ["throughput_of_project", "throughput_of_workspace"], sql: include_str!("throughput.sql") };

/// How long an interval is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interval {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
}

impl Interval {
    fn unit(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// Which intervals: whole ones, of which the first holds `from`, and the last what comes just before `to`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// How long each is.
    pub interval: Interval,
    /// The first instant.
    pub from: DateTime<Utc>,
    /// The instant after the last.
    pub to: DateTime<Utc>,
    /// The calendar's time zone, a name of the IANA database.
    pub time_zone: String,
}

/// An interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its first instant.
    pub start: DateTime<Utc>,
    /// How many tasks were made in it.
    pub created: i64,
    /// How many tasks were completed in it.
    pub completed: i64,
}

/// Every interval of a range, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Throughput {
    /// Over which tasks.
    pub subject: Subject,
    /// Which intervals.
    pub range: Range,
}

impl Key for Throughput {
    type Value = Arc<Vec<Point>>;
    const IS_LEAF: bool = true;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Self::Value>, Error> {
        let mut ranges: HashMap<&Range, Vec<Subject>> = HashMap::new();
        for key in keys {
            ranges.entry(&key.range).or_default().push(key.subject);
        }
        let loads = ranges.into_iter().map(async |(range, subjects)| {
            let Range { interval, from, to, time_zone } = range;
            let values = [interval.unit().into(), time_zone.clone().into(), (*from).into(), (*to).into()];
            let points = super::load(scope, &STATEMENT, &subjects, &values, |row| {
                let (start, created, completed) =
                    (row.try_get_by_index(1)?, row.try_get_by_index(2)?, row.try_get_by_index(3)?);
                Ok(Point { start, created, completed })
            });
            let key = |(subject, points)| (Self { subject, range: range.clone() }, Arc::new(points));
            Ok::<Vec<_>, Error>(points.await?.into_iter().map(key).collect())
        });
        Ok(try_join_all(loads).await?.into_iter().flatten().collect())
    }
}
