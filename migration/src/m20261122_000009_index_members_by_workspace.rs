//! Serves "the members of a workspace" and "is this user a member of it", the check that stands in every lookup by id.
//!
//! It is also what keeps a user from being in a workspace twice. Leaving and coming back makes a new row, so only live
//! rows count. It leads with the foreign key to `workspaces`.

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
        index::create_unique(manager, NAME, DEFINITION).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        index::drop(manager, NAME).await
    }
}

const NAME: &str = "idx_members_workspace_user";

const DEFINITION: &str = "
ON members (workspace_id, user_id)
WHERE deleted_at IS NULL";
