//! The mutations of tasks.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use uuid::Uuid;

use super::{Task, TaskPriority, TaskStatus};
use crate::commands;
use crate::commands::Change;
use crate::entities::task::Row;
use crate::error::{self, Error};
use crate::schema::input::{DeleteInput, RestoreInput, clearable, kept};
use crate::schema::list_size::list_size;
use crate::schema::payload::{Outcome, UserError, write, write_unless};
use crate::schema::scalar::{self, ConsistencyToken, DateTime};
use crate::schema::session::Session;

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
    /// Your name for this write, of 1 to 255 characters: sent again within 24 hours, the same input gets the first answer
    /// and writes nothing.
    idempotency_key: Option<String>,
}

/// What to change in a task: what is absent stays, and null clears.
#[derive(Debug, InputObject)]
pub struct TaskUpdateInput {
    /// Which task.
    id: ID,
    /// Another project of the same workspace. Cannot be cleared.
    project_id: MaybeUndefined<ID>,
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
    /// When you last saw it change: where it has changed since, nothing is written, and you get it as it is now.
    expected_updated_at: Option<DateTime>,
    /// Your name for this write, of 1 to 255 characters: sent again within 24 hours, the same input gets the first answer
    /// and writes nothing.
    idempotency_key: Option<String>,
}

/// What to change in many tasks alike: what is absent stays, and null clears.
#[derive(Debug, InputObject)]
pub struct TasksUpdateInput {
    /// Which tasks, at most 100.
    ids: Vec<ID>,
    /// Where the tasks stand. Cannot be cleared.
    status: MaybeUndefined<TaskStatus>,
    /// How urgent the tasks are. Cannot be cleared.
    priority: MaybeUndefined<TaskPriority>,
    /// When the tasks are due.
    due_date: MaybeUndefined<DateTime>,
    /// Who does them: a member of the workspace of each.
    assignee_id: MaybeUndefined<ID>,
    /// Your name for this write, of 1 to 255 characters: sent again within 24 hours, the same input gets the first answer
    /// and writes nothing.
    idempotency_key: Option<String>,
}

/// What became of a write to a task.
#[derive(SimpleObject)]
pub struct TaskPayload {
    /// The task as it is now; null where nothing was written, but on CONFLICT.
    task: Option<Task>,
    /// Why nothing was written; empty where it was.
    #[graphql(directive = list_size::apply(10))]
    user_errors: Vec<UserError>,
    /// Proof of the write; null where nothing was written.
    consistency_token: Option<ConsistencyToken>,
}

impl TaskPayload {
    fn of(outcome: Outcome<Row>) -> Self {
        let Outcome { row, user_errors, consistency_token } = outcome;
        Self { task: row.map(|row| Task(Arc::new(row))), user_errors, consistency_token }
    }
}

/// What became of a write to many tasks.
#[derive(SimpleObject)]
pub struct TasksPayload {
    /// The tasks as they are now, in the order of the ids; empty where nothing was written.
    #[graphql(directive = list_size::apply(100))]
    tasks: Vec<Task>,
    /// Why nothing was written, each with the place of the id in `ids`; empty where it was.
    #[graphql(directive = list_size::apply(100))]
    user_errors: Vec<UserError>,
    /// Proof of the write; null where nothing was written.
    consistency_token: Option<ConsistencyToken>,
}

impl TasksPayload {
    fn of(outcome: Outcome<Vec<Row>>) -> Self {
        let Outcome { row, user_errors, consistency_token } = outcome;
        let tasks = row.unwrap_or_default().into_iter().map(|row| Task(Arc::new(row))).collect();
        Self { tasks, user_errors, consistency_token }
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
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let command = commands::task::Create {
                viewer,
                project_id: scalar::uuid(&input.project_id, "input.projectId")?,
                title: input.title,
                description: input.description,
                status: input.status.into(),
                priority: input.priority.into(),
                due_date: input.due_date.map(|date| date.0),
                assignee_id: input.assignee_id.map(|id| scalar::uuid(&id, "input.assigneeId")).transpose()?,
            };
            Ok(TaskPayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Changes a task, or moves it to another project of the same workspace. Needs role MEMBER or above.
    async fn task_update(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which task, and what to change in it.")] input: TaskUpdateInput,
    ) -> Option<Result<TaskPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let key = input.idempotency_key.clone();
            let (command, faults) = update(viewer, input)?;
            Ok(TaskPayload::of(write_unless(context, faults, command, key).await?))
        };
        Some(payload.await)
    }

    /// Changes up to 100 tasks alike: all of them, or none. Needs role MEMBER or above in the workspace of each.
    async fn tasks_update(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which tasks, and what to change in them.")] input: TasksUpdateInput,
    ) -> Option<Result<TasksPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let mut faults = Vec::new();
            let command = commands::task::UpdateMany {
                viewer,
                ids: input.ids.iter().map(|id| scalar::uuid(id, "input.ids")).collect::<Result<_, _>>()?,
                status: kept(input.status, "status", &mut faults).map(Into::into),
                priority: kept(input.priority, "priority", &mut faults).map(Into::into),
                due_date: clearable(input.due_date.map_value(|date| date.0)),
                assignee_id: assignee(input.assignee_id)?,
            };
            Ok(TasksPayload::of(write_unless(context, faults, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Deletes a task, and hides its comments. Needs role MEMBER or above in the workspace.
    async fn task_delete(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which task.")] input: DeleteInput,
    ) -> Option<Result<TaskPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let expected = input.expected_updated_at.map(|instant| instant.0);
            let command = commands::task::Delete::new(viewer, scalar::uuid(&input.id, "input.id")?, expected);
            Ok(TaskPayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Brings a deleted task back, with exactly what its deletion hid. Needs role MEMBER or above in the workspace.
    async fn task_restore(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which task.")] input: RestoreInput,
    ) -> Option<Result<TaskPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let command = commands::task::Restore::new(viewer, scalar::uuid(&input.id, "input.id")?);
            Ok(TaskPayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }
}

/// Decodes an update; null where nothing can be cleared is a fault.
fn update(viewer: Uuid, input: TaskUpdateInput) -> Result<(commands::task::Update, Vec<error::UserError>), Error> {
    let mut faults = Vec::new();
    let project_id = kept(input.project_id, "projectId", &mut faults);
    let command = commands::task::Update {
        viewer,
        id: scalar::uuid(&input.id, "input.id")?,
        project_id: project_id.map(|id| scalar::uuid(&id, "input.projectId")).transpose()?,
        title: kept(input.title, "title", &mut faults),
        description: clearable(input.description),
        status: kept(input.status, "status", &mut faults).map(Into::into),
        priority: kept(input.priority, "priority", &mut faults).map(Into::into),
        due_date: clearable(input.due_date.map_value(|date| date.0)),
        assignee_id: assignee(input.assignee_id)?,
        expected: input.expected_updated_at.map(|instant| instant.0),
    };
    Ok((command, faults))
}

fn assignee(id: MaybeUndefined<ID>) -> Result<Change<Option<Uuid>>, Error> {
    match id {
        MaybeUndefined::Value(id) => Ok(Change::Set(Some(scalar::uuid(&id, "input.assigneeId")?))),
        MaybeUndefined::Null => Ok(Change::Set(None)),
        MaybeUndefined::Undefined => Ok(Change::Keep),
    }
}
