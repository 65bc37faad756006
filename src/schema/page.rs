//! From arguments to a page, from a page to a connection.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::{Context, Object, OutputType, SimpleObject, TypeName};
use uuid::Uuid;

use super::cursor;
use super::scalar::Cursor;
use super::session::Session;
use crate::config::{DEFAULT_PAGE, MAX_PAGE};
use crate::entities::member::Role;
use crate::error::Error;
use crate::loaders::member::ViewerRole;
use crate::loaders::page::{self, Page, PageKey, Rows, Start, Walk};

/// Which part of a connection: the arguments that every connection has.
#[derive(Clone, Debug, Default)]
pub struct PageArguments {
    /// How many rows from the start, or after `after`.
    pub first: Option<i32>,
    /// The cursor that the page follows.
    pub after: Option<Cursor>,
    /// How many rows from the end, or before `before`.
    pub last: Option<i32>,
    /// The cursor that the page precedes.
    pub before: Option<Cursor>,
}

impl PageArguments {
    /// Decodes the arguments for a list in an order of this name.
    fn page(self, order: &str) -> Result<Page, Error> {
        let wrong = |text: &str| Err(Error::BadUserInput(text.to_owned()));
        let (walk, size, cursor) = match self {
            Self { first: Some(_), last: Some(_), .. } => return wrong("Give first or last, not both."),
            Self { last: Some(_), after: Some(_), .. } => {
                return wrong("after goes with first; last goes with before.");
            }
            Self { first: Some(_), before: Some(_), .. } => {
                return wrong("before goes with last; first goes with after.");
            }
            Self { after: Some(_), before: Some(_), .. } => return wrong("Give after or before, not both."),
            Self { last: None, before: None, first, after } => (Walk::Forward, first, after),
            Self { last, before, .. } => (Walk::Backward, last, before),
        };
        let limit = match size.map(u16::try_from) {
            None => DEFAULT_PAGE,
            Some(Ok(limit @ 1..=MAX_PAGE)) => limit,
            Some(_) => return wrong("A page has 1 to 100 rows."),
        };
        let start = match cursor {
            None => Start::End,
            Some(cursor) => Start::Beyond(cursor::decode(&cursor, order)?),
        };
        Ok(Page { limit, start, walk })
    }
}

/// A GraphQL type whose values are listed in connections.
pub trait Listed: OutputType + Clone + 'static {
    /// The row behind it.
    type Row: Send + Sync;

    /// Wraps a row.
    fn of(row: Arc<Self::Row>) -> Self;
}

/// A page of a list.
pub struct Connection<N: Listed, K: PageKey<Row = N::Row>> {
    list: K,
    /// None where what the list belongs to is deleted: everything below it is hidden.
    rows: Option<Arc<Rows<N::Row>>>,
}

impl<N: Listed, K: PageKey<Row = N::Row>> Connection<N, K> {
    /// Loads the page of `list` that the arguments ask for; the page that `list` comes with is replaced.
    ///
    /// # Errors
    /// An argument is wrong, there is no caller, or the batch failed.
    pub async fn load(context: &Context<'_>, list: K, arguments: PageArguments) -> Result<Self, Error> {
        let page = arguments.page(list.order())?;
        let list = list.with_page(page);
        let rows = Session::of(context).load(list.clone()).await?;
        Ok(Self { list, rows: Some(rows) })
    }

    /// The list of something that is deleted: it has no rows, whatever the arguments ask for.
    #[must_use]
    pub fn hidden(list: K) -> Self {
        Self { list, rows: None }
    }

    fn rows(&self) -> &[Arc<N::Row>] {
        self.rows.as_ref().map(|rows| rows.rows.as_slice()).unwrap_or_default()
    }

    fn cursor(&self, row: &N::Row) -> Cursor {
        cursor::encode(&self.list.position(row), self.list.order())
    }
}

/// The page of a list that has not been cut yet.
pub const WHOLE: Page = Page { limit: DEFAULT_PAGE, start: Start::End, walk: Walk::Forward };

impl<N: Listed, K: PageKey<Row = N::Row>> TypeName for Connection<N, K> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", <N as OutputType>::type_name()).into()
    }
}

/// A page of a list.
#[Object(name_type)]
impl<N: Listed, K: PageKey<Row = N::Row>> Connection<N, K> {
    /// The rows of the page, each with its cursor.
    async fn edges(&self) -> Vec<Edge<N>> {
        let edge = |row: &Arc<N::Row>| Edge { cursor: self.cursor(row), node: N::of(Arc::clone(row)) };
        self.rows().iter().map(edge).collect()
    }

