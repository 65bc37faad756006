//! Tasks.

mod mutation;

pub use mutation::TaskMutation;

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Lookahead, Object};

use super::comment::{self, Comment, CommentOrder};
use super::page::{Connection, Deleted, Listed, OrderDirection, PageArguments, WHOLE, allowed, distinct, needle};
use super::project::{self, Project};
use super::scalar::{self, Cursor, DateTime};
use super::session::{Session, long_text};
use super::user::{self, User};
use crate::clock;
use crate::entities::task::{Detail, Projection, Row, Status};
use crate::error::Error;
use crate::loaders::comment::CommentsOfTask;
use crate::loaders::page;
use crate::loaders::project::ProjectById;
use crate::loaders::task::{Filter, Parent, TaskById, TaskPage};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::entities::task::Status")]
pub enum TaskStatus {
    /// Not begun.
    Todo,
    /// Worked on.
    InProgress,
    /// Done, and looked at by somebody else.
    InReview,
    /// Done.
    Completed,
}

/// How urgent a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::entities::task::Priority")]
pub enum TaskPriority {
    /// When there is time.
    Low,
    /// In its turn.
    Medium,
    /// Soon.
    High,
    /// Now.
    Urgent,
}

/// A piece of work in a project.
#[derive(Clone)]
pub struct Task(pub(super) Arc<Row>);

impl Listed for Task {
    type Row = Row;

    fn of(row: Arc<Row>) -> Self {
        Self(row)
    }
}

/// The fields that need more of a row than the card.
const DETAIL_FIELDS: [&str; 4] = ["description", "completedAt", "updatedAt", "deletedAt"];

/// A piece of work in a project.
#[Object]
impl Task {
    /// A UUID, unique among all rows.
    pub(super) async fn id(&self) -> ID {
        scalar::id(self.0.card.id)
    }

    /// Where the task lives.
    async fn project(&self, context: &Context<'_>) -> Result<Project, Error> {
        project::of_reference(context, self.0.card.project_id).await
    }

    /// Who does it.
    async fn assignee(&self, context: &Context<'_>) -> Option<Result<User, Error>> {
        Some(user::of_reference(context, self.0.card.assignee_id?).await)
    }

    /// What is to be done, in a line.
    fn title(&self) -> &str {
        &self.0.card.title
    }

    /// What is to be done, at length.
    async fn description(&self, context: &Context<'_>) -> Option<Result<String, Error>> {
        let copied = |text: &String| long_text(context, text).map(str::to_owned);
        let description = self.detail(context, |detail| detail.description.as_ref().map(copied)).await;
        description.transpose().map(Result::flatten)
    }

    /// Where the task stands.
    fn status(&self) -> TaskStatus {
        self.0.card.status.into()
    }

    /// How urgent the task is.
    fn priority(&self) -> TaskPriority {
        self.0.card.priority.into()
    }

    /// When the task is due.
    fn due_date(&self) -> Option<DateTime> {
        self.0.card.due_date.map(DateTime)
    }

    /// Due in the past and not completed.
    fn is_overdue(&self) -> bool {
        let card = &self.0.card;
        card.status != Status::Completed && card.due_date.is_some_and(|due_date| due_date < clock::now())
    }

    /// When the task was completed; null while it is open.
    async fn completed_at(&self, context: &Context<'_>) -> Option<Result<DateTime, Error>> {
        self.detail(context, |detail| detail.completed_at.map(DateTime)).await.transpose()
    }

    /// When the task was made.
    fn created_at(&self) -> DateTime {
        self.0.card.created_at.into()
    }

    /// When the task was last changed.
    async fn updated_at(&self, context: &Context<'_>) -> Result<DateTime, Error> {
        self.detail(context, |detail| detail.updated_at.into()).await
    }

    /// When the task was deleted; null while it is live.
    async fn deleted_at(&self, context: &Context<'_>) -> Option<Result<DateTime, Error>> {
        self.detail(context, |detail| detail.deleted_at.map(DateTime)).await.transpose()
    }

    /// What was said about the task, oldest first unless ordered otherwise.
    async fn comments(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100; 25 where nothing is said.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor; with `first`.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor; with `last`.")] before: Option<Cursor>,
        #[graphql(desc = "In which order; oldest first where nothing is said.")] order_by: Option<CommentOrder>,
        #[graphql(desc = "Which deleted comments are shown.", default_with = "Deleted::Exclude")] deleted: Deleted,
    ) -> Result<Connection<Comment, CommentsOfTask>, Error> {
        let page = PageArguments { first, after, last, before };
        let deleted = match deleted {
            Deleted::Exclude => page::Deleted::Exclude,
            deleted => {
                let project = Session::of(context).load(ProjectById(self.0.card.project_id)).await?;
                let project = project.ok_or(Error::VANISHED)?;
                allowed(context, project.workspace_id, deleted).await?
            }
        };
        let rows = comment::list(self.0.card.id, order_by, deleted);
        // Deleted rows are always read whole.
        let deleted_at = self.0.detail.as_ref().and_then(|detail| detail.deleted_at);
        if !Session::of(context).sees_below(deleted_at, TaskById(self.0.card.id)).await? {
            return Ok(Connection::hidden(rows));
        }
        Connection::load(context, rows, page).await
    }
}

