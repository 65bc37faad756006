//! Creates `users`, the people whom memberships, assignments and comments refer to; it keeps no credentials.
//!
//! `id` has no default: the server mints UUID v7, so that inserts land at the right edge of the index, and a row that
//! comes without one is a mistake to refuse. The address is unique through `idx_users_email_lower`, not through a
//! constraint, because only an index can be partial and ignore case. 320 characters are the longest address that SMTP
//! can carry.

use sea_orm_migration::sea_orm::DeriveMigrationName;
use sea_orm_migration::{DbErr, MigrationTrait, SchemaManager, async_trait};

use crate::transaction;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        transaction::execute(manager, CREATE).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        transaction::execute(manager, "DROP TABLE users").await
    }
}

const CREATE: &str = "
CREATE TABLE users (
    id uuid NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT ck_users_email_length CHECK (char_length(email) BETWEEN 3 AND 320),
    CONSTRAINT ck_users_name_length CHECK (char_length(name) BETWEEN 1 AND 200)
)";
