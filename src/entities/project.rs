//! A body of work in a workspace: it holds the tasks.
#![expect(missing_docs, reason = "the derive makes public items that cannot be given comments")]

use sea_orm::QueryResult;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// Where a project stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Status {
    Active,
    Paused,
    Completed,
    Archived,
}

/// A row of `projects`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "projects")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub name: String,
    pub status: Status,
    pub created_at: DateTimeUtc,
    /// Strictly growing for the row: the token of optimistic concurrency.
    pub updated_at: DateTimeUtc,
    pub deleted_at: Option<DateTimeUtc>,
    #[sea_orm(belongs_to, from = "workspace_id", to = "id")]
    pub workspace: BelongsTo<super::workspace::Entity>,
    #[sea_orm(has_many)]
    pub tasks: HasMany<super::task::Entity>,
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
            name: row.try_get_by_index(at + 2)?,
            status: row.try_get_by_index(at + 3)?,
            created_at: row.try_get_by_index(at + 4)?,
            updated_at: row.try_get_by_index(at + 5)?,
            deleted_at: row.try_get_by_index(at + 6)?,
        })
    }
}