impl Task {
    /// What the card does not hold. A list whose selection needs it has read it with the rows.
    async fn detail<T>(&self, context: &Context<'_>, field: impl FnOnce(&Detail) -> T) -> Result<T, Error> {
        if let Some(detail) = &self.0.detail {
            return Ok(field(detail));
        }
        let row = Session::of(context).load(TaskById(self.0.card.id)).await?;
        row.as_ref().and_then(|row| row.detail.as_ref()).map(field).ok_or(Error::VANISHED)
    }
}

/// The task that a visible row belongs to.
pub(super) async fn of_reference(context: &Context<'_>, id: uuid::Uuid) -> Result<Task, Error> {
    let task = Session::of(context).load(TaskById(id)).await?;
    task.map(Task).ok_or(Error::VANISHED)
}

/// Which tasks: those that match every field.
#[derive(Clone, Debug, Default, InputObject)]
pub struct TaskFilter {
    /// Tasks in one of these; none where the list is empty.
    status: Option<Vec<TaskStatus>>,
    /// Tasks of one of these; none where the list is empty.
    priority: Option<Vec<TaskPriority>>,
    /// Tasks that one of these users is assigned to; null inside the list means nobody.
    assignee_id: Option<Vec<Option<ID>>>,
    /// Tasks that are due before this instant.
    due_before: Option<DateTime>,
    /// Tasks that are due at this instant or after.
    due_after: Option<DateTime>,
    /// True: tasks that were due in the past and are not completed. False: all others.
    overdue: Option<bool>,
    /// Tasks that were made at this instant or after.
    created_after: Option<DateTime>,
    /// Tasks that were made before this instant.
    created_before: Option<DateTime>,
    /// A part of the title, whatever the case of its letters: 2 to 100 characters.
    title_contains: Option<String>,
}

impl TaskFilter {
    fn decode(self, deleted: page::Deleted) -> Result<Filter, Error> {
        let assignees = self.assignee_id.map(|ids| {
            let decode = |id: Option<ID>| id.map(|id| scalar::uuid(&id, "filter.assigneeId")).transpose();
            ids.into_iter().map(decode).collect::<Result<Vec<_>, _>>()
        });
        Ok(Filter {
            statuses: self.status.map(|statuses| distinct(statuses.into_iter().map(Into::into))),
            priorities: self.priority.map(|priorities| distinct(priorities.into_iter().map(Into::into))),
            assignees: assignees.transpose()?,
            due_before: self.due_before.map(|instant| instant.0),
            due_after: self.due_after.map(|instant| instant.0),
            overdue: self.overdue,
            created_before: self.created_before.map(|instant| instant.0),
            created_after: self.created_after.map(|instant| instant.0),
            title_contains: needle(self.title_contains, "titleContains")?,
            deleted,
        })
    }
}

/// By what tasks are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::loaders::task::OrderField")]
pub enum TaskOrderField {
    /// When they were made.
    CreatedAt,
    /// When they are due; tasks without a date come last, in both directions.
    DueDate,
}

/// In which order tasks are listed.
#[derive(Clone, Copy, Debug, InputObject)]
pub struct TaskOrder {
    /// By what.
    field: TaskOrderField,
    /// Which way.
    direction: OrderDirection,
}

impl TaskOrder {
    pub(super) const NEWEST_FIRST: Self =
        Self { field: TaskOrderField::CreatedAt, direction: OrderDirection::Descending };
    pub(super) const BY_DUE_DATE: Self = Self { field: TaskOrderField::DueDate, direction: OrderDirection::Ascending };
}

/// The list of a parent's tasks, in the narrowest projection that the selection under the present field allows.
pub(super) fn list(
    context: &Context<'_>,
    parent: Parent,
    filter: Option<TaskFilter>,
    order: TaskOrder,
    deleted: page::Deleted,
) -> Result<TaskPage, Error> {
    // The index that holds a card holds no deleted row.
    let is_card = deleted == page::Deleted::Exclude && !needs_detail(&context.look_ahead());
    Ok(TaskPage {
        parent,
        filter: filter.unwrap_or_default().decode(deleted)?,
        order: (order.field.into(), order.direction.into()),
        projection: if is_card { Projection::Card } else { Projection::Full },
        page: WHOLE,
    })
}

/// The list of a board's column: the present field holds the columns, and they hold the connections.
pub(super) fn column(context: &Context<'_>, parent: Parent, filter: Option<TaskFilter>) -> Result<TaskPage, Error> {
    let list = list(context, parent, filter, TaskOrder::NEWEST_FIRST, page::Deleted::Exclude)?;
    let needs_detail = needs_detail(&context.look_ahead().field("tasks"));
    let projection = if needs_detail { Projection::Full } else { Projection::Card };
    Ok(TaskPage { projection, ..list })
}

/// Whether a connection's rows are asked for more than a card holds.
fn needs_detail(connection: &Lookahead<'_>) -> bool {
    let rows = [connection.field("nodes"), connection.field("edges").field("node")];
    rows.iter().any(|row| DETAIL_FIELDS.iter().any(|field| row.field(field).exists()))
}

/// The root fields about tasks.
#[derive(Debug, Default)]
pub struct TaskQuery;

#[Object]
impl TaskQuery {
    /// A task by id. Null where there is none, or you are not a member of its workspace.
    async fn task(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The task's id.")] id: ID,
    ) -> Option<Result<Task, Error>> {
        let found = async { Session::of(context).load(TaskById(scalar::uuid(&id, "id")?)).await };
        found.await.map(|row| row.map(Task)).transpose()
    }
}
