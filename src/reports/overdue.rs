//! Counts of overdue tasks by how late they are.

use std::collections::HashMap;

use sea_orm::QueryResult;
use uuid::Uuid;

use super::{Kind, Statement, Subject, by_subject};
use crate::batch::Key;
use crate::database::NamedStatement;
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
    type Group = Kind;
    const IS_LEAF: bool = true;

    fn group(&self) -> Kind {
        self.0.kind()
    }

    fn statement(kind: &Kind, keys: &[Self], _: Uuid) -> NamedStatement {
        STATEMENT.of(*kind, keys.iter().map(|key| key.0), [])
    }

    fn answers(kind: &Kind, _: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, Self::Value>, Error> {
        let counts = by_subject(*kind, rows, |row| {
            let mut counts = [0; 5];
            for (bucket, count) in counts.iter_mut().enumerate() {
                *count = row.try_get_by_index(bucket + 1)?;
            }
            Ok(counts)
        })?;
        let only = |(subject, counts): (Subject, Vec<[i64; 5]>)| Some((Self(subject), *counts.first()?));
        Ok(counts.into_iter().filter_map(only).collect())
    }
}
