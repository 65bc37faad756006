//! Writes workspaces.

use sea_orm::Iterable;
use uuid::Uuid;

use super::text::Faults;
use crate::clock;
use crate::database::{Command, NamedStatement, Transaction};
use crate::entities::columns;
use crate::entities::workspace::{Column, Model};
use crate::error::{Error, Failure, UserError};

/// Makes a workspace and its first member: the caller, as OWNER.
#[derive(Clone, Debug)]
pub struct Create {
    /// The caller.
    pub viewer: Uuid,
    /// 1 to 200 characters.
    pub name: String,
    /// 2 to 63 lower-case letters, digits and single hyphens; unique among live workspaces.
    pub slug: String,
}

/// Whether a text has the form of a slug: 2 to 63 lower-case letters, digits and single hyphens between them.
#[must_use]
pub fn is_slug(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (2..=63).contains(&text.len()) && text.split('-').all(is_part)
}

impl Command for Create {
    type Output = Model;

    fn faults(&self) -> Vec<UserError> {
        let mut faults = Faults::default();
        faults.check_line("name", &self.name, 200);
        if !is_slug(&self.slug) {
            faults.add("slug", "Must be 2 to 63 lower-case letters and digits, with single hyphens between them.");
        }
        faults.0
    }

    async fn run(&self, transaction: &Transaction) -> Result<Model, Failure> {
        let sql = format!(
            "WITH w AS (\
               INSERT INTO workspaces (id, name, slug) SELECT $2, $3, $4 FROM users u \
               WHERE u.id = $1 AND u.deleted_at IS NULL RETURNING *), \
             owner AS (INSERT INTO members (id, workspace_id, user_id, role) SELECT $5, w.id, $1, 'owner' FROM w) \
             SELECT {} FROM w",
            columns("w", Column::iter())
        );
        let values = [
            self.viewer.into(),
            clock::new_id().into(),
            self.name.clone().into(),
            self.slug.clone().into(),
            clock::new_id().into(),
        ];
        let rows = transaction.rows(NamedStatement::new("workspace_create", sql, values)).await?;
        // Only a live user can be an owner: a token outlives its user.
        let row = rows.first().ok_or(Error::Unauthenticated)?;
        Ok(Model::decode(row, 0).map_err(Error::from)?)
    }
}
