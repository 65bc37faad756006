//! Serves "the open work of a project by due date" and the count of what is overdue.
//!
//! A query has to carry the literal `status <> 'completed'`: a bound list of statuses alone does not prove the
//! predicate, and the index is then not used.

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

const NAME: &str = "idx_tasks_active";

const DEFINITION: &str = "
ON tasks (project_id, due_date)
WHERE deleted_at IS NULL AND status <> 'completed'";
