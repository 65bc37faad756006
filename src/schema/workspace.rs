//! Workspaces.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use uuid::Uuid;

use super::input::{DeleteInput, RestoreInput, kept};
use super::list_size::list_size;
use super::member::{Member, MemberFilter, Role};
use super::page::{Connection, Deleted, Listed, PageArguments, WHOLE, allowed};
use super::payload::{Outcome, UserError, write, write_unless};
use super::project::{self, Project, ProjectFilter, ProjectOrder};
use super::report::Report;
use super::scalar::{self, ConsistencyToken, Cursor, DateTime};
use super::session::Session;
use super::task::{self, Task, TaskFilter, TaskOrder};
use crate::commands;
use crate::entities::workspace::Model;
use crate::error::Error;
use crate::loaders::member::{MembersOfWorkspace, ViewerRole};
use crate::loaders::page::PageKey;
use crate::loaders::project::ProjectsOfWorkspace;
use crate::loaders::task::{Parent, TaskPage};
use crate::loaders::workspace::{WorkspaceById, WorkspaceBySlug, WorkspacesOfUser};
use crate::reports::Subject;

/// A tenant: everything else lives in exactly one workspace.
#[derive(Clone)]
pub struct Workspace(pub(super) Arc<Model>);

impl Listed for Workspace {
    type Row = Model;

    fn of(row: Arc<Model>) -> Self {
        Self(row)
    }
}

/// A tenant: everything else lives in exactly one workspace, and only its members see it.
#[Object]
impl Workspace {
    /// A UUID, unique among all rows.
    pub(super) async fn id(&self) -> ID {
        scalar::id(self.0.id)
    }

    /// The name, for people.
    fn name(&self) -> &str {
        &self.0.name
    }

    /// The name, for addresses: unique among workspaces, lower-case letters, digits and single hyphens.
    fn slug(&self) -> &str {
        &self.0.slug
    }

    /// When the workspace was made.
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When the workspace was last changed.
    fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// When the workspace was deleted; null while it is live.
    fn deleted_at(&self) -> Option<DateTime> {
        self.0.deleted_at.map(DateTime)
    }

    /// What you may do here.
    async fn viewer_role(&self, context: &Context<'_>) -> Result<Role, Error> {
        let role = Session::of(context).load(ViewerRole(self.0.id)).await?;
        role.map(Role::from).ok_or(Error::VANISHED)
    }

    /// The members, in the order in which they were registered as users.
    async fn members(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100; 25 where nothing is said.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor; with `first`.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor; with `last`.")] before: Option<Cursor>,
        #[graphql(desc = "Only members that match.")] filter: Option<MemberFilter>,
    ) -> Result<Connection<Member, MembersOfWorkspace>, Error> {
        let page = PageArguments { first, after, last, before };
        let roles = filter.and_then(MemberFilter::roles);
        let rows = MembersOfWorkspace { workspace_id: self.0.id, roles, page: WHOLE };
        self.connection(context, rows, page).await
    }

    /// The projects, oldest first unless ordered otherwise.
    async fn projects(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100; 25 where nothing is said.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor; with `first`.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor; with `last`.")] before: Option<Cursor>,
        #[graphql(desc = "Only projects that match.")] filter: Option<ProjectFilter>,
        #[graphql(desc = "In which order; oldest first where nothing is said.")] order_by: Option<ProjectOrder>,
        #[graphql(desc = "Which deleted projects are shown.", default_with = "Deleted::Exclude")] deleted: Deleted,
    ) -> Result<Connection<Project, ProjectsOfWorkspace>, Error> {
        let page = PageArguments { first, after, last, before };
        let deleted = allowed(context, self.0.id, deleted).await?;
        self.connection(context, project::list(self.0.id, filter, order_by, deleted)?, page).await
    }

    /// Every task of the workspace, newest first unless ordered otherwise.
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
        let deleted = allowed(context, self.0.id, deleted).await?;
        let order = order_by.unwrap_or(TaskOrder::NEWEST_FIRST);
        self.connection(context, task::list(context, Parent::Workspace(self.0.id), filter, order, deleted)?, page).await
    }

    /// Counts over all tasks of the workspace, from a replica. Null where the workspace is deleted.
    async fn report(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How old the data may be at most, in milliseconds; a staler replica is passed over.")]
        max_staleness_ms: Option<i32>,
    ) -> Option<Result<Report, Error>> {
        match self.shows(context).await {
            Ok(shows) => shows.then(|| Report::of(context, Subject::Workspace(self.0.id), max_staleness_ms)),
            Err(error) => Some(Err(error)),
        }
    }
}

impl Workspace {
    async fn shows(&self, context: &Context<'_>) -> Result<bool, Error> {
        Session::of(context).sees_below(self.0.deleted_at, WorkspaceById(self.0.id)).await
    }

    /// A list below this workspace.
    async fn connection<N: Listed, K: PageKey<Row = N::Row>>(
        &self,
        context: &Context<'_>,
        list: K,
        page: PageArguments,
    ) -> Result<Connection<N, K>, Error> {
        if !self.shows(context).await? {
            return Ok(Connection::hidden(list));
        }
        Connection::load(context, list, page).await
    }
}

/// The workspace that a visible row belongs to.
pub(super) async fn of_reference(context: &Context<'_>, id: Uuid) -> Result<Workspace, Error> {
    let workspace = Session::of(context).load(WorkspaceById(id)).await?;
    workspace.map(Workspace).ok_or(Error::VANISHED)
}

