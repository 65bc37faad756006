//! Users.

use std::sync::Arc;

use async_graphql::{Context, ID, Object};

use super::scalar::{self, DateTime};
use super::session::Session;
use crate::error::Error;
use crate::loaders::user::{Person, UserById};

/// A person, who may be a member of any number of workspaces.
#[derive(Clone)]
pub struct User(pub Arc<Person>);

/// A person, who may be a member of any number of workspaces.
#[Object]
impl User {
    /// A UUID, unique among all rows.
    fn id(&self) -> ID {
        scalar::id(self.0.user.id)
    }

    /// The e-mail address. Null unless you share a workspace with the user.
    fn email(&self) -> Option<&str> {
        self.0.shares_workspace.then_some(self.0.user.email.as_str())
    }

    /// The full name.
    fn name(&self) -> &str {
        &self.0.user.name
    }

    /// When the user was registered.
    fn created_at(&self) -> DateTime {
        self.0.user.created_at.into()
    }

    /// When the user was last changed.
    fn updated_at(&self) -> DateTime {
        self.0.user.updated_at.into()
    }
}

/// A user that a visible row refers to.
pub(super) async fn of_reference(context: &Context<'_>, id: uuid::Uuid) -> Result<User, Error> {
    let person = Session::of(context).load(UserById(id)).await?;
    person.map(User).ok_or_else(|| Error::vanished("user"))
}

/// The root fields about users.
#[derive(Debug, Default)]
pub struct UserQuery;

#[Object]
impl UserQuery {
    /// You. Null where your account has been deleted.
    async fn viewer(&self, context: &Context<'_>) -> Option<Result<User, Error>> {
        let session = Session::of(context);
        let viewer = async { session.load(UserById(session.viewer()?)).await };
        let live = |person: &Arc<Person>| person.user.deleted_at.is_none();
        viewer.await.map(|person| person.filter(live).map(User)).transpose()
    }
}
