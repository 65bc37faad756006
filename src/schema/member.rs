//! Members of workspaces.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};

use super::input::DeleteInput;
use super::list_size::list_size;
use super::page::{Listed, distinct};
use super::payload::{Outcome, UserError, write};
use super::scalar::{self, ConsistencyToken, DateTime};
use super::session::Session;
use super::user::{self, User};
use super::workspace::{self, Workspace};
use crate::commands;
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

/// Who is to be a member.
#[derive(Debug, InputObject)]
pub struct MemberAddInput {
    /// Where.
    workspace_id: ID,
    /// The user's e-mail address. Where nobody has it, a user is registered with it.
    email: String,
    /// The name of a user who is new: 1 to 200 characters. The part before the @ where nothing is said.
    name: Option<String>,
    /// What the member may do.
    #[graphql(default_with = "Role::Member")]
    role: Role,
    /// Your name for this write, of 1 to 255 characters: sent again within 24 hours, the same input gets the first answer
    /// and writes nothing.
    idempotency_key: Option<String>,
}

/// What to change in a membership.
#[derive(Debug, InputObject)]
pub struct MemberUpdateInput {
    /// Which member.
    id: ID,
    /// What the member may do.
    role: Role,
    /// When you last saw it change: where it has changed since, nothing is written, and you get it as it is now.
    expected_updated_at: Option<DateTime>,
    /// Your name for this write, of 1 to 255 characters: sent again within 24 hours, the same input gets the first answer
    /// and writes nothing.
    idempotency_key: Option<String>,
}

/// What became of a write to a member.
#[derive(SimpleObject)]
pub struct MemberPayload {
    /// The member as it is now; null where nothing was written, but on CONFLICT.
    member: Option<Member>,
    /// Why nothing was written; empty where it was.
    #[graphql(directive = list_size::apply(10))]
    user_errors: Vec<UserError>,
    /// Proof of the write; null where nothing was written.
    consistency_token: Option<ConsistencyToken>,
}

impl MemberPayload {
    fn of(outcome: Outcome<Model>) -> Self {
        let Outcome { row, user_errors, consistency_token } = outcome;
        Self { member: row.map(|row| Member(Arc::new(row))), user_errors, consistency_token }
    }
}

/// The mutations of members.
#[derive(Debug, Default)]
pub struct MemberMutation;

#[Object]
impl MemberMutation {
    /// Makes a user a member. Needs role ADMIN, and OWNER for an admin or an owner.
    async fn member_add(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Who is to be a member, and where.")] input: MemberAddInput,
    ) -> Option<Result<MemberPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let command = commands::member::Add {
                viewer,
                workspace_id: scalar::uuid(&input.workspace_id, "input.workspaceId")?,
                email: input.email,
                name: input.name,
                role: input.role.into(),
            };
            Ok(MemberPayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Gives a member another role. Needs role ADMIN, and OWNER for an admin or an owner. The last OWNER stays one.
    async fn member_update(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which member, and the role.")] input: MemberUpdateInput,
    ) -> Option<Result<MemberPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let command = commands::member::Update {
                viewer,
                id: scalar::uuid(&input.id, "input.id")?,
                role: input.role.into(),
                expected: input.expected_updated_at.map(|instant| instant.0),
            };
            Ok(MemberPayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }

    /// Ends a membership. Needs role ADMIN, and OWNER for an admin or an owner. The last OWNER stays.
    async fn member_remove(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which member.")] input: DeleteInput,
    ) -> Option<Result<MemberPayload, Error>> {
        let payload = async {
            let viewer = Session::of(context).viewer()?;
            let command = commands::member::Remove {
                viewer,
                id: scalar::uuid(&input.id, "input.id")?,
                expected: input.expected_updated_at.map(|instant| instant.0),
            };
            Ok(MemberPayload::of(write(context, command, input.idempotency_key).await?))
        };
        Some(payload.await)
    }
}
