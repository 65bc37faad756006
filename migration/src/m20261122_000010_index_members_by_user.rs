//! Serves "the workspaces of the caller", from the index alone.
//!
//! Not unique: `idx_members_workspace_user` guards the same pair, and a second guard would only be a second cost to
//! each insert. It leads with the foreign key to `users`.

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

const NAME: &str = "idx_members_user_workspace";

const DEFINITION: &str = "
ON members (user_id, workspace_id)
WHERE deleted_at IS NULL";
