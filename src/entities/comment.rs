//! What a member said about a task.
#![expect(missing_docs, reason = "the derive makes public items that cannot be given comments")]

use sea_orm::QueryResult;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// A row of `comments`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "comments")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub task_id: Uuid,
    pub author_id: Uuid,
    pub body: String,
    pub created_at: DateTimeUtc,
    /// Strictly growing for the row: the token of optimistic concurrency.
    pub updated_at: DateTimeUtc,
    pub deleted_at: Option<DateTimeUtc>,
    #[sea_orm(belongs_to, from = "task_id", to = "id")]
    pub task: BelongsTo<super::task::Entity>,
    #[sea_orm(belongs_to, from = "author_id", to = "id")]
    pub author: BelongsTo<super::user::Entity>,
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
            task_id: row.try_get_by_index(at + 1)?,
            author_id: row.try_get_by_index(at + 2)?,
            body: row.try_get_by_index(at + 3)?,
            created_at: row.try_get_by_index(at + 4)?,
            updated_at: row.try_get_by_index(at + 5)?,
            deleted_at: row.try_get_by_index(at + 6)?,
        })
    }
}
