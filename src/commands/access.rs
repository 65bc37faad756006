//! Who may write: members of the workspace whose role is not VIEWER.

use sea_orm::QueryResult;

use crate::entities::member::Role;
use crate::error::{Error, Failure, UserError, UserErrorCode};

/// From a project `p` to its live workspace `w`, and to the membership `m` of the live caller, who is `$1`.
pub(super) const TO_CALLER: &str = "\
    JOIN workspaces w ON w.id = p.workspace_id AND w.deleted_at IS NULL \
    JOIN members m ON m.workspace_id = w.id AND m.user_id = $1 AND m.deleted_at IS NULL \
    JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL";

/// The condition that the membership `m` may write. The same rule as [`Role::may_write`], for the database.
pub(super) const MAY_WRITE: &str = "m.role <> 'viewer'";

/// Why nothing was written below something that the input's `field` refers to: `rows` holds the caller's role there,
/// or nothing. None where the role allows it and the reason is another one.
pub(super) fn refusal(rows: &[QueryResult], field: &str, noun: &str) -> Result<Option<UserError>, Failure> {
    let Some(row) = rows.first() else {
        return Ok(Some(UserError::of(field, UserErrorCode::NotFound, format!("There is no such {noun}."))));
    };
    let role: Role = row.try_get_by_index(0).map_err(Error::from)?;
    Ok((!role.may_write()).then(|| {
        UserError::of(field, UserErrorCode::Forbidden, "Your role here is VIEWER, which may read and not write.")
    }))
}
