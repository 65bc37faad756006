//! Serves "the user with this address", at sign-in and on invitation, and makes the address unique whatever its case.
//!
//! Only live users count, so a deleted account never blocks its address. A query has to say `lower(email) = lower($1)`
//! and `deleted_at IS NULL`, word for word, to be served.

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

const NAME: &str = "idx_users_email_lower";

const DEFINITION: &str = "
ON users (lower(email))
WHERE deleted_at IS NULL";
