//! Pages and counts of the members of a workspace.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{DbErr, Iterable, QueryResult};
use uuid::Uuid;

use super::count;
use super::page::{self, Cut, Direction, ListSql, Page, PageKey, Position, Rows};
use crate::batch::{Key, Scope};
use crate::entities::columns;
use crate::entities::member::{Column, Model};
use crate::error::Error;

/// A page of a workspace's members, in the order of the users' ids: that of their registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MembersOfWorkspace {
    /// Whose.
    pub workspace_id: Uuid,
    /// How many, from where.
    pub page: Page,
}

impl Key for MembersOfWorkspace {
    type Value = Arc<Rows<Model>>;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Self::Value>, Error> {
        page::load(scope, keys).await
    }
}

impl PageKey for MembersOfWorkspace {
    type Row = Model;
    type Count = MemberCount;
    type Arguments = ();

    fn parent(&self) -> Uuid {
        self.workspace_id
    }

    fn page(&self) -> Page {
        self.page
    }

    fn with_page(&self, page: Page) -> Self {
        Self { page, ..*self }
    }

    fn count(&self) -> MemberCount {
        MemberCount(self.workspace_id)
    }

    fn arguments(&self) {}

    fn order(&self) -> &'static str {
        "members.user_id.asc"
    }

    fn position(&self, member: &Model) -> Position {
        Position { at: None, id: member.user_id }
    }

    fn direction((): &()) -> Direction {
        Direction::Ascending
    }

    fn sql((): &(), cut: Cut) -> ListSql {
        let (keyword, operator) = (cut.keyword(), cut.operator());
        let select = format!(
            "SELECT {} FROM members m WHERE m.workspace_id = k.parent AND m.deleted_at IS NULL \
             AND m.user_id {operator} k.id ORDER BY m.user_id {keyword} LIMIT $4",
            columns("m", Column::iter())
        );
        ListSql { name: "members_of_workspace", select, values: Vec::new() }
    }

    fn decode((): &(), row: &QueryResult, at: usize) -> Result<Model, DbErr> {
        Model::decode(row, at)
    }
}

/// How many members a workspace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberCount(pub Uuid);

impl Key for MemberCount {
    type Value = i64;
    const IS_LEAF: bool = true;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, i64>, Error> {
        let sql = "SELECT m.workspace_id, count(*) FROM members m \
                   WHERE m.workspace_id = ANY($1) AND m.deleted_at IS NULL GROUP BY m.workspace_id";
        let parents = keys.iter().map(|key| key.0).collect();
        let counts = count::load(scope, "member_count_of_workspace", sql, parents, Vec::new()).await?;
        Ok(counts.into_iter().map(|(workspace_id, count)| (Self(workspace_id), count)).collect())
    }
}
