//! Tasks by id, and pages and counts of the tasks of a project, of a column of its board, of a workspace, of a user.

mod count;

pub use count::TaskCount;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{ActiveEnum, ColumnTrait, DbErr, EntityTrait, JoinType, QueryFilter, QueryResult, QuerySelect};
use sea_orm::{QueryTrait, RelationTrait};
use uuid::Uuid;

use super::in_project_of;
use super::page::{Cut, Deleted, Direction, Page, PageKey, Position, SortValue, Start, containing};
use crate::batch::Key;
use crate::database::{Bound, NamedStatement};
use crate::entities::task::{Column, Entity, Priority, Projection, Relation, Row, Status};
use crate::error::Error;

/// A task, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskById(pub Uuid);

impl Key for TaskById {
    type Value = Option<Arc<Row>>;
    type Group = ();

    fn group(&self) {}

    fn statement((): &(), keys: &[Self], viewer: Uuid) -> NamedStatement {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let select = Entity::find()
            .join(JoinType::InnerJoin, Relation::Project.def())
            .filter(Column::Id.eq_any(ids))
            .filter(Column::DeletedAt.is_null());
        NamedStatement::build("task_by_id", in_project_of(select, viewer).as_query())
    }

    fn answers((): &(), _: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, Self::Value>, Error> {
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
    /// Those of one project in one status: a column of its board.
    Column(Uuid, Status),
    /// Those of every live project of a workspace.
    Workspace(Uuid),
    /// The open ones that a user is assigned to, in the workspaces that the caller is a member of.
    Assignee(Uuid),
}

impl Parent {
    fn id(self) -> Uuid {
        match self {
            Self::Project(id) | Self::Column(id, _) | Self::Workspace(id) | Self::Assignee(id) => id,
        }
    }

    fn level(self) -> Level {
        match self {
            Self::Project(_) => Level::Project,
            Self::Column(..) => Level::Column,
            Self::Workspace(_) => Level::Workspace,
            Self::Assignee(_) => Level::Assignee,
        }
    }

    fn part(self) -> Option<String> {
        match self {
            Self::Column(_, status) => Some(status.to_value()),
            _ => None,
        }
    }
}

/// What kind of parent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// A project.
    Project,
    /// A column of a project's board.
    Column,
    /// A workspace.
    Workspace,
    /// A user.
    Assignee,
}

/// Which tasks: those that match every field. A list matches any of its elements, an empty one nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Each distinct.
    pub statuses: Option<Vec<Status>>,
    /// The priorities.
    pub priorities: Option<Vec<Priority>>,
    /// Users, or none for tasks that nobody is assigned to.
    pub assignees: Option<Vec<Option<Uuid>>>,
    /// Due before this instant.
    pub due_before: Option<DateTime<Utc>>,
    /// Due at this instant or after.
    pub due_after: Option<DateTime<Utc>>,
    /// Due in the past and open, or the contrary.
    pub overdue: Option<bool>,
    /// Made before this instant.
    pub created_before: Option<DateTime<Utc>>,
    /// Made at this instant or after.
    pub created_after: Option<DateTime<Utc>>,
    /// A part of the title, whatever the case of its letters.
    pub title_contains: Option<String>,
    /// Which soft-deleted ones.
    pub deleted: Deleted,
}

impl Filter {
    /// Whether no completed task matches.
    fn is_open(&self) -> bool {
        self.overdue == Some(true)
            || self.statuses.as_ref().is_some_and(|statuses| !statuses.contains(&Status::Completed))
    }

    /// Where a list in an order begins at the earliest, by what is asked for.
    fn beginning(&mut self, field: OrderField, direction: Direction) -> &mut Option<DateTime<Utc>> {
        match (field, direction) {
            (OrderField::CreatedAt, Direction::Ascending) => &mut self.created_after,
            (OrderField::CreatedAt, Direction::Descending) => &mut self.created_before,
            (OrderField::DueDate, Direction::Ascending) => &mut self.due_after,
            (OrderField::DueDate, Direction::Descending) => &mut self.due_before,
        }
    }

    fn bind_statuses(&self, bound: &mut Bound) -> Option<String> {
        let statuses = self.statuses.as_ref()?;
        Some(bound.bind(statuses.iter().map(ActiveEnum::to_value).collect::<Vec<String>>()))
    }

