//! Anything by its id: ids are unique among all rows, so no type goes with them.

use async_graphql::{Context, ID, Interface, Object};
use futures_util::future::try_join_all;
use futures_util::try_join;
use uuid::Uuid;

use super::comment::Comment;
use super::member::Member;
use super::project::Project;
use super::scalar;
use super::session::Session;
use super::task::Task;
use super::user::User;
use super::workspace::Workspace;
use crate::error::Error;
use crate::loaders::comment::CommentById;
use crate::loaders::member::MemberById;
use crate::loaders::project::ProjectById;
use crate::loaders::task::TaskById;
use crate::loaders::user::UserById;
use crate::loaders::workspace::WorkspaceById;

/// Anything with an id.
#[derive(Clone, Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "A UUID, unique among all rows."))]
pub enum Node {
    /// A person.
    User(User),
    /// A tenant.
    Workspace(Workspace),
    /// A user's membership of a workspace.
    Member(Member),
    /// A body of work.
    Project(Project),
    /// A piece of work.
    Task(Task),
    /// What was said about a task.
    Comment(Comment),
}

/// Most ids that one field looks up.
const MAX_IDS: usize = 100;

/// The root fields about anything.
#[derive(Debug, Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Anything by its id. Null where there is none, or it is not yours to see.
    async fn node(&self, context: &Context<'_>, #[graphql(desc = "The id.")] id: ID) -> Option<Result<Node, Error>> {
        let found = async { find(context, scalar::uuid(&id, "id")?).await };
        found.await.transpose()
    }

    /// Things by their ids: in the order of the ids, null where there is none or it is not yours to see.
    async fn nodes(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The ids, at most 100.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>, Error> {
        if ids.len() > MAX_IDS {
            return Err(Error::BadUserInput(format!("ids has {} elements; {MAX_IDS} are allowed.", ids.len())));
        }
        let ids = ids.iter().map(|id| scalar::uuid(id, "ids")).collect::<Result<Vec<_>, _>>()?;
        Session::of(context).viewer()?;
        try_join_all(ids.into_iter().map(|id| find(context, id))).await
    }
}

/// Looks in every table at once: one statement for each, whatever the number of ids.
async fn find(context: &Context<'_>, id: Uuid) -> Result<Option<Node>, Error> {
    let session = Session::of(context);
    let (user, workspace, member, project, task, comment) = try_join!(
        session.load(UserById(id)),
        session.load(WorkspaceById(id)),
        session.load(MemberById(id)),
        session.load(ProjectById(id)),
        session.load(TaskById(id)),
        session.load(CommentById(id)),
    )?;
    let user = user.filter(|person| person.shares_workspace && person.user.deleted_at.is_none());
    Ok(None
        .or(user.map(|row| Node::User(User(row))))
        .or(workspace.map(|row| Node::Workspace(Workspace(row))))
        .or(member.map(|row| Node::Member(Member(row))))
        .or(project.map(|row| Node::Project(Project(row))))
        .or(task.map(|row| Node::Task(Task(row))))
        .or(comment.map(|row| Node::Comment(Comment(row)))))
}
