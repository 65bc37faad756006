//! Tasks by id, and pages and counts of the tasks of a project or a workspace.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use sea_orm::{ActiveEnum, ColumnTrait, DbErr, EntityTrait, JoinType, QueryFilter, QueryResult, QuerySelect};
use sea_orm::{QueryTrait, RelationTrait, Value};
use uuid::Uuid;

use super::page::{self, Cut, Direction, ListSql, Nulls, Page, PageKey, Position, Rows};
use super::{count, in_project_of};
use crate::batch::{Key, Scope};
use crate::database::NamedStatement;
use crate::entities::task::{Column, Entity, Projection, Relation, Row, Status};
use crate::error::Error;

/// A task, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskById(pub Uuid);

impl Key for TaskById {
    type Value = Option<Arc<Row>>;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Self::Value>, Error> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let select = Entity::find()
            .join(JoinType::InnerJoin, Relation::Project.def())
            .filter(Column::Id.eq_any(ids))
            .filter(Column::DeletedAt.is_null());
        let statement = NamedStatement::build("task_by_id", in_project_of(select, scope.viewer).as_query());
        let rows = scope.reader.rows(statement.keys(keys.len())).await?;
        rows.iter()
            .map(|row| {
                let row = Row::decode(row, 0, Projection::Full)?;
                Ok((Self(row.card.id), Some(Arc::new(row))))
            })
            .collect()
    }
}

/// Whose tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parent {
    /// Those of one project.
    Project(Uuid),
    /// Those of every live project of a workspace.
    Workspace(Uuid),
}

impl Parent {
    fn id(self) -> Uuid {
        match self {
            Self::Project(id) | Self::Workspace(id) => id,
        }
    }

    fn level(self) -> Level {
        match self {
            Self::Project(_) => Level::Project,
            Self::Workspace(_) => Level::Workspace,
        }
    }
}

/// What kind of parent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Level {
    Project,
    Workspace,
}

/// Which tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Those in one of these, each distinct; none of them where the list is empty, all of them where there is no list.
    pub statuses: Option<Vec<Status>>,
}

impl Filter {
    fn excludes_completed(&self) -> bool {
        self.statuses.as_ref().is_some_and(|statuses| !statuses.contains(&Status::Completed))
    }

    fn bound(&self) -> Option<Value> {
        let statuses = self.statuses.as_ref()?;
        Some(statuses.iter().map(ActiveEnum::to_value).collect::<Vec<String>>().into())
    }
}

/// By what the tasks are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderField {
    /// When they were created.
    CreatedAt,
    /// When they are due; those without a date come last, in both directions.
    DueDate,
}

/// A page of a parent's tasks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskPage {
    /// Whose.
    pub parent: Parent,
    /// Which.
    pub filter: Filter,
    /// In which order.
    pub order: (OrderField, Direction),
    /// Which columns.
    pub projection: Projection,
    /// How many, from where.
    pub page: Page,
}

impl Key for TaskPage {
    type Value = Arc<Rows<Row>>;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Self::Value>, Error> {
        page::load(scope, keys).await
    }
}

/// What two pages must have in common to share a statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Arguments {
    level: Level,
    filter: Filter,
    order: (OrderField, Direction),
    projection: Projection,
}

impl PageKey for TaskPage {
    type Row = Row;
    type Count = TaskCount;
    type Arguments = Arguments;

    fn parent(&self) -> Uuid {
        self.parent.id()
    }

    fn page(&self) -> Page {
        self.page
    }

    fn with_page(&self, page: Page) -> Self {
        Self { page, ..self.clone() }
    }

    fn count(&self) -> TaskCount {
        TaskCount { parent: self.parent, filter: self.filter.clone() }
    }

    fn arguments(&self) -> Arguments {
        let Self { parent, filter, order, projection, .. } = self.clone();
        Arguments { level: parent.level(), filter, order, projection }
    }

    fn order(&self) -> &'static str {
        match self.order {
            (OrderField::CreatedAt, Direction::Ascending) => "tasks.created_at.asc",
            (OrderField::CreatedAt, Direction::Descending) => "tasks.created_at.desc",
            (OrderField::DueDate, Direction::Ascending) => "tasks.due_date.asc",
            (OrderField::DueDate, Direction::Descending) => "tasks.due_date.desc",
        }
    }

    fn position(&self, task: &Row) -> Position {
        let at = match self.order.0 {
            OrderField::CreatedAt => Some(task.card.created_at),
            OrderField::DueDate => task.card.due_date,
        };
        Position { at, id: task.card.id }
    }

    fn direction(arguments: &Arguments) -> Direction {
        arguments.order.1
    }

    fn sql(arguments: &Arguments, cut: Cut) -> ListSql {
        let field = arguments.order.0;
        let keyword = cut.keyword();
        let name = match (arguments.level, field) {
            (Level::Project, OrderField::CreatedAt) => "tasks_of_project_by_created_at",
            (Level::Project, OrderField::DueDate) => "tasks_of_project_by_due_date",
            (Level::Workspace, OrderField::CreatedAt) => "tasks_of_workspace_by_created_at",
            (Level::Workspace, OrderField::DueDate) => "tasks_of_workspace_by_due_date",
        };
        let order = match field {
            OrderField::CreatedAt => format!("t.created_at {keyword}, t.id {keyword}"),
            OrderField::DueDate => format!("t.due_date {keyword} {}, t.id {keyword}", cut.nulls().keyword()),
        };
        let select = match arguments.level {
            Level::Project => arguments.of_project("k.parent", &order, cut),
            // A page of each project, then the best of those: 594 buffers where one scan of 25 projects takes 22,986.
            Level::Workspace => format!(
                "SELECT t.* FROM projects p CROSS JOIN LATERAL ({}) t \
                 WHERE p.workspace_id = k.parent AND p.deleted_at IS NULL ORDER BY {order} LIMIT $4",
                arguments.of_project("p.id", &order, cut)
            ),
        };
        ListSql { name, select, values: arguments.filter.bound().into_iter().collect() }
    }

    fn decode(arguments: &Arguments, row: &QueryResult, at: usize) -> Result<Row, DbErr> {
        Row::decode(row, at, arguments.projection)
    }
}

