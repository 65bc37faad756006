//! A tenant: everything else lives in exactly one workspace.
#![expect(missing_docs, reason = "the derive makes public items that cannot be given comments")]

use sea_orm::QueryResult;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// A row of `workspaces`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "workspaces")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    /// Unique among live workspaces: lower-case letters, digits and single hyphens.
    pub slug: String,
    pub created_at: DateTimeUtc,
    /// Strictly growing for the row: the token of optimistic concurrency.
    pub updated_at: DateTimeUtc,
    pub deleted_at: Option<DateTimeUtc>,
    #[sea_orm(has_many)]
    pub members: HasMany<super::member::Entity>,
    #[sea_orm(has_many)]
    pub projects: HasMany<super::project::Entity>,
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
            name: row.try_get_by_index(at + 1)?,
            slug: row.try_get_by_index(at + 2)?,
            created_at: row.try_get_by_index(at + 3)?,
            updated_at: row.try_get_by_index(at + 4)?,
            deleted_at: row.try_get_by_index(at + 5)?,
        })
    }
}
