//! Counts of tasks by project.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::QueryResult;
use uuid::Uuid;

use crate::batch::Key;
use crate::database::NamedStatement;
use crate::error::Error;

/// The tasks of one project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Which.
    pub project_id: Uuid,
    /// All of them.
    pub count: i64,
    /// Those that are not completed.
    pub open: i64,
    /// Those that were due in the past and are not completed.
    pub overdue: i64,
}

/// The load of every live project of a workspace, in no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoadByProject(pub Uuid);

impl Key for LoadByProject {
    type Value = Arc<Vec<Load>>;
    type Group = ();

    fn group(&self) {}

    fn statement((): &(), keys: &[Self], _: Uuid) -> NamedStatement {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        NamedStatement::new("projects_of_report", include_str!("project.sql"), [ids.into()])
    }

    fn answers((): &(), _: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, Self::Value>, Error> {
        let mut loads: HashMap<Self, Vec<Load>> = HashMap::new();
        for row in rows {
            let load = Load {
                project_id: row.try_get_by_index(1)?,
                count: row.try_get_by_index(2)?,
                open: row.try_get_by_index(3)?,
                overdue: row.try_get_by_index(4)?,
            };
            loads.entry(Self(row.try_get_by_index(0)?)).or_default().push(load);
        }
        Ok(loads.into_iter().map(|(key, loads)| (key, Arc::new(loads))).collect())
    }
}
