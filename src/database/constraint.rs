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

/// Every constraint that can be violated although the input was checked before.
pub const CONSTRAINTS: &[Constraint] = &[
    Constraint {
        name: "idx_workspaces_slug",
        code: UserErrorCode::NotUnique,
        field: "slug",
        message: "Another workspace has this slug. Choose another one.",
    },
    Constraint {
        name: "idx_members_workspace_user",
        code: UserErrorCode::NotUnique,
        field: "email",
        message: "This user is a member already.",
    },
];

/// What to tell the person whose input violated a constraint of the table.
#[must_use]
pub fn user_error(error: &DbErr) -> Option<UserError> {
    let violated = database_error(error)?.constraint()?;
    let constraint = CONSTRAINTS.iter().find(|constraint| constraint.name == violated)?;
    Some(UserError::of(constraint.field, constraint.code, constraint.message))
}
