//! Counts of tasks by status and priority.
//!
//! One grouped statement costs 1.3 times a single count, and totals, statuses and priorities are sums over its rows.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Statement, Subject};
use crate::batch::{Key, Scope};
use crate::entities::task::{Priority, Status};
use crate::error::Error;

const STATEMENT: Statement =
    Statement { names: ["tally_of_project", "tally_of_workspace"], sql: include_str!("task.sql") };

/// The tasks that share a status and a priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Their status.
    pub status: Status,
    /// Their priority.
    pub priority: Priority,
    /// How many there are.
    pub count: i64,
    /// How many of them were due in the past and are not completed.
    pub overdue: i64,
    /// How many of them nobody is assigned to.
    pub unassigned: i64,
}

/// The cells of one report; combinations without tasks are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tally(pub Subject);

impl Key for Tally {
    type Value = Arc<Vec<Cell>>;
    const IS_LEAF: bool = true;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Self::Value>, Error> {
        let subjects: Vec<Subject> = keys.iter().map(|key| key.0).collect();
        let cells = super::load(scope, &STATEMENT, &subjects, &[], |row| {
            Ok(Cell {
                status: row.try_get_by_index(1)?,
                priority: row.try_get_by_index(2)?,
                count: row.try_get_by_index(3)?,
                overdue: row.try_get_by_index(4)?,
                unassigned: row.try_get_by_index(5)?,
            })
        });
        Ok(cells.await?.into_iter().map(|(subject, cells)| (Self(subject), Arc::new(cells))).collect())
    }
}
