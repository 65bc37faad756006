//! Serves "the open tasks of a person by due date".
//!
//! Finished work is left out because nobody pages through it by person, and it is what grows. A query has to carry the
//! literal `status <> 'completed'`. It leads with the foreign key to `users`.

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

const NAME: &str = "idx_tasks_assignee";

const DEFINITION: &str = "
ON tasks (assignee_id, due_date, id)
WHERE deleted_at IS NULL AND status <> 'completed'";