    /// The rows of the page.
    async fn nodes(&self) -> Vec<N> {
        self.rows().iter().map(|row| N::of(Arc::clone(row))).collect()
    }

    /// Where the page stands in its list.
    async fn page_info(&self, context: &Context<'_>) -> Result<PageInfo, Error> {
        let page = self.list.page();
        let behind = match page.walk {
            Walk::Forward => "hasPreviousPage",
            Walk::Backward => "hasNextPage",
        };
        // What lies behind the page takes a statement of its own, for the level.
        let has_behind = match page.behind() {
            Some(page) if self.rows.is_some() && context.look_ahead().field(behind).exists() => {
                !Session::of(context).load(self.list.with_page(page)).await?.rows.is_empty()
            }
            _ => false,
        };
        let has_beyond = self.rows.as_ref().is_some_and(|rows| rows.has_more);
        let (has_next_page, has_previous_page) = match page.walk {
            Walk::Forward => (has_beyond, has_behind),
            Walk::Backward => (has_behind, has_beyond),
        };
        Ok(PageInfo {
            has_next_page,
            has_previous_page,
            start_cursor: self.rows().first().map(|row| self.cursor(row)),
            end_cursor: self.rows().last().map(|row| self.cursor(row)),
        })
    }

    /// How many rows the whole list has: exact, counted only where it is selected.
    async fn total_count(&self, context: &Context<'_>) -> Option<Result<i32, Error>> {
        if self.rows.is_none() {
            return Some(Ok(0));
        }
        let count = Session::of(context).load(self.list.count()).await;
        Some(count.map(|count| i32::try_from(count).unwrap_or(i32::MAX)))
    }
}

/// A row and its cursor.
#[derive(SimpleObject)]
#[graphql(name_type)]
pub struct Edge<N: Listed> {
    /// The position of the row in the connection's order.
    cursor: Cursor,
    /// The row.
    node: N,
}

impl<N: Listed> TypeName for Edge<N> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", <N as OutputType>::type_name()).into()
    }
}

/// Where a page stands in its list.
#[derive(Debug, SimpleObject)]
pub struct PageInfo {
    /// Whether rows follow the page.
    has_next_page: bool,
    /// Whether rows precede the page.
    has_previous_page: bool,
    /// The cursor of the page's first row; null where the page is empty.
    start_cursor: Option<Cursor>,
    /// The cursor of the page's last row; null where the page is empty.
    end_cursor: Option<Cursor>,
}

/// Which soft-deleted rows a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, async_graphql::Enum)]
#[graphql(remote = "crate::loaders::page::Deleted")]
pub enum Deleted {
    /// None of them.
    Exclude,
    /// All rows, deleted or not. Needs role MEMBER or above.
    Include,
    /// Nothing else. Needs role MEMBER or above.
    Only,
}

/// Which soft-deleted rows the caller may see in a workspace, having asked for these.
///
/// # Errors
/// `Forbidden` where the caller's role is VIEWER and asks for any.
pub async fn allowed(context: &Context<'_>, workspace_id: Uuid, deleted: Deleted) -> Result<page::Deleted, Error> {
    if deleted != Deleted::Exclude {
        let role = Session::of(context).load(ViewerRole(workspace_id)).await?;
        if !role.is_some_and(|role| role.is_at_least(Role::Member)) {
            return Err(Error::Forbidden("Deleted rows are shown to members whose role is MEMBER or above."));
        }
    }
    Ok(deleted.into())
}

/// The distinct elements of a list, in order of their first place: equal filters share a statement.
pub(super) fn distinct<T: PartialEq>(elements: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for element in elements {
        if !seen.contains(&element) {
            seen.push(element);
        }
    }
    seen
}

/// Checks a text that a filter looks for.
///
/// # Errors
/// `BadUserInput` where it is too short, too long, or nothing can contain it.
pub fn needle(text: Option<String>, name: &str) -> Result<Option<String>, Error> {
    let is_good = |text: &String| (2..=100).contains(&text.chars().count()) && !text.contains('\0');
    match text {
        Some(text) if !is_good(&text) => {
            Err(Error::BadUserInput(format!("{name} has 2 to 100 characters, and no NUL among them.")))
        }
        text => Ok(text),
    }
}

/// Which way an order runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, async_graphql::Enum)]
#[graphql(remote = "crate::loaders::page::Direction")]
pub enum OrderDirection {
    /// Oldest first.
    #[graphql(name = "ASC")]
    Ascending,
    /// Newest first.
    #[graphql(name = "DESC")]
    Descending,
}
