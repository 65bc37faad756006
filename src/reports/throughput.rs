//! Counts of tasks made and completed, by the intervals of a calendar.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::QueryResult;
use uuid::Uuid;

use super::{Kind, Statement, Subject, by_subject};
use crate::batch::Key;
use crate::database::NamedStatement;
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
    type Group = (Kind, Range);
    const IS_LEAF: bool = true;

    fn group(&self) -> (Kind, Range) {
        (self.subject.kind(), self.range.clone())
    }

    fn statement((kind, range): &(Kind, Range), keys: &[Self], _: Uuid) -> NamedStatement {
        let Range { interval, from, to, time_zone } = range;
        let values = [interval.unit().into(), time_zone.clone().into(), (*from).into(), (*to).into()];
        STATEMENT.of(*kind, keys.iter().map(|key| key.subject), values)
    }

    fn answers(
        (kind, range): &(Kind, Range),
        _: &[Self],
        rows: &[QueryResult],
    ) -> Result<HashMap<Self, Self::Value>, Error> {
        let points = by_subject(*kind, rows, |row| {
            let (start, created, completed) =
                (row.try_get_by_index(1)?, row.try_get_by_index(2)?, row.try_get_by_index(3)?);
            Ok(Point { start, created, completed })
        })?;
        let key = |(subject, points)| (Self { subject, range: range.clone() }, Arc::new(points));
        Ok(points.into_iter().map(key).collect())
    }
}
