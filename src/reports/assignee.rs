//! Counts of tasks by assignee.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::QueryResult;
use uuid::Uuid;

use super::{Kind, Statement, Subject, by_subject};
use crate::batch::Key;
use crate::database::NamedStatement;
use crate::error::Error;

const STATEMENT: Statement =
    Statement { names: ["assignees_of_project", "assignees_of_workspace"], sql: include_str!("assignee.sql") };

/// The tasks of one assignee, or of nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Who; none for the tasks that nobody is assigned to.
    pub assignee_id: Option<Uuid>,
    /// All of them.
    pub count: i64,
    /// Those that are not completed.
    pub open: i64,
    /// Those that were due in the past and are not completed.
    pub overdue: i64,
}

/// Every assignee's load, in no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoadByAssignee(pub Subject);

impl Key for LoadByAssignee {
    type Value = Arc<Vec<Load>>;
    type Group = Kind;

    fn group(&self) -> Kind {
        self.0.kind()
    }

    fn statement(kind: &Kind, keys: &[Self], _: Uuid) -> NamedStatement {
        STATEMENT.of(*kind, keys.iter().map(|key| key.0), [])
    }

    fn answers(kind: &Kind, _: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, Self::Value>, Error> {
        let loads = by_subject(*kind, rows, |row| {
            Ok(Load {
                assignee_id: row.try_get_by_index(1)?,
                count: row.try_get_by_index(2)?,
                open: row.try_get_by_index(3)?,
                overdue: row.try_get_by_index(4)?,
            })
        })?;
        Ok(loads.into_iter().map(|(subject, loads)| (Self(subject), Arc::new(loads))).collect())
    }
}
