//! How many tasks a project, a column of its board, a workspace or a user has.

use std::collections::HashMap;

use sea_orm::QueryResult;
use uuid::Uuid;

use super::{Filter, Level, Parent, visible_to};
use crate::batch::Key;
use crate::database::{Bound, NamedStatement};
use crate::error::Error;

/// How many tasks a parent has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskCount {
    /// Whose.
    pub parent: Parent,
    /// Which.
    pub filter: Filter,
}

impl Key for TaskCount {
    type Value = i64;
    type Group = (Level, Filter);
    const IS_LEAF: bool = true;

    fn group(&self) -> (Level, Filter) {
        (self.parent.level(), self.filter.clone())
    }

    fn statement((level, filter): &(Level, Filter), keys: &[Self], viewer: Uuid) -> NamedStatement {
        // Two columns of a board are two keys of one project.
        let mut parents: Vec<Uuid> = keys.iter().map(|key| key.parent.id()).collect();
        parents.sort_unstable();
        parents.dedup();
        let mut bound = Bound::new(viewer, vec![parents.into()]);
        let status = filter.bind_statuses(&mut bound);
        let status = status.map(|statuses| format!(" AND t.status = ANY({statuses}::text[])")).unwrap_or_default();
        let conditions = format!("{status}{}", filter.conditions(&mut bound));
        let (name, tasks, part) = match level {
            Level::Project => (
                "task_count_of_project",
                "SELECT t.project_id AS parent FROM tasks t WHERE t.project_id = ANY($1)".to_owned(),
                None,
            ),
            Level::Column => (
                "task_count_of_column",
                "SELECT t.project_id AS parent, t.status FROM tasks t WHERE t.project_id = ANY($1)".to_owned(),
                Some("t.status"),
            ),
            Level::Workspace => (
                "task_count_of_workspace",
                "SELECT p.workspace_id AS parent FROM projects p JOIN tasks t ON t.project_id = p.id \
                 WHERE p.workspace_id = ANY($1) AND p.deleted_at IS NULL"
                    .to_owned(),
                None,
            ),
            Level::Assignee => (
                "task_count_of_assignee",
                format!(
                    "SELECT t.assignee_id AS parent FROM tasks t \
                     WHERE t.assignee_id = ANY($1) AND t.status <> 'completed' AND {}",
                    visible_to(&bound.bind_viewer())
                ),
                None,
            ),
        };
        let tasks = filter.deleted.rows(|deleted| format!("{tasks} AND {deleted}{conditions}"));
        let grouped = part.map(|part| format!(", {part}")).unwrap_or_default();
        let part = part.unwrap_or("''");
        let sql = format!("SELECT t.parent, count(*), {part} FROM ({tasks}) t GROUP BY t.parent{grouped}");
        NamedStatement::new(name, sql, bound.into_values())
    }

    fn answers(_: &(Level, Filter), keys: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, i64>, Error> {
        let mut counts: HashMap<(Uuid, String), i64> = HashMap::new();
        for row in rows {
            counts.insert((row.try_get_by_index(0)?, row.try_get_by_index(2)?), row.try_get_by_index(1)?);
        }
        let count = |key: &Self| counts.get(&(key.parent.id(), key.parent.part().unwrap_or_default())).copied();
        Ok(keys.iter().map(|key| (key.clone(), count(key).unwrap_or_default())).collect())
    }
}
