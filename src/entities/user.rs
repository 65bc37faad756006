//! A person, who may be a member of any number of workspaces.
#![expect(missing_docs, reason = "the derive makes public items that cannot be given comments")]

use sea_orm::QueryResult;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// A row of `users`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "users")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Unique among live users, whatever the case of its letters.
    pub email: String,
    pub name: String,
    pub created_at: DateTimeUtc,
    /// Strictly growing for the row: the token of optimistic concurrency.
    pub updated_at: DateTimeUtc,
    pub deleted_at: Option<DateTimeUtc>,
    #[sea_orm(has_many)]
    pub memberships: HasMany<super::member::Entity>,
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
            email: row.try_get_by_index(at + 1)?,
            name: row.try_get_by_index(at + 2)?,
            created_at: row.try_get_by_index(at + 3)?,
            updated_at: row.try_get_by_index(at + 4)?,
            deleted_at: row.try_get_by_index(at + 5)?,
        })
    }
}
