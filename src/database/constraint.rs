//! The table from a constraint's name to what the person who violated it is told.

use sea_orm::DbErr;

use super::failure::database_error;
use crate::error::{UserError, UserErrorCode};

/// A constraint that a client's input can violate.
pub struct Constraint {
    /// Its name in the database.
    pub name: &'static str,
    /// What kind of fault it is.
    pub code: UserErrorCode,
    /// The field of the mutation's `input`.
    pub field: &'static str,
    /// For people.
    pub message: &'static str,
}

/// Every constraint that the input of a mutation can violate.
///
/// Checked input violates uniqueness alone. The others are here for the day on which a check of ours and one of the
/// database differ, or a row goes between the look and the write: a person is then told what to mend all the same.
pub const CONSTRAINTS: &[Constraint] = &[
    constraint(
        "idx_workspaces_slug",
        UserErrorCode::NotUnique,
        "slug",
        "Another workspace has this slug. Choose another one.",
    ),
    constraint("idx_members_workspace_user", UserErrorCode::NotUnique, "email", "This user is a member already."),
    constraint("ck_workspaces_name_length", UserErrorCode::Invalid, "name", "Must have 1 to 200 characters."),
    constraint(
        "ck_workspaces_slug",
        UserErrorCode::Invalid,
        "slug",
        "Must be 2 to 63 lower-case letters and digits, with single hyphens between them.",
    ),
    constraint("ck_users_email_length", UserErrorCode::Invalid, "email", "Must have 3 to 320 characters."),
    constraint("ck_users_name_length", UserErrorCode::Invalid, "name", "Must have 1 to 200 characters."),
    constraint("ck_projects_name_length", UserErrorCode::Invalid, "name", "Must have 1 to 200 characters."),
    constraint("ck_tasks_title_length", UserErrorCode::Invalid, "title", "Must have 1 to 500 characters."),
    constraint(
        "ck_tasks_description_length",
        UserErrorCode::Invalid,
        "description",
        "Must have at most 100000 characters.",
    ),
    constraint("ck_comments_body_length", UserErrorCode::Invalid, "body", "Must have 1 to 50000 characters."),
    constraint(
        "ck_idempotency_keys_key_length",
        UserErrorCode::Invalid,
        "idempotencyKey",
        "Must have 1 to 255 characters.",
    ),
    constraint("fk_members_workspace_id", UserErrorCode::NotFound, "workspaceId", "There is no such workspace."),
    constraint("fk_projects_workspace_id", UserErrorCode::NotFound, "workspaceId", "There is no such workspace."),
    constraint("fk_tasks_project_id", UserErrorCode::NotFound, "projectId", "There is no such project."),
    constraint("fk_tasks_assignee_id", UserErrorCode::NotFound, "assigneeId", "There is no such member."),
    constraint("fk_comments_task_id", UserErrorCode::NotFound, "taskId", "There is no such task."),
];

const fn constraint(name: &'static str, code: UserErrorCode, field: &'static str, message: &'static str) -> Constraint {
    Constraint { name, code, field, message }
}

/// What to tell the person whose input violated a constraint of the table.
#[must_use]
pub fn user_error(error: &DbErr) -> Option<UserError> {
    let violated = database_error(error)?.constraint()?;
    let constraint = CONSTRAINTS.iter().find(|constraint| constraint.name == violated)?;
    Some(UserError::of(constraint.field, constraint.code, constraint.message))
}
