//! Members of workspaces.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object};

use super::page::{Listed, distinct};
use super::scalar::{self, DateTime};
use super::user::{self, User};
use super::workspace::{self, Workspace};
use crate::entities::member::Model;
use crate::error::Error;

/// What a member may do in a workspace, from the most to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::entities::member::Role")]
pub enum Role {
    /// Everything.
    Owner,
    /// Everything but to manage owners.
    Admin,
    /// Reads and writes.
    Member,
    /// Reads.
    Viewer,
}

/// Which members: those that match every field.
#[derive(Clone, Debug, InputObject)]
pub struct MemberFilter {
    /// Those with one of these roles; none where the list is empty.
    role: Option<Vec<Role>>,
}

impl MemberFilter {
    /// The roles, each distinct.
    pub(super) fn roles(self) -> Option<Vec<crate::entities::member::Role>> {
        self.role.map(|roles| distinct(roles.into_iter().map(Into::into)))
    }
}

/// A user's membership of a workspace.
#[derive(Clone)]
pub struct Member(pub(super) Arc<Model>);

impl Listed for Member {
    type Row = Model;

    fn of(row: Arc<Model>) -> Self {
        Self(row)
    }
}

/// A user's membership of a workspace.
#[Object]
impl Member {
    /// A UUID, unique among all rows.
    pub(super) async fn id(&self) -> ID {
        scalar::id(self.0.id)
    }

    /// Where.
    async fn workspace(&self, context: &Context<'_>) -> Result<Workspace, Error> {
        workspace::of_reference(context, self.0.workspace_id).await
    }

    /// Who.
    async fn user(&self, context: &Context<'_>) -> Result<User, Error> {
        user::of_reference(context, self.0.user_id).await
    }

    /// What the member may do.
    fn role(&self) -> Role {
        self.0.role.into()
    }

    /// When the user joined.
    fn joined_at(&self) -> DateTime {
        self.0.joined_at.into()
    }

    /// When the membership was made.
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When the membership was last changed.
    fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// When the membership was ended; null while it lasts.
    fn deleted_at(&self) -> Option<DateTime> {
        self.0.deleted_at.map(DateTime)
    }
}
