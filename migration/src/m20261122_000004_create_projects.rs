//! Creates `projects`, the unit by which tasks are listed, counted and soft-deleted within a workspace.
//!
//! A project's `deleted_at` hides all its tasks without touching them, and clearing it brings back exactly what it hid.

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
        transaction::execute(manager, "DROP TABLE projects").await
    }
}

const CREATE: &str = "
CREATE TABLE projects (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    name text NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT pk_projects PRIMARY KEY (id),
    CONSTRAINT fk_projects_workspace_id FOREIGN KEY (workspace_id) REFERENCES workspaces (id) ON DELETE RESTRICT,
    CONSTRAINT ck_projects_name_length CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT ck_projects_status CHECK (status IN ('active', 'paused', 'completed', 'archived'))
)";
