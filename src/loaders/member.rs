//! Members by id, the caller's role in a workspace, and pages and counts of the members of a workspace.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{ActiveEnum, ColumnTrait, DbErr, EntityTrait, Iterable, QueryFilter, QueryResult, QueryTrait};
use uuid::Uuid;

use super::count;
use super::page::{Cut, Direction, Page, PageKey, Position, SortValue};
use crate::batch::Key;
use crate::database::{Bound, NamedStatement, TENANT};
use crate::entities::columns;
use crate::entities::member::{Column, Entity, Model, Role};
use crate::error::Error;

/// A member of one of the caller's workspaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberById(pub Uuid);

impl Key for MemberById {
    type Value = Option<Arc<Model>>;
    type Group = ();

    fn group(&self) {}

    fn statement((): &(), keys: &[Self], viewer: Uuid) -> NamedStatement {
        let sql = format!(
            "SELECT {}, t.workspace_id AS {TENANT} FROM members t JOIN workspaces w ON w.id = t.workspace_id AND w.deleted_at IS NULL \
             JOIN members m ON m.workspace_id = w.id AND m.user_id = $2 AND m.deleted_at IS NULL \
             JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL \
             WHERE t.id = ANY($1) AND t.deleted_at IS NULL",
            columns("t", Column::iter())
        );
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        NamedStatement::new("member_by_id", sql, [ids.into(), viewer.into()])
    }

    fn answers((): &(), _: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, Self::Value>, Error> {
        rows.iter()
            .map(|row| {
                let member = Model::decode(row, 0)?;
                Ok((Self(member.id), Some(Arc::new(member))))
            })
            .collect()
    }
}

/// The caller's role in a workspace that the caller sees; none where the caller is no live member of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ViewerRole(pub Uuid);

impl Key for ViewerRole {
    type Value = Option<Role>;
    type Group = ();

    fn group(&self) {}

    fn statement((): &(), keys: &[Self], viewer: Uuid) -> NamedStatement {
        let workspaces: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let select = Entity::find()
            .filter(Column::WorkspaceId.eq_any(workspaces))
            .filter(Column::UserId.eq(viewer))
            .filter(Column::DeletedAt.is_null());
        NamedStatement::build("viewer_role", select.as_query())
    }

    fn answers((): &(), _: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, Self::Value>, Error> {
        rows.iter()
            .map(|row| {
                let member = Model::decode(row, 0)?;
                Ok((Self(member.workspace_id), Some(member.role)))
            })
            .collect()
    }
}

/// A page of a workspace's members, in the order of the users' ids: that of their registration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MembersOfWorkspace {
    /// Whose.
    pub workspace_id: Uuid,
    /// Those with one of these roles; none where the list is empty, all where there is none.
    pub roles: Option<Vec<Role>>,
    /// How many, from where.
    pub page: Page,
}

impl PageKey for MembersOfWorkspace {
    type Row = Model;
    type Count = MemberCount;
    type Arguments = Option<Vec<Role>>;

    fn page(&self) -> Page {
        self.page.clone()
    }

    fn with_page(&self, page: Page) -> Self {
        Self { page, ..self.clone() }
    }

    fn count(&self) -> MemberCount {
        MemberCount { workspace_id: self.workspace_id, roles: self.roles.clone() }
    }

    fn parent(&self) -> Uuid {
        self.workspace_id
    }

    fn arguments(&self) -> Self::Arguments {
        self.roles.clone()
    }

    fn order(&self) -> &'static str {
        "members.user_id.asc"
    }

    fn position(&self, member: &Model) -> Position {
        Position { value: SortValue::Nothing, id: member.user_id }
    }

    fn direction(_: &Self::Arguments) -> Direction {
        Direction::Ascending
    }

    fn sql(roles: &Self::Arguments, cut: Cut, bound: &mut Bound) -> (&'static str, String) {
        let select = format!(
            "SELECT {} FROM members t WHERE t.workspace_id = k.parent AND t.deleted_at IS NULL{}",
            columns("t", Column::iter()),
            with_roles(roles.as_deref(), bound)
        );
        ("members_of_workspace", cut.page_by_id(&select, "t.user_id"))
    }

    fn decode(_: &Self::Arguments, row: &QueryResult, at: usize) -> Result<Model, DbErr> {
        Model::decode(row, at)
    }
}

fn with_roles(roles: Option<&[Role]>, bound: &mut Bound) -> String {
    let Some(roles) = roles else { return String::new() };
    let values = roles.iter().map(ActiveEnum::to_value).collect::<Vec<String>>();
    format!(" AND t.role = ANY({}::text[])", bound.bind(values))
}

/// How many members a workspace has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemberCount {
    /// Whose.
    pub workspace_id: Uuid,
    /// As in [`MembersOfWorkspace`].
    pub roles: Option<Vec<Role>>,
}

impl Key for MemberCount {
    type Value = i64;
    type Group = Option<Vec<Role>>;
    const IS_LEAF: bool = true;

    fn group(&self) -> Self::Group {
        self.roles.clone()
    }

    fn statement(roles: &Self::Group, keys: &[Self], viewer: Uuid) -> NamedStatement {
        let workspaces: Vec<Uuid> = keys.iter().map(|key| key.workspace_id).collect();
        let mut bound = Bound::new(viewer, vec![workspaces.into()]);
        let sql = format!(
            "SELECT t.workspace_id, count(*) FROM members t \
             WHERE t.workspace_id = ANY($1) AND t.deleted_at IS NULL{} GROUP BY t.workspace_id",
            with_roles(roles.as_deref(), &mut bound)
        );
        NamedStatement::new("member_count_of_workspace", sql, bound.into_values())
    }

    fn answers(_: &Self::Group, keys: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, i64>, Error> {
        count::answers(keys, |key| key.workspace_id, rows)
    }
}
