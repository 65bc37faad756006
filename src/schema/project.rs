//! Projects.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use super::page::{Connection, Node, PageArguments, page_cost};
use super::payload::{UserError, outcome};
use super::report::{Report, Subject};
use super::scalar::{self, Cursor, DateTime};
use super::session::Session;
use super::task::{self, Task, TaskFilter, TaskOrder};
use super::workspace::{self, Workspace};
use crate::commands;
use crate::entities::project::Model;
use crate::error::Error;
use crate::loaders::project::ProjectById;
use crate::loaders::task::{Parent, TaskPage};

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
pub struct Project(Arc<Model>);

impl Node for Project {
    type Row = Model;

    fn of(row: Arc<Model>) -> Self {
        Self(row)
    }
}

/// A body of work in a workspace: it holds the tasks.
#[Object]
impl Project {
    /// A UUID, unique among all rows.
    fn id(&self) -> ID {
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
    #[graphql(complexity = "page_cost(first, last, child_complexity)")]
    async fn tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100; 25 where nothing is said.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor; with `first`.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor; with `last`.")] before: Option<Cursor>,
        #[graphql(desc = "Only tasks that match.")] filter: Option<TaskFilter>,
        #[graphql(desc = "In which order; newest first where nothing is said.")] order_by: Option<TaskOrder>,
    ) -> Result<Connection<Task, TaskPage>, Error> {
        let page = PageArguments { first, after, last, before };
        Connection::load(context, task::list(context, Parent::Project(self.0.id), filter, order_by), page).await
    }

    /// Counts over all tasks of the project, from a replica.
    fn report(&self) -> Option<Report> {
        Some(Report::of(Subject::Project(self.0.id)))
    }
}

/// The project that a visible row belongs to.
pub(super) async fn of_reference(context: &Context<'_>, id: Uuid) -> Result<Project, Error> {
    let project = Session::of(context).load(ProjectById(id)).await?;
    project.map(Project).ok_or_else(|| Error::vanished("project"))
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
}

/// What became of a write to a project.
#[derive(SimpleObject)]
pub struct ProjectPayload {
    /// The project as it is now; null where nothing was written.
    project: Option<Project>,
    /// Why nothing was written; empty where it was.
    user_errors: Vec<UserError>,
}

/// The mutations of projects.
#[derive(Debug, Default)]
pub struct ProjectMutation;

#[Object]
impl ProjectMutation {
    /// Makes a project. Needs role MEMBER or above in the workspace.
    async fn project_create(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What the project is.")] input: ProjectCreateInput,
    ) -> Option<Result<ProjectPayload, Error>> {
        let session = Session::of(context);
        let payload = async {
            let command = commands::project::Create {
                viewer: session.viewer()?,
                workspace_id: scalar::uuid(&input.workspace_id, "input.workspaceId")?,
                name: input.name,
                status: input.status.into(),
            };
            let (written, user_errors) = outcome(session.execute(command).await)?;
            Ok(ProjectPayload { project: written.map(|row| Project(Arc::new(row))), user_errors })
        };
        Some(payload.await)
    }
}
