//! Serves "what this person wrote", the question of whoever closes an account or answers a request for personal data.
//!
//! It is here so that every foreign key leads an index: no other index of `comments` starts with its author. Like the
//! rest it holds live rows only, and so it does not serve the database's own check when a user row is hard-deleted,
//! which looks at soft-deleted comments too: a purge scans the table once for each user.

use sea_orm_migration::sea_orm::DeriveMigrationName;
use sea_orm_migration::{DbErr, MigrationTrait, SchemaManager, async_trait};

use crate::index;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        index::create(manager, NAME, DEFINITION).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        index::drop(manager, NAME).await
    }
}

const NAME: &str = "idx_comments_author";

const DEFINITION: &str = "
ON comments (author_id)
WHERE deleted_at IS NULL";
