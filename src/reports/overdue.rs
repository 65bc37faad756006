//! Counts of overdue tasks by how late they are.

use std::collections::HashMap;

use super::{Statement, Subject};
use crate::batch::{Key, Scope};
use crate::error::Error;

const STATEMENT: Statement =
    Statement { names: ["overdue_of_project", "overdue_of_workspace"], sql: include_str!("overdue.sql") };

/// The buckets in days, both ends included; the last has no end. The statement counts by the same ones.
pub const BUCKETS: [(i32, Option<i32>); 5] = [(1, Some(3)), (4, Some(7)), (8, Some(14)), (15, Some(30)), (31, None)];

/// The count in each of [`BUCKETS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Overdue(pub Subject);

impl Key for Overdue {
    type Value = [i64; 5];
    const IS_LEAF: bool = true;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Self::Value>, Error> {
        let subjects: Vec<Subject> = keys.iter().map(|key| key.0).collect();
        let counts = super::load(scope, &STATEMENT, &subjects, &[], |row| {
            let mut counts = [0; 5];
            for (bucket, count) in counts.iter_mut().enumerate() {
                *count = row.try_get_by_index(bucket + 1)?;
            }
            Ok(counts)
        });
        let only = |(subject, counts): (Subject, Vec<[i64; 5]>)| Some((Self(subject), *counts.first()?));
        Ok(counts.await?.into_iter().filter_map(only).collect())
    }
}
