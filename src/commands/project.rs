//! Writes projects.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveEnum, Iterable};
use serde::Serialize;
use uuid::Uuid;

use super::access::Action;
use super::deletion::{self, Deletable, State};
use super::text::Faults;
use super::write::{Columns, Existing, TO_CALLER, Write, update};
use crate::clock;
use crate::database::{Bound, Command, Exchange};
use crate::entities::columns;
use crate::entities::project::{Column, Model, Status};
use crate::error::UserError;

const NAME_CHARACTERS: usize = 200;

fn select(alias: &str) -> String {
    columns(alias, Column::iter())
}

const COLUMNS: Columns<Model> = Columns { list: select, count: 7, decode: Model::decode };

/// Makes a project in a workspace.
#[derive(Clone, Debug, Serialize)]
pub struct Create {
    /// The caller.
    pub viewer: Uuid,
    /// Where.
    pub workspace_id: Uuid,
    /// 1 to 200 characters.
    pub name: String,
    /// Where it stands.
    pub status: Status,
}

impl Command for Create {
    type Output = Model;
    const NAME: &'static str = "project_create";

    fn faults(&self) -> Vec<UserError> {
        let mut faults = Faults::default();
        faults.check_line("name", &self.name, NAME_CHARACTERS);
        faults.0
    }

    fn exchange(&self) -> Exchange<Model> {
        let mut bound = Bound::new(self.viewer, vec![self.viewer.into(), self.workspace_id.into()]);
        let writes = format!(
            "INSERT INTO projects AS t (id, workspace_id, name, status) \
             SELECT {}, target.workspace_id, {}, {} FROM target WHERE target.good",
            bound.bind(clock::new_id()),
            bound.bind(self.name.clone()),
            bound.bind(self.status.to_value())
        );
        let write = Write {
            name: Self::NAME,
            noun: "workspace",
            field: "workspaceId",
            action: Action::ManageProjects,
            own: "false",
            target: "w.id AS workspace_id",
            from: format!("FROM (SELECT $2::uuid AS workspace_id) p {TO_CALLER}"),
            checks: Vec::new(),
            before: String::new(),
            writes,
        };
        write.exchange(bound, COLUMNS, Existing::New)
    }
}

/// A write to the project `$2`.
fn write(name: &'static str, state: State, set: &str) -> Write {
    let null = state.is();
    Write {
        name,
        noun: "project",
        field: "id",
        action: Action::ManageProjects,
        own: "false",
        target: "t.id AS target_id",
        from: format!(
            "FROM projects t JOIN projects p ON p.id = t.id {TO_CALLER} WHERE t.id = $2 AND t.deleted_at {null}"
        ),
        checks: Vec::new(),
        before: String::new(),
        writes: update("projects", set),
    }
}

/// Changes a project; what is not named stays.
#[derive(Clone, Debug, Serialize)]
pub struct Update {
    /// The caller.
    pub viewer: Uuid,
    /// Which project.
    pub id: Uuid,
    /// As in [`Create`].
    pub name: Option<String>,
    /// As in [`Create`].
    pub status: Option<Status>,
    /// When the caller last saw it change.
    pub expected: Option<DateTime<Utc>>,
}

impl Command for Update {
    type Output = Model;
    const NAME: &'static str = "project_update";

    fn faults(&self) -> Vec<UserError> {
        let mut faults = Faults::default();
        if let Some(name) = &self.name {
            faults.check_line("name", name, NAME_CHARACTERS);
        }
        faults.0
    }

    fn exchange(&self) -> Exchange<Model> {
        let mut bound = Bound::new(self.viewer, vec![self.viewer.into(), self.id.into()]);
        let set = format!(
            "name = coalesce({}, t.name), status = coalesce({}, t.status)",
            bound.bind(self.name.clone()),
            bound.bind(self.status.map(|status| status.to_value()))
        );
        let existing = Existing::Row { expected: self.expected };
        write(Self::NAME, State::Live, &set).exchange(bound, COLUMNS, existing)
    }
}

/// What can be deleted and brought back: projects.
#[derive(Debug)]
pub struct Project;

impl Deletable for Project {
    type Row = Model;

    const DELETE: &'static str = "project_delete";
    const RESTORE: &'static str = "project_restore";
    const COLUMNS: Columns<Model> = COLUMNS;

    fn write(name: &'static str, state: State, set: &str) -> Write {
        write(name, state, set)
    }
}

/// Deletes a project.
pub type Delete = deletion::Delete<Project>;

/// Brings a deleted project back.
pub type Restore = deletion::Restore<Project>;
