//! Workspaces by id and by slug, and pages and the count of those that the caller is a member of.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use sea_orm::{ColumnTrait, DbErr, EntityTrait, Iterable, QueryFilter, QueryResult, QueryTrait};
use uuid::Uuid;

use super::page::{Cut, Direction, Page, PageKey, Position, SortValue};
use super::{count, joined_by};
use crate::batch::Key;
use crate::database::{Bound, NamedStatement};
use crate::entities::columns;
use crate::entities::workspace::{Column, Entity, Model};
use crate::error::Error;

/// A workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkspaceById(pub Uuid);

impl Key for WorkspaceById {
    type Value = Option<Arc<Model>>;
    type Group = ();

    fn group(&self) {}

    fn statement((): &(), keys: &[Self], viewer: Uuid) -> NamedStatement {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let select = Entity::find().filter(Column::Id.eq_any(ids));
        NamedStatement::build("workspace_by_id", joined_by(select, viewer).as_query())
    }

    fn answers((): &(), _: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, Self::Value>, Error> {
        by(|workspace| Self(workspace.id), rows)
    }
}

/// The live workspace with a slug.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkspaceBySlug(pub String);

impl Key for WorkspaceBySlug {
    type Value = Option<Arc<Model>>;
    type Group = ();

    fn group(&self) {}

    fn statement((): &(), keys: &[Self], viewer: Uuid) -> NamedStatement {
        let slugs: Vec<String> = keys.iter().map(|key| key.0.clone()).collect();
        let select = Entity::find().filter(Column::Slug.eq_any(slugs));
        NamedStatement::build("workspace_by_slug", joined_by(select, viewer).as_query())
    }

    fn answers((): &(), _: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, Self::Value>, Error> {
        by(|workspace| Self(workspace.slug.clone()), rows)
    }
}

/// The workspaces in `rows` by their keys.
fn by<K: Eq + Hash>(key: fn(&Model) -> K, rows: &[QueryResult]) -> Result<HashMap<K, Option<Arc<Model>>>, Error> {
    rows.iter()
        .map(|row| {
            let workspace = Model::decode(row, 0)?;
            Ok((key(&workspace), Some(Arc::new(workspace))))
        })
        .collect()
}

/// A page of a user's workspaces, in the order of their ids: that of their creation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkspacesOfUser {
    /// Whose.
    pub user_id: Uuid,
    /// How many, from where.
    pub page: Page,
}

impl PageKey for WorkspacesOfUser {
    type Row = Model;
    type Count = WorkspaceCount;
    type Arguments = ();

    fn page(&self) -> Page {
        self.page.clone()
    }

    fn with_page(&self, page: Page) -> Self {
        Self { page, ..*self }
    }

    fn count(&self) -> WorkspaceCount {
        WorkspaceCount(self.user_id)
    }

    fn parent(&self) -> Uuid {
        self.user_id
    }

    fn arguments(&self) {}

    fn order(&self) -> &'static str {
        "workspaces.id.asc"
    }

    fn position(&self, workspace: &Model) -> Position {
        Position { value: SortValue::Nothing, id: workspace.id }
    }

    fn direction((): &()) -> Direction {
        Direction::Ascending
    }

    fn sql((): &(), cut: Cut, _: &mut Bound) -> (&'static str, String) {
        let select = format!(
            "SELECT {} FROM members m {JOIN_LIVE} WHERE m.user_id = k.parent AND m.deleted_at IS NULL",
            columns("w", Column::iter())
        );
        ("workspaces_of_user", cut.page_by_id(&select, "m.workspace_id"))
    }

    fn decode((): &(), row: &QueryResult, at: usize) -> Result<Model, DbErr> {
        Model::decode(row, at)
    }
}

/// How many live workspaces a user is a member of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkspaceCount(pub Uuid);

impl Key for WorkspaceCount {
    type Value = i64;
    type Group = ();
    const IS_LEAF: bool = true;

    fn group(&self) {}

    fn statement((): &(), keys: &[Self], _: Uuid) -> NamedStatement {
        let sql = format!(
            "SELECT m.user_id, count(*) FROM members m {JOIN_LIVE} \
             WHERE m.user_id = ANY($1) AND m.deleted_at IS NULL GROUP BY m.user_id"
        );
        let users: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        NamedStatement::new("workspace_count_of_user", sql, [users.into()])
    }

    fn answers((): &(), keys: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, i64>, Error> {
        count::answers(keys, |key| key.0, rows)
    }
}

/// From a membership `m` to its live workspace, for a live user.
const JOIN_LIVE: &str = "JOIN workspaces w ON w.id = m.workspace_id AND w.deleted_at IS NULL \
                         JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL";