impl Arguments {
    /// A SELECT for the page of one project, whose id is the SQL expression `project`.
    fn of_project(&self, project: &str, order: &str, cut: Cut) -> String {
        let columns = self.projection.columns("t");
        let operator = cut.operator();
        let live = format!("SELECT {columns} FROM tasks t WHERE t.project_id = {project} AND t.deleted_at IS NULL");
        match (self.order.0, &self.filter.statuses) {
            (OrderField::CreatedAt, None) => {
                format!("{live} AND (t.created_at, t.id) {operator} (k.at, k.id) ORDER BY {order} LIMIT $4")
            }
            // One ordered probe for each status: `status = ANY($5)` would sort all rows of those statuses.
            (OrderField::CreatedAt, Some(_)) => format!(
                "SELECT t.* FROM unnest($5::text[]) s (status) CROSS JOIN LATERAL (\
                 {live} AND t.status = s.status AND (t.created_at, t.id) {operator} (k.at, k.id) \
                 ORDER BY {order} LIMIT $4) t ORDER BY {order} LIMIT $4"
            ),
            (OrderField::DueDate, statuses) => {
                let status = if statuses.is_some() { " AND t.status = ANY($5::text[])" } else { "" };
                // With a bound list alone the partial index of open tasks is not used.
                let open = if self.filter.excludes_completed() { " AND t.status <> 'completed'" } else { "" };
                by_due_date(&format!("{live}{status}{open}"), cut)
            }
        }
    }
}

/// Dated tasks and undated ones, those that come first first. One row comparison on a nullable column would lose the
/// undated. A start among the undated is an instant at the edge, beyond every task's date, so the branch of the dated
/// is empty or whole then. The second branch is not run when the first one fills the page, since the branches of UNION
/// ALL run in order.
fn by_due_date(live: &str, cut: Cut) -> String {
    let (keyword, operator) = (cut.keyword(), cut.operator());
    let dated = format!(
        "({live} AND (t.due_date, t.id) {operator} (k.at, k.id) \
         ORDER BY t.due_date {keyword}, t.id {keyword} LIMIT $4)"
    );
    let [(first_at, first_id), (last_at, last_id)] = cut.edges();
    // Where the start is among the dated: nothing undated is left behind a start that came after them, and all of it
    // is still to come before one that came first.
    let (edge, otherwise) = match cut.nulls() {
        Nulls::First => (first_at, last_id),
        Nulls::Last => (last_at, first_id),
    };
    let undated = format!(
        "({live} AND t.due_date IS NULL \
         AND t.id {operator} CASE WHEN k.at = to_timestamp({}) THEN k.id ELSE '{otherwise}'::uuid END \
         ORDER BY t.id {keyword} LIMIT $4)",
        edge.timestamp()
    );
    let (one, other) = match cut.nulls() {
        Nulls::First => (undated, dated),
        Nulls::Last => (dated, undated),
    };
    format!("SELECT t.* FROM ({one} UNION ALL {other}) t LIMIT $4")
}

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
    const IS_LEAF: bool = true;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, i64>, Error> {
        let mut groups: HashMap<(Level, &Filter), Vec<&Self>> = HashMap::new();
        for key in keys {
            groups.entry((key.parent.level(), &key.filter)).or_default().push(key);
        }
        let counted = groups.into_iter().map(async |((level, filter), keys)| {
            let status = if filter.statuses.is_some() { " AND t.status = ANY($2::text[])" } else { "" };
            let (name, sql) = match level {
                Level::Project => (
                    "task_count_of_project",
                    format!(
                        "SELECT t.project_id, count(*) FROM tasks t \
                         WHERE t.project_id = ANY($1) AND t.deleted_at IS NULL{status} GROUP BY t.project_id"
                    ),
                ),
                Level::Workspace => (
                    "task_count_of_workspace",
                    format!(
                        "SELECT p.workspace_id, count(*) FROM projects p \
                         JOIN tasks t ON t.project_id = p.id AND t.deleted_at IS NULL{status} \
                         WHERE p.workspace_id = ANY($1) AND p.deleted_at IS NULL GROUP BY p.workspace_id"
                    ),
                ),
            };
            let parents = keys.iter().map(|key| key.parent.id()).collect();
            let counts = count::load(scope, name, &sql, parents, filter.bound().into_iter().collect()).await?;
            let found = |key: &Self| Some((key.clone(), *counts.get(&key.parent.id())?));
            Ok::<Vec<_>, Error>(keys.into_iter().filter_map(found).collect())
        });
        Ok(try_join_all(counted).await?.into_iter().flatten().collect())
    }
}
