//! Comments.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use super::page::{Listed, OrderDirection, WHOLE};
use super::payload::{UserError, outcome};
use super::scalar::{self, DateTime};
use super::session::Session;
use super::task::{self, Task};
use super::user::{self, User};
use crate::commands;
use crate::entities::comment::Model;
use crate::error::Error;
use crate::loaders::comment::{CommentById, CommentsOfTask};
use crate::loaders::page::{self, Direction};

/// What a member said about a task.
#[derive(Clone)]
pub struct Comment(pub(super) Arc<Model>);

impl Listed for Comment {
    type Row = Model;

    fn of(row: Arc<Model>) -> Self {
        Self(row)
    }
}

/// What a member said about a task.
#[Object]
impl Comment {
    /// A UUID, unique among all rows.
    pub(super) async fn id(&self) -> ID {
        scalar::id(self.0.id)
    }

    /// About what.
    async fn task(&self, context: &Context<'_>) -> Result<Task, Error> {
        task::of_reference(context, self.0.task_id).await
    }

    /// Who said it, also when they have left since.
    async fn author(&self, context: &Context<'_>) -> Result<User, Error> {
        user::of_reference(context, self.0.author_id).await
    }

    /// What was said.
    fn body(&self) -> &str {
        &self.0.body
    }

    /// When the comment was made.
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When the comment was last changed.
    fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// When the comment was deleted; null while it is live.
    fn deleted_at(&self) -> Option<DateTime> {
        self.0.deleted_at.map(DateTime)
    }
}

/// By what comments are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum CommentOrderField {
    /// When they were made.
    CreatedAt,
}

/// In which order comments are listed.
#[derive(Clone, Copy, Debug, InputObject)]
pub struct CommentOrder {
    /// By what.
    field: CommentOrderField,
    /// Which way.
    direction: OrderDirection,
}

/// The list of a task's comments: oldest first unless ordered otherwise.
pub(super) fn list(task_id: Uuid, order: Option<CommentOrder>, deleted: page::Deleted) -> CommentsOfTask {
    let direction = match order {
        Some(CommentOrder { field: CommentOrderField::CreatedAt, direction }) => direction.into(),
        None => Direction::Ascending,
    };
    CommentsOfTask { task_id, deleted, direction, page: WHOLE }
}

/// The root fields about comments.
#[derive(Debug, Default)]
pub struct CommentQuery;

#[Object]
impl CommentQuery {
    /// A comment by id. Null where there is none, or you are not a member of its workspace.
    async fn comment(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The comment's id.")] id: ID,
    ) -> Option<Result<Comment, Error>> {
        let found = async { Session::of(context).load(CommentById(scalar::uuid(&id, "id")?)).await };
        found.await.map(|row| row.map(Comment)).transpose()
    }
}

/// What a new comment is.
#[derive(Debug, InputObject)]
pub struct CommentCreateInput {
    /// About which task.
    task_id: ID,
    /// What is said: 1 to 50,000 characters.
    body: String,
}

/// What became of a write to a comment.
#[derive(SimpleObject)]
pub struct CommentPayload {
    /// The comment as it is now; null where nothing was written.
    comment: Option<Comment>,
    /// Why nothing was written; empty where it was.
    user_errors: Vec<UserError>,
}

/// The mutations of comments.
#[derive(Debug, Default)]
pub struct CommentMutation;

#[Object]
impl CommentMutation {
    /// Says something about a task, in your name. Needs role MEMBER or above in the workspace.
    async fn comment_create(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What the comment is.")] input: CommentCreateInput,
    ) -> Option<Result<CommentPayload, Error>> {
        let session = Session::of(context);
        let payload = async {
            let command = commands::comment::Create {
                viewer: session.viewer()?,
                task_id: scalar::uuid(&input.task_id, "input.taskId")?,
                body: input.body,
            };
            let (written, user_errors) = outcome(session.execute(command).await)?;
            Ok(CommentPayload { comment: written.map(|row| Comment(Arc::new(row))), user_errors })
        };
        Some(payload.await)
    }
}
