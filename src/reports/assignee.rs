//! Counts of tasks by assignee.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::{Statement, Subject};
use crate::batch::{Key, Scope};
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

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Self::Value>, Error> {
        let subjects: Vec<Subject> = keys.iter().map(|key| key.0).collect();
        let loads = super::load(scope, &STATEMENT, &subjects, &[], |row| {
            Ok(Load {
                assignee_id: row.try_get_by_index(1)?,
                count: row.try_get_by_index(2)?,
                open: row.try_get_by_index(3)?,
                overdue: row.try_get_by_index(4)?,
            })
        });
        Ok(loads.await?.into_iter().map(|(subject, loads)| (Self(subject), Arc::new(loads))).collect())
    }
}