    /// Every condition on a task `t` but that on its status and on its being deleted.
    fn conditions(&self, bound: &mut Bound) -> String {
        let mut sql = String::new();
        let mut and = |condition: String| {
            sql.push_str(" AND ");
            sql.push_str(&condition);
        };
        if let Some(priorities) = &self.priorities {
            let values = priorities.iter().map(ActiveEnum::to_value).collect::<Vec<String>>();
            and(format!("t.priority = ANY({}::text[])", bound.bind(values)));
        }
        if let Some(assignees) = &self.assignees {
            let ids = bound.bind(assignees.iter().copied().flatten().collect::<Vec<Uuid>>());
            let nobody = if assignees.contains(&None) { " OR t.assignee_id IS NULL" } else { "" };
            and(format!("(t.assignee_id = ANY({ids}::uuid[]){nobody})"));
        }
        let times = [
            ("t.due_date <", self.due_before),
            ("t.due_date >=", self.due_after),
            ("t.created_at <", self.created_before),
            ("t.created_at >=", self.created_after),
        ];
        for (comparison, instant) in times {
            if let Some(instant) = instant {
                and(format!("{comparison} {}", bound.bind(instant)));
            }
        }
        match self.overdue {
            Some(true) => and("t.due_date < now() AND t.status <> 'completed'".to_owned()),
            Some(false) => and("(t.due_date < now() AND t.status <> 'completed') IS NOT TRUE".to_owned()),
            None => {}
        }
        if let Some(text) = &self.title_contains {
            and(format!("t.title ILIKE {}", bound.bind(containing(text))));
        }
        sql
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

    fn page(&self) -> Page {
        self.page.clone()
    }

    fn with_page(&self, page: Page) -> Self {
        Self { page, ..self.clone() }
    }

    fn count(&self) -> TaskCount {
        TaskCount { parent: self.parent, filter: self.filter.clone() }
    }

    fn parent(&self) -> Uuid {
        self.parent.id()
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
        let value = match (self.order.0, task.card.due_date) {
            (OrderField::CreatedAt, _) => SortValue::Time(task.card.created_at),
            (OrderField::DueDate, Some(due_date)) => SortValue::Time(due_date),
            (OrderField::DueDate, None) => SortValue::Null,
        };
        Position { value, id: task.card.id }
    }

    fn start(&self) -> Start {
        let direction = Cut::new(self.order.1, &self.page).direction();
        let start = self.page.start.clone();
        match *self.filter.clone().beginning(self.order.0, direction) {
            Some(beginning) => start.no_earlier_than(beginning, direction),
            None => start,
        }
    }

    fn direction(arguments: &Arguments) -> Direction {
        arguments.order.1
    }

    fn sql(arguments: &Arguments, cut: Cut, bound: &mut Bound) -> (&'static str, String) {
        let mut filter = arguments.filter.clone();
        if cut.is_from_time() {
            // The start has it. Beside a cursor, PostgreSQL 18 would go to where the filter begins, and read from there to
            // the cursor: 1,162 buffers instead of 32 in the middle of 200,000 tasks.
            *filter.beginning(arguments.order.0, cut.direction()) = None;
        }
        let conditions = filter.conditions(bound);
        let statuses = filter.bind_statuses(bound);
        let list = List { arguments, cut, conditions, statuses };
        match arguments.level {
            Level::Project => (list.name(PROJECT), list.of_project("k.parent", "")),
            // A board is always newest first.
            Level::Column => ("tasks_of_column_by_created_at", list.of_project("k.parent", " AND t.status = k.part")),
            // A page of each project, then the best of those: 594 buffers where one scan of 25 projects takes 22,986.
            Level::Workspace => {
                let page = list.of_project("p.id", "");
                let sql = format!(
                    "SELECT t.* FROM projects p CROSS JOIN LATERAL ({page}) t \
                     WHERE p.workspace_id = k.parent AND p.deleted_at IS NULL ORDER BY {} LIMIT $2",
                    list.order()
                );
                (list.name(WORKSPACE), sql)
            }
            Level::Assignee => (list.name(ASSIGNEE), list.of_assignee(&visible_to(&bound.bind_viewer()))),
        }
    }

    fn decode(arguments: &Arguments, row: &QueryResult, at: usize) -> Result<Row, DbErr> {
        Row::decode(row, at, arguments.projection)
    }

    fn parts(keys: &[Self]) -> Option<Vec<String>> {
        let parts: Vec<String> = keys.iter().filter_map(|key| key.parent.part()).collect();
        (!parts.is_empty()).then_some(parts)
    }
}

/// The names of a list's statement, by creation and by due date.
type Names = [&'static str; 2];

const PROJECT: Names = ["tasks_of_project_by_created_at", "tasks_of_project_by_due_date"];
const WORKSPACE: Names = ["tasks_of_workspace_by_created_at", "tasks_of_workspace_by_due_date"];
const ASSIGNEE: Names = ["tasks_of_assignee_by_created_at", "tasks_of_assignee_by_due_date"];

/// The condition that a task `t` is in a live project of a live workspace that the viewer, who must be live, is a member of.
fn visible_to(viewer: &str) -> String {
    format!(
        "EXISTS (SELECT FROM projects p JOIN workspaces w ON w.id = p.workspace_id AND w.deleted_at IS NULL \
         JOIN members m ON m.workspace_id = w.id AND m.user_id = {viewer} AND m.deleted_at IS NULL \
         JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL \
         WHERE p.id = t.project_id AND p.deleted_at IS NULL)"
    )
}

/// A list of tasks, on its way to SQL.
struct List<'a> {
    arguments: &'a Arguments,
    cut: Cut,
    conditions: String,
    statuses: Option<String>,
}

impl List<'_> {
    fn name(&self, [by_created_at, by_due_date]: Names) -> &'static str {
        match self.arguments.order.0 {
            OrderField::CreatedAt => by_created_at,
            OrderField::DueDate => by_due_date,
        }
    }

    fn order(&self) -> String {
        match self.arguments.order.0 {
            OrderField::CreatedAt => self.cut.order("t.created_at", "t.id"),
            OrderField::DueDate => self.cut.order_with_nulls("t.due_date", "t.id"),
        }
    }

    fn select(&self, of: &str) -> String {
        let columns = self.arguments.projection.columns("t");
        // A column that no index holds. Without it PostgreSQL may read all cards of a project from the covering index and
        // sort them: it plans for a project of average size, whichever is asked for. That is 733 buffers instead of 29 for
        // one of 20,000 tasks among 10,000 of 8; and on 18, which skips from status to status there, 821 instead of 9 for
        // the newest of 200,000 tasks of which only those of three months are asked for.
        let of_table = if self.is_in_order_of_index() { ", t.updated_at" } else { "" };
        format!("SELECT {columns}{of_table} FROM tasks t WHERE {of}{}", self.conditions)
    }

    /// Whether the page is the next rows of an index that holds its order but not its columns.
    fn is_in_order_of_index(&self) -> bool {
        let Arguments { level, filter, order: (field, _), projection } = self.arguments;
        let by_order_alone = match field {
            OrderField::CreatedAt => Filter { created_before: None, created_after: None, ..filter.clone() },
            OrderField::DueDate => Filter { due_before: None, due_after: None, ..filter.clone() },
        };
        *projection == Projection::Card
            && matches!(level, Level::Project | Level::Workspace)
            && by_order_alone == Filter { deleted: filter.deleted, ..Filter::default() }
    }

    /// A SELECT for the page of one project, whose id is the SQL expression `project`.
    fn of_project(&self, project: &str, column: &str) -> String {
        self.arguments.filter.deleted.page(&self.order(), |deleted| {
            let select = self.select(&format!("t.project_id = {project} AND {deleted}{column}"));
            match (self.arguments.order.0, &self.statuses) {
                (OrderField::CreatedAt, None) => self.cut.page(&select, "t.created_at", "t.id"),
                // One ordered probe for each status: `status = ANY(…)` would sort all rows of those statuses.
                (OrderField::CreatedAt, Some(statuses)) => format!(
                    "SELECT t.* FROM unnest({statuses}::text[]) s (status) CROSS JOIN LATERAL ({}) t \
                     ORDER BY {} LIMIT $2",
                    self.cut.page(&format!("{select} AND t.status = s.status"), "t.created_at", "t.id"),
                    self.order()
                ),
                (OrderField::DueDate, _) => self.by_due_date(&select),
            }
        })
    }

    /// A SELECT for the page of one assignee.
    fn of_assignee(&self, visible: &str) -> String {
        let open = "t.assignee_id = k.parent AND t.deleted_at IS NULL AND t.status <> 'completed'";
        let select = format!("{} AND {visible}", self.select(open));
        match self.arguments.order.0 {
            OrderField::CreatedAt => self.cut.page(&format!("{select}{}", self.status()), "t.created_at", "t.id"),
            OrderField::DueDate => self.by_due_date(&select),
        }
    }

    fn by_due_date(&self, select: &str) -> String {
        // With a bound list alone the partial index of open tasks is not used.
        let open = if self.arguments.filter.is_open() { " AND t.status <> 'completed'" } else { "" };
        let select = format!("{select}{}{open}", self.status());
        let Filter { due_before, due_after, .. } = self.arguments.filter;
        if due_before.or(due_after).is_some() && !self.cut.is_from_null() {
            // Nobody asks for tasks without a date.
            self.cut.page(&select, "t.due_date", "t.id")
        } else {
            self.cut.page_with_nulls(&select, "t.due_date", "t.id")
        }
    }

    fn status(&self) -> String {
        self.statuses.as_ref().map(|statuses| format!(" AND t.status = ANY({statuses}::text[])")).unwrap_or_default()
    }
}
