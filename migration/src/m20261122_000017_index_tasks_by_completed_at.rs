//! Serves "what a project finished in a period": throughput, cycle time and work by assignee, from the index alone.
//!
//! Cycle time is `completed_at - created_at`, which is why `created_at` is in the payload. A query has to carry the
//! literal `status = 'completed'`.

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

const NAME: &str = "idx_tasks_completed";

const DEFINITION: &str = "
ON tasks (project_id, completed_at)
INCLUDE (created_at, assignee_id)
WHERE deleted_at IS NULL AND status = 'completed'";
