//! Users.

use std::sync::Arc;

use async_graphql::{Context, ID, Object};

use super::page::{Connection, PageArguments};
use super::scalar::{self, Cursor, DateTime};
use super::session::Session;
use super::task::{self, Task, TaskFilter, TaskOrder};
use crate::error::Error;
use crate::loaders::task::{Parent, TaskPage};
use crate::loaders::user::{Person, UserById};

/// A person, who may be a member of any number of workspaces.
#[derive(Clone)]
pub struct User(pub Arc<Person>);

/// A person, who may be a member of any number of workspaces.
#[Object]
impl User {
    /// A UUID, unique among all rows.
    pub(super) async fn id(&self) -> ID {
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

    /// The open tasks that the user is assigned to, in the workspaces that you are a member of: by due date unless
    /// ordered otherwise.
    async fn assigned_tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100; 25 where nothing is said.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor; with `first`.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor; with `last`.")] before: Option<Cursor>,
        #[graphql(desc = "Only tasks that match.")] filter: Option<TaskFilter>,
        #[graphql(desc = "In which order; by due date, earliest first, where nothing is said.")] order_by: Option<
            TaskOrder,
        >,
    ) -> Result<Connection<Task, TaskPage>, Error> {
        let page = PageArguments { first, after, last, before };
        let order = order_by.unwrap_or(TaskOrder::BY_DUE_DATE);
        let deleted = crate::loaders::page::Deleted::Exclude;
        Connection::load(context, task::list(context, Parent::Assignee(self.0.user.id), filter, order, deleted)?, page)
            .await
    }
}

/// A user that a visible row refers to.
pub(super) async fn of_reference(context: &Context<'_>, id: uuid::Uuid) -> Result<User, Error> {
    let person = Session::of(context).load(UserById(id)).await?;
    person.map(User).ok_or(Error::VANISHED)
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
