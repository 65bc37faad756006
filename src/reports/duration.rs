//! How long tasks took, from creation to completion.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;

use super::{Statement, Subject};
use crate::batch::{Key, Scope};
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
    const IS_LEAF: bool = true;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Self::Value>, Error> {
        let mut ranges: HashMap<_, Vec<Subject>> = HashMap::new();
        for key in keys {
            ranges.entry((key.from, key.to)).or_default().push(key.subject);
        }
        let loads = ranges.into_iter().map(async |((from, to), subjects)| {
            let bounds = [from.into(), to.into()];
            let statistics = super::load(scope, &STATEMENT, &subjects, &bounds, |row| {
                let percentiles: Vec<f64> = row.try_get_by_index(2)?;
                let (samples, mean) = (row.try_get_by_index(1)?, row.try_get_by_index(3)?);
                Ok(Statistics { samples, percentiles: percentiles.try_into().ok(), mean })
            });
            let key = |(subject, statistics): (Subject, Vec<Statistics>)| {
                Some((Self { subject, from, to }, statistics.into_iter().next()?))
            };
            Ok::<Vec<_>, Error>(statistics.await?.into_iter().filter_map(key).collect())
        });
        Ok(try_join_all(loads).await?.into_iter().flatten().collect())
    }
}
