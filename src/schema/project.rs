//! Projects.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use futures_util::future::try_join_all;
use sea_orm::Iterable;
use uuid::Uuid;

use super::input::{DeleteInput, RestoreInput, kept};
use super::list_size::list_size;
use super::page::{Connection, Deleted, Listed, OrderDirection, PageArguments, WHOLE, allowed, distinct, needle};
use super::payload::{Outcome, UserError, write, write_unless};
use super::report::Report;
use super::scalar::{self, ConsistencyToken, Cursor, DateTime};
use super::session::Session;
use super::task::{self, Task, TaskFilter, TaskOrder, TaskStatus};
use super::workspace::{self, Workspace};
use crate::commands;
use crate::entities::project::Model;
use crate::entities::task::Status;
use crate::error::Error;
use crate::loaders::page::{self, Direction};
use crate::loaders::project::{Filter, OrderField, ProjectById, ProjectsOfWorkspace};
use crate::loaders::task::{Parent, TaskPage};
use crate::reports::Subject;

/// Where a project stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::entities::project::Status")]
pub enum ProjectStatus {
    /// Worked on.
    Active,
    /// Waiting.
    Paused,
    /// Done.
    Completed,
    /// Kept for the record.
    Archived,
}

/// A body of work in a workspace.
#[derive(Clone)]
pub struct Project(pub(super) Arc<Model>);

impl Listed for Project {
    type Row = Model;

    fn of(row: Arc<Model>) -> Self {
        Self(row)
    }
}

/// A body of work in a workspace: it holds the tasks.
#[Object]
impl Project {
    /// A UUID, unique among all rows.
    pub(super) async fn id(&self) -> ID {
        scalar::id(self.0.id)
    }

    /// Where the project lives.
    async fn workspace(&self, context: &Context<'_>) -> Result<Workspace, Error> {
        workspace::of_reference(context, self.0.workspace_id).await
    }

    /// The name.
    fn name(&self) -> &str {
        &self.0.name
    }

    /// Where the project stands.
    fn status(&self) -> ProjectStatus {
        self.0.status.into()
    }

    /// When the project was made.
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When the project was last changed.
    fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// When the project was deleted; null while it is live.
    fn deleted_at(&self) -> Option<DateTime> {
        self.0.deleted_at.map(DateTime)
    }

    /// The tasks, newest first unless ordered otherwise.
    async fn tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100; 25 where nothing is said.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor; with `first`.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor; with `last`.")] before: Option<Cursor>,
        #[graphql(desc = "Only tasks that match.")] filter: Option<TaskFilter>,
        #[graphql(desc = "In which order; newest first where nothing is said.")] order_by: Option<TaskOrder>,
        #[graphql(desc = "Which deleted tasks are shown.", default_with = "Deleted::Exclude")] deleted: Deleted,
    ) -> Result<Connection<Task, TaskPage>, Error> {
        let page = PageArguments { first, after, last, before };
        let deleted = allowed(context, self.0.workspace_id, deleted).await?;
        let order = order_by.unwrap_or(TaskOrder::NEWEST_FIRST);
        let rows = task::list(context, Parent::Project(self.0.id), filter, order, deleted)?;
        if !self.shows(context).await? {
            return Ok(Connection::hidden(rows));
        }
        Connection::load(context, rows, page).await
    }

    /// A board in one call: a column for each status, each with its own page of tasks, newest first.
    #[graphql(directive = list_size::apply(4))]
    async fn board(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many tasks of each column, 1 to 100; 25 where nothing is said.")] first: Option<i32>,
        #[graphql(desc = "Only tasks that match.")] filter: Option<TaskFilter>,
    ) -> Result<Vec<BoardColumn>, Error> {
        let column = |status: Status| {
            let filter = filter.clone();
            async move {
                let parent = Parent::Column(self.0.id, status);
                let rows = task::column(context, parent, filter)?;
                let page = PageArguments { first, ..PageArguments::default() };
                let tasks = if self.shows(context).await? {
                    Connection::load(context, rows, page).await?
                } else {
                    Connection::hidden(rows)
                };
                Ok(BoardColumn { status: status.into(), tasks })
            }
        };
        try_join_all(Status::iter().map(column)).await
    }

    /// Counts over all tasks of the project, from a replica. Null where the project is deleted.
    async fn report(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How old the data may be at most, in milliseconds; a staler replica is passed over.")]
        max_staleness_ms: Option<i32>,
    ) -> Option<Result<Report, Error>> {
        match self.shows(context).await {
            Ok(shows) => shows.then(|| Report::of(context, Subject::Project(self.0.id), max_staleness_ms)),
            Err(error) => Some(Err(error)),
        }
    }
}

impl Project {
    async fn shows(&self, context: &Context<'_>) -> Result<bool, Error> {
        Session::of(context).sees_below(self.0.deleted_at, ProjectById(self.0.id)).await
    }
}

/// A column of a project's board.
#[derive(SimpleObject)]
pub struct BoardColumn {
    /// The status of its tasks.
    status: TaskStatus,
    /// The tasks, newest first.
    tasks: Connection<Task, TaskPage>,
}

/// Which projects: those that match every field.
#[derive(Clone, Debug, InputObject)]
pub struct ProjectFilter {
    /// Those in one of these; none where the list is empty.
    status: Option<Vec<ProjectStatus>>,
    /// A part of the name, whatever the case of its letters: 2 to 100 characters.
    name_contains: Option<String>,
}

/// By what projects are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::loaders::project::OrderField")]
pub enum ProjectOrderField {
    /// When they were made.
    CreatedAt,
    /// Their names.
    Name,
}

