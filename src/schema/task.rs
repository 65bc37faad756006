//! Tasks.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::comment::Comment;
use super::page::{Connection, Node, OrderDirection, PageArguments, WHOLE, page_cost};
use super::payload::{UserError, outcome};
use super::project::{self, Project};
use super::scalar::{self, Cursor, DateTime};
use super::session::Session;
use super::user::{self, User};
use crate::commands;
use crate::commands::task::Change;
use crate::database::Command;
use crate::entities::task::{Detail, Projection, Row};
use crate::error::{Error, Failure, UserErrorCode};
use crate::loaders::comment::CommentsOfTask;
use crate::loaders::page::Direction;
use crate::loaders::task::{Filter, OrderField, Parent, TaskById, TaskPage};

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
pub struct Task(Arc<Row>);

impl Node for Task {
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
    fn id(&self) -> ID {
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
        self.detail(context).await.map(|detail| detail.description).transpose()
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

    /// When the task was completed; null while it is open.
    async fn completed_at(&self, context: &Context<'_>) -> Option<Result<DateTime, Error>> {
        self.detail(context).await.map(|detail| detail.completed_at.map(DateTime)).transpose()
    }

    /// When the task was made.
    fn created_at(&self) -> DateTime {
        self.0.card.created_at.into()
    }

    /// When the task was last changed.
    async fn updated_at(&self, context: &Context<'_>) -> Result<DateTime, Error> {
        self.detail(context).await.map(|detail| detail.updated_at.into())
    }

    /// When the task was deleted; null while it is live.
    async fn deleted_at(&self, context: &Context<'_>) -> Option<Result<DateTime, Error>> {
        self.detail(context).await.map(|detail| detail.deleted_at.map(DateTime)).transpose()
    }

    /// What was said about the task, oldest first unless ordered otherwise.
    #[graphql(complexity = "page_cost(first, last, child_complexity)")]
    async fn comments(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100; 25 where nothing is said.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor; with `first`.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor; with `last`.")] before: Option<Cursor>,
    ) -> Result<Connection<Comment, CommentsOfTask>, Error> {
        let page = PageArguments { first, after, last, before };
        Connection::load(
            context,
            CommentsOfTask { task_id: self.0.card.id, direction: Direction::Ascending, page: WHOLE },
            page,
        )
        .await
    }
}

impl Task {
    /// What the card does not hold. A list whose selection needs it has read it with the rows.
    async fn detail(&self, context: &Context<'_>) -> Result<Detail, Error> {
        if let Some(detail) = &self.0.detail {
            return Ok(detail.clone());
        }
        let row = Session::of(context).load(TaskById(self.0.card.id)).await?;
        row.and_then(|row| row.detail.clone()).ok_or_else(|| Error::vanished("task"))
    }
}

/// The task that a visible row belongs to.
pub(super) async fn of_reference(context: &Context<'_>, id: uuid::Uuid) -> Result<Task, Error> {
    let task = Session::of(context).load(TaskById(id)).await?;
    task.map(Task).ok_or_else(|| Error::vanished("task"))
}

/// Which tasks: those that match every field.
#[derive(Clone, Debug, InputObject)]
pub struct TaskFilter {
    /// Tasks in one of these; none of them where the list is empty.
    status: Option<Vec<TaskStatus>>,
}

impl From<TaskFilter> for Filter {
    fn from(filter: TaskFilter) -> Self {
        let statuses = filter.status.map(|statuses| {
            let mut distinct: Vec<_> = statuses.into_iter().map(crate::entities::task::Status::from).collect();
            distinct.sort_unstable();
            distinct.dedup();
            distinct
        });
        Self { statuses }
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

/// The list of a parent's tasks, in the narrowest projection that the selection allows.
pub(super) fn list(
    context: &Context<'_>,
    parent: Parent,
    filter: Option<TaskFilter>,
    order: Option<TaskOrder>,
) -> TaskPage {
    let connection = context.look_ahead();
    let rows = [connection.field("nodes"), connection.field("edges").field("node")];
    let needs_detail = rows.iter().any(|row| DETAIL_FIELDS.iter().any(|field| row.field(field).exists()));
    TaskPage {
        parent,
        filter: filter.map(Filter::from).unwrap_or_default(),
        order: order.map_or((OrderField::CreatedAt, Direction::Descending), |order| {
            (order.field.into(), order.direction.into())
        }),
        projection: if needs_detail { Projection::Full } else { Projection::Card },
        page: WHOLE,
    }
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

/// What a new task is.
#[derive(Debug, InputObject)]
pub struct TaskCreateInput {
    /// Where.
    project_id: ID,
    /// What is to be done, in a line: 1 to 500 characters.
    title: String,
    /// What is to be done, at length: at most 100,000 characters.
    description: Option<String>,
    /// Where the task stands.
    #[graphql(default_with = "TaskStatus::Todo")]
    status: TaskStatus,
    /// How urgent the task is.
    #[graphql(default_with = "TaskPriority::Medium")]
    priority: TaskPriority,
    /// When the task is due.
    due_date: Option<DateTime>,
    /// Who does it: a member of the workspace.
    assignee_id: Option<ID>,
}

/// What to change in a task: what is absent stays, and null clears.
#[derive(Debug, InputObject)]
pub struct TaskUpdateInput {
    /// Which task.
    id: ID,
    /// What is to be done, in a line: 1 to 500 characters. Cannot be cleared.
    title: MaybeUndefined<String>,
    /// What is to be done, at length: at most 100,000 characters.
    description: MaybeUndefined<String>,
    /// Where the task stands. Cannot be cleared.
    status: MaybeUndefined<TaskStatus>,
    /// How urgent the task is. Cannot be cleared.
    priority: MaybeUndefined<TaskPriority>,
    /// When the task is due.
    due_date: MaybeUndefined<DateTime>,
    /// Who does it: a member of the workspace.
    assignee_id: MaybeUndefined<ID>,
}

/// What became of a write to a task.
#[derive(SimpleObject)]
pub struct TaskPayload {
    /// The task as it is now; null where nothing was written.
    task: Option<Task>,
    /// Why nothing was written; empty where it was.
    user_errors: Vec<UserError>,
}

impl TaskPayload {
    fn of(result: Result<Row, Failure>) -> Result<Self, Error> {
        let (written, user_errors) = outcome(result)?;
        Ok(Self { task: written.map(|row| Task(Arc::new(row))), user_errors })
    }
}

/// The mutations of tasks.
#[derive(Debug, Default)]
pub struct TaskMutation;

#[Object]
impl TaskMutation {
    /// Makes a task. Needs role MEMBER or above in the workspace.
    async fn task_create(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What the task is.")] input: TaskCreateInput,
    ) -> Option<Result<TaskPayload, Error>> {
        let session = Session::of(context);
        let payload = async {
            let command = commands::task::Create {
                viewer: session.viewer()?,
                project_id: scalar::uuid(&input.project_id, "input.projectId")?,
                title: input.title,
                description: input.description,
                status: input.status.into(),
                priority: input.priority.into(),
                due_date: input.due_date.map(|date| date.0),
                assignee_id: input.assignee_id.map(|id| scalar::uuid(&id, "input.assigneeId")).transpose()?,
            };
            TaskPayload::of(session.execute(command).await)
        };
        Some(payload.await)
    }

    /// Changes a task. Needs role MEMBER or above in the workspace.
    async fn task_update(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which task, and what to change in it.")] input: TaskUpdateInput,
    ) -> Option<Result<TaskPayload, Error>> {
        let session = Session::of(context);
        let payload = async {
            let command = match update(session.viewer()?, input) {
                Ok(command) => command,
                Err(failure) => return TaskPayload::of(Err(failure)),
            };
            TaskPayload::of(session.execute(command).await)
        };
        Some(payload.await)
    }
}

/// Decodes an update; every column that cannot be cleared and is null is a fault.
fn update(viewer: uuid::Uuid, input: TaskUpdateInput) -> Result<commands::task::Update, Failure> {
    let mut faults = Vec::new();
    let command = commands::task::Update {
        viewer,
        id: scalar::uuid(&input.id, "input.id")?,
        title: required(input.title, "title", &mut faults),
        description: optional(input.description),
        status: required(input.status.map_value(Into::into), "status", &mut faults),
        priority: required(input.priority.map_value(Into::into), "priority", &mut faults),
        due_date: optional(input.due_date.map_value(|date| date.0)),
        assignee_id: match input.assignee_id {
            MaybeUndefined::Value(id) => Change::Set(Some(scalar::uuid(&id, "input.assigneeId")?)),
            MaybeUndefined::Null => Change::Set(None),
            MaybeUndefined::Undefined => Change::Keep,
        },
    };
    if faults.is_empty() {
        return Ok(command);
    }
    faults.extend(command.faults());
    Err(Failure::Refused(faults))
}

fn optional<T>(value: MaybeUndefined<T>) -> Change<Option<T>> {
    match value {
        MaybeUndefined::Undefined => Change::Keep,
        MaybeUndefined::Null => Change::Set(None),
        MaybeUndefined::Value(value) => Change::Set(Some(value)),
    }
}

fn required<T>(value: MaybeUndefined<T>, field: &str, faults: &mut Vec<crate::error::UserError>) -> Change<T> {
    match value {
        MaybeUndefined::Undefined => Change::Keep,
        MaybeUndefined::Value(value) => Change::Set(value),
        MaybeUndefined::Null => {
            let message = "Cannot be cleared. Leave it out to keep it.";
            faults.push(crate::error::UserError::of(field, UserErrorCode::Invalid, message));
            Change::Keep
        }
    }
}
