//! Serves "a page of a task's comments in order of time", for many tasks in one statement, and the count of them.
//!
//! The body is not in the payload: at up to 50,000 characters it does not fit a B-tree row. It leads with the foreign
//! key to `tasks`.

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

const NAME: &str = "idx_comments_list";

const DEFINITION: &str = "
ON comments (task_id, created_at, id)
WHERE deleted_at IS NULL";