/// The root fields about workspaces.
#[derive(Debug, Default)]
pub struct WorkspaceQuery;

#[Object]
impl WorkspaceQuery {
    /// A workspace by id. Null where there is none, or you are not a member of it.
    async fn workspace(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The workspace's id.")] id: ID,
    ) -> Option<Result<Workspace, Error>> {
        let found = async { Session::of(context).load(WorkspaceById(scalar::uuid(&id, "id")?)).await };
        found.await.map(|row| row.map(Workspace)).transpose()
    }

    /// A workspace by slug. Null where there is none, or you are not a member of it.
    async fn workspace_by_slug(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The workspace's slug, as it is written.")] slug: String,
    ) -> Option<Result<Workspace, Error>> {
        let session = Session::of(context);
        if !commands::workspace::is_slug(&slug) {
            // Nothing can have it; a text that PostgreSQL cannot hold must not get there.
            return session.viewer().map(|_| None).transpose();
        }
        session.load(WorkspaceBySlug(slug)).await.map(|row| row.map(Workspace)).transpose()
    }

    /// The workspaces that you are a member of, oldest first.
    async fn workspaces(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100; 25 where nothing is said.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor; with `first`.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor; with `last`.")] before: Option<Cursor>,
    ) -> Option<Result<Connection<Workspace, WorkspacesOfUser>, Error>> {
        let connection = async {
            let list = WorkspacesOfUser { user_id: Session::of(context).viewer()?, page: WHOLE };
            Connection::load(context, list, PageArguments { first, after, last, before }).await
        };
        Some(connection.await)
    }
}

/// What a new workspace is.
#[derive(Debug, InputObject)]
pub struct WorkspaceCreateInput {
    /// The name, for people: 1 to 200 characters.
    name: String,
    /// The name, for addresses: 2 to 63 lower-case letters and digits with single hyphens between them; unique.
    slug: String,
    /// Your name for this write, of 1 to 255 characters: sent again within 24 hours, the same input gets the first answer
    /// and writes nothing.
    idempotency_key: Option<String>,
}

/// What to change in a workspace: what is absent stays.
#[derive(Debug, InputObject)]
pub struct WorkspaceUpdateInput {
    /// Which workspace.
    id: ID,
    /// As in `WorkspaceCreateInput`. Cannot be cleared.
    name: MaybeUndefined<String>,
    /// As in `WorkspaceCreateInput`. Cannot be cleared.
    slug: MaybeUndefined<String>,
    /// When you last saw it change: where it has changed since, nothing is written, and you get it as it is now.
    expected_updated_at: Option<DateTime>,
    /// Your name for this write, of 1 to 255 characters: sent again within 24 hours, the same input gets the first answer
    /// and writes nothing.
    idempotency_key: Option<String>,
}

/// What became of a write to a workspace.
#[derive(SimpleObject)]
pub struct WorkspacePayload {
    /// The workspace as it is now; null where nothing was written, but on CONFLICT.
    workspace: Option<Workspace>,
    /// Why nothing was written; empty where it was.
    #[graphql(directive = list_size::apply(10))]
    user_errors: Vec<UserError>,
    /// Proof of the write; null where nothing was written.
    consistency_token: Option<ConsistencyToken>,
}

impl WorkspacePayload {
    fn of(outcome: Outcome<Model>) -> Self {
        let Outcome { row, user_errors, consistency_token } = outcome;
        Self { workspace: row.map(|row| Workspace(Arc::new(row))), user_errors, consistency_token }
    }
}

/// The mutations of workspaces.
#[derive(Debug, Default)]
pub struct WorkspaceMutation;

#[Object]
impl WorkspaceMutation {
    /// Makes a workspace with you as its OWNER.
    async fn workspace_create(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What the workspace is.")] input: WorkspaceCreateInput,
    ) -> Option<Result<WorkspacePayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let WorkspaceCreateInput { name, slug, idempotency_key } = input;
            let command = commands::workspace::Create { viewer, name, slug };
            Ok(WorkspacePayload::of(write(context, command, idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Changes a workspace. Needs role OWNER.
    async fn workspace_update(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which workspace, and what to change in it.")] input: WorkspaceUpdateInput,
    ) -> Option<Result<WorkspacePayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let mut faults = Vec::new();
            let command = commands::workspace::Update {
                viewer,
                id: scalar::uuid(&input.id, "input.id")?,
                name: kept(input.name, "name", &mut faults),
                slug: kept(input.slug, "slug", &mut faults),
                expected: input.expected_updated_at.map(|instant| instant.0),
            };
            Ok(WorkspacePayload::of(write_unless(context, faults, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Deletes a workspace, and hides everything in it. Needs role OWNER.
    async fn workspace_delete(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which workspace.")] input: DeleteInput,
    ) -> Option<Result<WorkspacePayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let expected = input.expected_updated_at.map(|instant| instant.0);
            let command = commands::workspace::Delete::new(viewer, scalar::uuid(&input.id, "input.id")?, expected);
            Ok(WorkspacePayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Brings a deleted workspace back, with exactly what its deletion hid. Needs role OWNER.
    async fn workspace_restore(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which workspace.")] input: RestoreInput,
    ) -> Option<Result<WorkspacePayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let command = commands::workspace::Restore::new(viewer, scalar::uuid(&input.id, "input.id")?);
            Ok(WorkspacePayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }
}
