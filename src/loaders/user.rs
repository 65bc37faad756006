//! Users by id, with what the caller may know of them.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{Iterable, QueryResult};
use uuid::Uuid;

use crate::batch::Key;
use crate::database::NamedStatement;
use crate::entities::columns;
use crate::entities::user::{Column, Model};
use crate::error::Error;

/// A user as the caller sees them.
#[derive(Clone, Debug)]
pub struct Person {
    /// The row.
    pub user: Model,
    /// Whether the caller may know the address: they are in a live workspace together, the caller being live, or the same
    /// person.
    pub shares_workspace: bool,
}

/// A user, deleted or not: who wrote a comment stays named. The name of any user may be known; it is reached only
/// through a row that the caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserById(pub Uuid);

impl Key for UserById {
    type Value = Option<Arc<Person>>;
    type Group = ();

    fn group(&self) {}

    fn statement((): &(), keys: &[Self], viewer: Uuid) -> NamedStatement {
        let columns = columns("u", Column::iter());
        let sql = format!(
            "SELECT u.id = $2 OR EXISTS (\
               SELECT FROM members mine JOIN users me ON me.id = mine.user_id AND me.deleted_at IS NULL \
               JOIN workspaces w ON w.id = mine.workspace_id AND w.deleted_at IS NULL \
               JOIN members theirs ON theirs.workspace_id = mine.workspace_id AND theirs.deleted_at IS NULL \
               WHERE mine.user_id = $2 AND mine.deleted_at IS NULL AND theirs.user_id = u.id), {columns} \
             FROM users u WHERE u.id = ANY($1)"
        );
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        NamedStatement::new("user_by_id", sql, [ids.into(), viewer.into()])
    }

    fn answers((): &(), _: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, Self::Value>, Error> {
        rows.iter()
            .map(|row| {
                let person = Person { shares_workspace: row.try_get_by_index(0)?, user: Model::decode(row, 1)? };
                Ok((Self(person.user.id), Some(Arc::new(person))))
            })
            .collect()
    }
}
