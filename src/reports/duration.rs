//! How long tasks took, from creation to completion.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::QueryResult;
use uuid::Uuid;

use super::{Kind, Statement, Subject, by_subject};
use crate::batch::Key;
use crate::database::NamedStatement;
use crate::error::Error;

const STATEMENT: Statement =
    Statement { names: ["cycle_time_of_project", "cycle_time_of_workspace"], sql: include_str!("duration.sql") };

/// Durations in seconds; none where there is no sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// How many tasks there are.
    pub samples: i64,
    /// The 50th, the 90th and the 95th percentile.
    pub percentiles: Option<[f64; 3]>,
    /// The average.
    pub mean: Option<f64>,
}

/// When the tasks were completed: at `from` or after, before `to`; ever, where there is no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CycleTime {
    /// Over which tasks.
    pub subject: Subject,
    /// The first instant.
    pub from: Option<DateTime<Utc>>,
    /// The instant after the last.
    pub to: Option<DateTime<Utc>>,
}

impl Key for CycleTime {
    type Value = Statistics;
    type Group = (Kind, Option<DateTime<Utc>>, Option<DateTime<Utc>>);
    const IS_LEAF: bool = true;

    fn group(&self) -> Self::Group {
        (self.subject.kind(), self.from, self.to)
    }

    fn statement((kind, from, to): &Self::Group, keys: &[Self], _: Uuid) -> NamedStatement {
        STATEMENT.of(*kind, keys.iter().map(|key| key.subject), [(*from).into(), (*to).into()])
    }

    fn answers(
        &(kind, from, to): &Self::Group,
        _: &[Self],
        rows: &[QueryResult],
    ) -> Result<HashMap<Self, Self::Value>, Error> {
        let statistics = by_subject(kind, rows, |row| {
            let percentiles: Vec<f64> = row.try_get_by_index(2)?;
            let (samples, mean) = (row.try_get_by_index(1)?, row.try_get_by_index(3)?);
            Ok(Statistics { samples, percentiles: percentiles.try_into().ok(), mean })
        })?;
        let only = |(subject, statistics): (Subject, Vec<Statistics>)| {
            Some((Self { subject, from, to }, statistics.into_iter().next()?))
        };
        Ok(statistics.into_iter().filter_map(only).collect())
    }
}
