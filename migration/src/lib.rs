//! The schema of Trellis, one change a file: lists the migrations; connecting and locking are the caller's.
//!
//! A migration is never edited once it is merged. The caller holds an advisory lock around the run, since the migrator
//! takes none, and sets `lock_timeout` in its connection options for the index builds, which have no transaction to set
//! it in. A run that gave up on a lock is run again: what was done stays done, and a half-built index is dropped and
//! built anew.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod index;
mod transaction;

mod m20261122_000001_create_users;
mod m20261122_000002_create_workspaces;
mod m20261122_000003_create_members;
mod m20261122_000004_create_projects;
mod m20261122_000005_create_tasks;
mod m20261122_000006_create_comments;
mod m20261122_000007_index_users_by_email;
mod m20261122_000008_index_workspaces_by_slug;
mod m20261122_000009_index_members_by_workspace;
mod m20261122_000010_index_members_by_user;
mod m20261122_000011_index_projects_by_created_at;
mod m20261122_000012_index_projects_by_name;
mod m20261122_000013_index_tasks_by_status;
mod m20261122_000014_index_tasks_by_due_date;
mod m20261122_000015_index_tasks_by_created_at;
mod m20261122_000016_index_tasks_by_assignee;
mod m20261122_000017_index_tasks_by_completed_at;
mod m20261122_000018_index_comments_by_task;
mod m20261122_000019_index_comments_by_author;
mod m20261122_000020_create_idempotency_keys;
mod m20261122_000021_index_idempotency_keys_by_user;
mod m20261122_000022_index_idempotency_keys_by_created_at;
mod m20261122_000023_index_deleted_projects;
mod m20261122_000024_index_deleted_tasks;
mod m20261122_000025_index_deleted_comments;
mod m20261122_000026_index_tasks_by_due_date_and_id;

use sea_orm_migration::{MigrationTrait, MigratorTrait, async_trait};

/// A migration beside the text of the file that it is in, whose top comment says what it is for.
pub struct File {
    /// What it does.
    pub migration: Box<dyn MigrationTrait>,
    /// The file as it is written.
    pub text: &'static str,
}

macro_rules! files {
    ($($name:ident),+ $(,)?) => {
        vec![$(File { migration: Box::new($name::Migration), text: include_str!(concat!(stringify!($name), ".rs")) }),+]
    };
}

/// Every migration of Trellis, oldest first; a new one goes to the end.
#[must_use]
pub fn files() -> Vec<File> {
    files![
        m20261122_000001_create_users,
        m20261122_000002_create_workspaces,
        m20261122_000003_create_members,
        m20261122_000004_create_projects,
        m20261122_000005_create_tasks,
        m20261122_000006_create_comments,
        m20261122_000007_index_users_by_email,
        m20261122_000008_index_workspaces_by_slug,
        m20261122_000009_index_members_by_workspace,
        m20261122_000010_index_members_by_user,
        m20261122_000011_index_projects_by_created_at,
        m20261122_000012_index_projects_by_name,
        m20261122_000013_index_tasks_by_status,
        m20261122_000014_index_tasks_by_due_date,
        m20261122_000015_index_tasks_by_created_at,
        m20261122_000016_index_tasks_by_assignee,
        m20261122_000017_index_tasks_by_completed_at,
        m20261122_000018_index_comments_by_task,
        m20261122_000019_index_comments_by_author,
        m20261122_000020_create_idempotency_keys,
        m20261122_000021_index_idempotency_keys_by_user,
        m20261122_000022_index_idempotency_keys_by_created_at,
        m20261122_000023_index_deleted_projects,
        m20261122_000024_index_deleted_tasks,
        m20261122_000025_index_deleted_comments,
        m20261122_000026_index_tasks_by_due_date_and_id,
    ]
}

/// What applies the migrations and takes them back.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        files().into_iter().map(|file| file.migration).collect()
    }
}
