//! Writes workspaces.

use chrono::{DateTime, Utc};
use sea_orm::Iterable;
use serde::Serialize;
use uuid::Uuid;

use super::access::Action;
use super::deletion::{self, Deletable, State};
use super::text::Faults;
use super::write::{Columns, Existing, Write, update};
use crate::clock;
use crate::database::{Bound, Command, Exchange, NamedStatement};
use crate::entities::columns;
use crate::entities::workspace::{Column, Model};
use crate::error::{Error, Failure, UserError, UserErrorCode};

/// Makes a workspace and its first member: the caller, as OWNER.
#[derive(Clone, Debug, Serialize)]
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

const NAME_CHARACTERS: usize = 200;

fn check_slug(faults: &mut Faults, slug: &str) {
    if !is_slug(slug) {
        faults.add("slug", "Must be 2 to 63 lower-case letters and digits, with single hyphens between them.");
    }
}

fn select(alias: &str) -> String {
    columns(alias, Column::iter())
}

const COLUMNS: Columns<Model> = Columns { list: select, count: 6, decode: Model::decode };

impl Command for Create {
    type Output = Model;
    const NAME: &'static str = "workspace_create";

    fn faults(&self) -> Vec<UserError> {
        let mut faults = Faults::default();
        faults.check_line("name", &self.name, NAME_CHARACTERS);
        check_slug(&mut faults, &self.slug);
        faults.0
    }

    #[expect(clippy::result_large_err, reason = "a write has one outcome, which is not copied about")]
    fn exchange(&self) -> Exchange<Model> {
        let sql = format!(
            "WITH w AS (\
               INSERT INTO workspaces (id, name, slug) SELECT $2, $3, $4 FROM users u \
               WHERE u.id = $1 AND u.deleted_at IS NULL RETURNING *), \
             owner AS (INSERT INTO members (id, workspace_id, user_id, role) SELECT $5, w.id, $1, 'owner' FROM w) \
             SELECT {} FROM w",
            select("w")
        );
        let values = [
            self.viewer.into(),
            clock::new_id().into(),
            self.name.clone().into(),
            self.slug.clone().into(),
            clock::new_id().into(),
        ];
        Exchange::new(NamedStatement::new(Self::NAME, sql, values), |rows| {
            // Only a live user can be an owner: a token outlives its user.
            let row = rows.first().ok_or(Error::Unauthenticated)?;
            Ok(Model::decode(row, 0).map_err(Error::from)?)
        })
    }
}

/// A write to the workspace `$2`.
fn write(name: &'static str, state: State, set: &str) -> Write {
    let null = state.is();
    Write {
        name,
        noun: "workspace",
        field: "id",
        action: Action::ManageWorkspace,
        own: "false",
        target: "t.id AS target_id",
        from: format!(
            "FROM workspaces t JOIN members m ON m.workspace_id = t.id AND m.user_id = $1 AND m.deleted_at IS NULL \
             JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL WHERE t.id = $2 AND t.deleted_at {null}"
        ),
        checks: Vec::new(),
        before: String::new(),
        writes: update("workspaces", set),
    }
}

/// Changes a workspace; what is not named stays.
#[derive(Clone, Debug, Serialize)]
pub struct Update {
    /// The caller.
    pub viewer: Uuid,
    /// Which workspace.
    pub id: Uuid,
    /// As in [`Create`].
    pub name: Option<String>,
    /// As in [`Create`].
    pub slug: Option<String>,
    /// When the caller last saw it change.
    pub expected: Option<DateTime<Utc>>,
}

impl Command for Update {
    type Output = Model;
    const NAME: &'static str = "workspace_update";

    fn faults(&self) -> Vec<UserError> {
        let mut faults = Faults::default();
        if let Some(name) = &self.name {
            faults.check_line("name", name, NAME_CHARACTERS);
        }
        if let Some(slug) = &self.slug {
            check_slug(&mut faults, slug);
        }
        faults.0
    }

    fn exchange(&self) -> Exchange<Model> {
        let mut bound = Bound::new(self.viewer, vec![self.viewer.into(), self.id.into()]);
        let set = format!(
            "name = coalesce({}, t.name), slug = coalesce({}, t.slug)",
            bound.bind(self.name.clone()),
            bound.bind(self.slug.clone())
        );
        let existing = Existing::Row { expected: self.expected };
        write(Self::NAME, State::Live, &set).exchange(bound, COLUMNS, existing)
    }
}

/// What can be deleted and brought back: workspaces.
#[derive(Debug)]
pub struct Workspace;

impl Deletable for Workspace {
    type Row = Model;

    const DELETE: &'static str = "workspace_delete";
    const RESTORE: &'static str = "workspace_restore";
    const COLUMNS: Columns<Model> = COLUMNS;

    fn write(name: &'static str, state: State, set: &str) -> Write {
        write(name, state, set)
    }

    fn not_restored(failure: Failure<Model>) -> Failure<Model> {
        taken(failure)
    }
}

/// Deletes a workspace.
pub type Delete = deletion::Delete<Workspace>;

/// Brings a deleted workspace back.
pub type Restore = deletion::Restore<Workspace>;

/// The input of a restoration names no slug: its id stands for it.
fn taken<T>(failure: Failure<T>) -> Failure<T> {
    match failure {
        Failure::Refused { errors, .. } if errors.iter().any(|error| error.code == UserErrorCode::NotUnique) => {
            let message = "Another workspace has taken its slug. Change that one's slug first.";
            UserError::of("id", UserErrorCode::NotUnique, message).into()
        }
        other => other,
    }
}