/// In which order projects are listed.
#[derive(Clone, Copy, Debug, InputObject)]
pub struct ProjectOrder {
    /// By what.
    field: ProjectOrderField,
    /// Which way.
    direction: OrderDirection,
}

/// The list of a workspace's projects: oldest first unless ordered otherwise.
pub(super) fn list(
    workspace_id: Uuid,
    filter: Option<ProjectFilter>,
    order: Option<ProjectOrder>,
    deleted: page::Deleted,
) -> Result<ProjectsOfWorkspace, Error> {
    let (status, name_contains) = filter.map(|filter| (filter.status, filter.name_contains)).unwrap_or_default();
    let filter = Filter {
        statuses: status.map(|statuses| distinct(statuses.into_iter().map(Into::into))),
        name_contains: needle(name_contains, "nameContains")?,
        deleted,
    };
    let order = order
        .map_or((OrderField::CreatedAt, Direction::Ascending), |order| (order.field.into(), order.direction.into()));
    Ok(ProjectsOfWorkspace { workspace_id, filter, order, page: WHOLE })
}

/// The project that a visible row belongs to.
pub(super) async fn of_reference(context: &Context<'_>, id: Uuid) -> Result<Project, Error> {
    let project = Session::of(context).load(ProjectById(id)).await?;
    project.map(Project).ok_or(Error::VANISHED)
}

/// The root fields about projects.
#[derive(Debug, Default)]
pub struct ProjectQuery;

#[Object]
impl ProjectQuery {
    /// A project by id. Null where there is none, or you are not a member of its workspace.
    async fn project(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The project's id.")] id: ID,
    ) -> Option<Result<Project, Error>> {
        let found = async { Session::of(context).load(ProjectById(scalar::uuid(&id, "id")?)).await };
        found.await.map(|row| row.map(Project)).transpose()
    }
}

/// What a new project is.
#[derive(Debug, InputObject)]
pub struct ProjectCreateInput {
    /// Where.
    workspace_id: ID,
    /// The name: 1 to 200 characters.
    name: String,
    /// Where the project stands.
    #[graphql(default_with = "ProjectStatus::Active")]
    status: ProjectStatus,
    /// Your name for this write, of 1 to 255 characters: sent again within 24 hours, the same input gets the first answer
    /// and writes nothing.
    idempotency_key: Option<String>,
}

/// What to change in a project: what is absent stays.
#[derive(Debug, InputObject)]
pub struct ProjectUpdateInput {
    /// Which project.
    id: ID,
    /// The name: 1 to 200 characters. Cannot be cleared.
    name: MaybeUndefined<String>,
    /// Where the project stands. Cannot be cleared.
    status: MaybeUndefined<ProjectStatus>,
    /// When you last saw it change: where it has changed since, nothing is written, and you get it as it is now.
    expected_updated_at: Option<DateTime>,
    /// Your name for this write, of 1 to 255 characters: sent again within 24 hours, the same input gets the first answer
    /// and writes nothing.
    idempotency_key: Option<String>,
}

/// What became of a write to a project.
#[derive(SimpleObject)]
pub struct ProjectPayload {
    /// The project as it is now; null where nothing was written, but on CONFLICT.
    project: Option<Project>,
    /// Why nothing was written; empty where it was.
    #[graphql(directive = list_size::apply(10))]
    user_errors: Vec<UserError>,
    /// Proof of the write; null where nothing was written.
    consistency_token: Option<ConsistencyToken>,
}

impl ProjectPayload {
    fn of(outcome: Outcome<Model>) -> Self {
        let Outcome { row, user_errors, consistency_token } = outcome;
        Self { project: row.map(|row| Project(Arc::new(row))), user_errors, consistency_token }
    }
}

/// The mutations of projects.
#[derive(Debug, Default)]
pub struct ProjectMutation;

#[Object]
impl ProjectMutation {
    /// Makes a project. Needs role ADMIN or above in the workspace.
    async fn project_create(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What the project is.")] input: ProjectCreateInput,
    ) -> Option<Result<ProjectPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let command = commands::project::Create {
                viewer,
                workspace_id: scalar::uuid(&input.workspace_id, "input.workspaceId")?,
                name: input.name,
                status: input.status.into(),
            };
            Ok(ProjectPayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Changes a project. Needs role ADMIN or above in the workspace.
    async fn project_update(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which project, and what to change in it.")] input: ProjectUpdateInput,
    ) -> Option<Result<ProjectPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let mut faults = Vec::new();
            let command = commands::project::Update {
                viewer,
                id: scalar::uuid(&input.id, "input.id")?,
                name: kept(input.name, "name", &mut faults),
                status: kept(input.status, "status", &mut faults).map(Into::into),
                expected: input.expected_updated_at.map(|instant| instant.0),
            };
            Ok(ProjectPayload::of(write_unless(context, faults, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Deletes a project, and hides its tasks. Needs role ADMIN or above in the workspace.
    async fn project_delete(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which project.")] input: DeleteInput,
    ) -> Option<Result<ProjectPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let expected = input.expected_updated_at.map(|instant| instant.0);
            let command = commands::project::Delete::new(viewer, scalar::uuid(&input.id, "input.id")?, expected);
            Ok(ProjectPayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Brings a deleted project back, with exactly what its deletion hid. Needs role ADMIN or above in the workspace.
    async fn project_restore(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which project.")] input: RestoreInput,
    ) -> Option<Result<ProjectPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let command = commands::project::Restore::new(viewer, scalar::uuid(&input.id, "input.id")?);
            Ok(ProjectPayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }
}
