//! Creates `workspaces`, the tenants: every other row but a user belongs to exactly one of them.
//!
//! The slug is part of addresses, so it is held to what a DNS label allows: lower-case letters, digits and single
//! hyphens inside. It is unique among live workspaces only, which is the work of `idx_workspaces_slug`.

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
        transaction::execute(manager, "DROP TABLE workspaces").await
    }
}

const CREATE: &str = "
CREATE TABLE workspaces (
    id uuid NOT NULL,
    name text NOT NULL,
    slug text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT pk_workspaces PRIMARY KEY (id),
    CONSTRAINT ck_workspaces_name_length CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT ck_workspaces_slug CHECK (
        slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND char_length(slug) BETWEEN 2 AND 63
    )
)";
