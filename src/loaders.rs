//! Keys by noun: of many keys one statement, of its rows what the caller may see.
//!
//! A row is visible when it and everything above it are live and the caller is a live member of its workspace. Loads
//! by id check that in the statement itself, so "missing", "deleted" and "not yours" are the same answer. Lists are
//! asked for by parents that were loaded that way, and check only what lies between the parent and the row.

pub mod comment;
pub mod count;
pub mod member;
pub mod page;
pub mod project;
pub mod task;
pub mod user;
pub mod workspace;

use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QuerySelect, RelationTrait, Select};
use uuid::Uuid;

use crate::database::TENANT;
use crate::entities::{member as members, project as projects, user as users, workspace as workspaces};

/// Narrows a select that has joined `workspaces` to those of which the viewer, who must be live, is a live member. Each
/// row tells its workspace.
fn joined_by<E: EntityTrait>(select: Select<E>, viewer: Uuid) -> Select<E> {
    select
        .join(JoinType::InnerJoin, workspaces::Relation::Member.def())
        .join(JoinType::InnerJoin, members::Relation::User.def())
        .filter(workspaces::Column::DeletedAt.is_null())
        .filter(members::Column::UserId.eq(viewer))
        .filter(members::Column::DeletedAt.is_null())
        .filter(users::Column::DeletedAt.is_null())
        .column_as(members::Column::WorkspaceId, TENANT)
}

/// Narrows a select that has joined `projects` to live ones in the viewer's workspaces.
fn in_project_of<E: EntityTrait>(select: Select<E>, viewer: Uuid) -> Select<E> {
    let select = select.join(JoinType::InnerJoin, projects::Relation::Workspace.def());
    joined_by(select.filter(projects::Column::DeletedAt.is_null()), viewer)
}
