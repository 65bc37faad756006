//! Creates `members`, which says who may act in a workspace and in what role; every right is read from here.
//!
//! `joined_at` is a fact of its own and not `created_at`: an imported membership keeps the day on which the person
//! joined. The role is text under a named CHECK, so that a role is added by NOT VALID and VALIDATE, without a type
//! change.

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
        transaction::execute(manager, "DROP TABLE members").await
    }
}

const CREATE: &str = "
CREATE TABLE members (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    joined_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT pk_members PRIMARY KEY (id),
    CONSTRAINT fk_members_workspace_id FOREIGN KEY (workspace_id) REFERENCES workspaces (id) ON DELETE RESTRICT,
    CONSTRAINT fk_members_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT ck_members_role CHECK (role IN ('owner', 'admin', 'member', 'viewer'))
)";
