//! Serves "a page of a project's tasks by age, whatever their status", and a project's part of a workspace feed.
//!
//! `idx_tasks_list` cannot: it has the status before the time, so its order is not that of the page.

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

const NAME: &str = "idx_tasks_created";

const DEFINITION: &str = "
ON tasks (project_id, created_at, id)
WHERE deleted_at IS NULL";
