//! A user's membership of a workspace, with the role that says what the user may do there.
#![expect(missing_docs, reason = "the derive makes public items that cannot be given comments")]

use sea_orm::QueryResult;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// What a member may do, from the most to the least.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Role {
    Owner,
    Admin,
    Member,
    Viewer,
}

impl Role {
    /// Whether the role is this one or stands above it.
    #[must_use]
    pub fn is_at_least(self, role: Self) -> bool {
        self <= role
    }
}

/// A row of `members`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "members")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub user_id: Uuid,
    pub role: Role,
    pub joined_at: DateTimeUtc,
    pub created_at: DateTimeUtc,
    /// Strictly growing for the row: the token of optimistic concurrency.
    pub updated_at: DateTimeUtc,
    pub deleted_at: Option<DateTimeUtc>,
    #[sea_orm(belongs_to, from = "workspace_id", to = "id")]
    pub workspace: BelongsTo<super::workspace::Entity>,
    #[sea_orm(belongs_to, from = "user_id", to = "id")]
    pub user: BelongsTo<super::user::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Reads a row whose columns start at `at`.
    ///
    /// # Errors
    /// A column is missing or of another type.
    pub fn decode(row: &QueryResult, at: usize) -> Result<Self, DbErr> {
        Ok(Self {
            id: row.try_get_by_index(at)?,
            workspace_id: row.try_get_by_index(at + 1)?,
            user_id: row.try_get_by_index(at + 2)?,
            role: row.try_get_by_index(at + 3)?,
            joined_at: row.try_get_by_index(at + 4)?,
            created_at: row.try_get_by_index(at + 5)?,
            updated_at: row.try_get_by_index(at + 6)?,
            deleted_at: row.try_get_by_index(at + 7)?,
        })
    }
}
