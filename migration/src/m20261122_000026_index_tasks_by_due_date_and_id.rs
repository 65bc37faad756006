//! Serves "a page of a project's tasks by due date", whatever their status, dated or not.
//!
//! `idx_tasks_active` holds the open ones alone, so a page read and sorted all tasks of the project: with a million
//! tasks, 200,000 of them in the project, 40,488 buffers, and 29 through this index; for seven workspaces of some 25
//! projects each 271,870, and 4,835.

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

const NAME: &str = "idx_tasks_due";

const DEFINITION: &str = "
ON tasks (project_id, due_date, id)
WHERE deleted_at IS NULL";
