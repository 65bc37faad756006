//! Comments.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use super::input::{DeleteInput, RestoreInput};
use super::list_size::list_size;
use super::page::{Listed, OrderDirection, WHOLE};
use super::payload::{Outcome, UserError, write};
use super::scalar::{self, ConsistencyToken, DateTime};
use super::session::{Session, long_text};
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
    async fn body(&self, context: &Context<'_>) -> Result<&str, Error> {
        long_text(context, &self.0.body)
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
    /// Your name for this write, of 1 to 255 characters: sent again within 24 hours, the same input gets the first answer
    /// and writes nothing.
    idempotency_key: Option<String>,
}

/// What to change in a comment.
#[derive(Debug, InputObject)]
pub struct CommentUpdateInput {
    /// Which comment.
    id: ID,
    /// What is said: 1 to 50,000 characters.
    body: String,
    /// When you last saw it change: where it has changed since, nothing is written, and you get it as it is now.
    expected_updated_at: Option<DateTime>,
    /// Your name for this write, of 1 to 255 characters: sent again within 24 hours, the same input gets the first answer
    /// and writes nothing.
    idempotency_key: Option<String>,
}

/// What became of a write to a comment.
#[derive(SimpleObject)]
pub struct CommentPayload {
    /// The comment as it is now; null where nothing was written, but on CONFLICT.
    comment: Option<Comment>,
    /// Why nothing was written; empty where it was.
    #[graphql(directive = list_size::apply(10))]
    user_errors: Vec<UserError>,
    /// Proof of the write; null where nothing was written.
    consistency_token: Option<ConsistencyToken>,
}

impl CommentPayload {
    fn of(outcome: Outcome<Model>) -> Self {
        let Outcome { row, user_errors, consistency_token } = outcome;
        Self { comment: row.map(|row| Comment(Arc::new(row))), user_errors, consistency_token }
    }
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
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let command = commands::comment::Create {
                viewer,
                task_id: scalar::uuid(&input.task_id, "input.taskId")?,
                body: input.body,
            };
            Ok(CommentPayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Changes what a comment says. Needs role MEMBER for your own, ADMIN for any.
    async fn comment_update(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which comment, and what it is to say.")] input: CommentUpdateInput,
    ) -> Option<Result<CommentPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let command = commands::comment::Update {
                viewer,
                id: scalar::uuid(&input.id, "input.id")?,
                body: input.body,
                expected: input.expected_updated_at.map(|instant| instant.0),
            };
            Ok(CommentPayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Deletes a comment. Needs role MEMBER for your own, ADMIN for any.
    async fn comment_delete(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which comment.")] input: DeleteInput,
    ) -> Option<Result<CommentPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let expected = input.expected_updated_at.map(|instant| instant.0);
            let command = commands::comment::Delete::new(viewer, scalar::uuid(&input.id, "input.id")?, expected);
            Ok(CommentPayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Brings a deleted comment back. Needs role MEMBER for your own, ADMIN for any.
    async fn comment_restore(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which comment.")] input: RestoreInput,
    ) -> Option<Result<CommentPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let command = commands::comment::Restore::new(viewer, scalar::uuid(&input.id, "input.id")?);
            Ok(CommentPayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }
}
