//! Writes tasks.

mod many;

pub use many::UpdateMany;

use chrono::{DateTime, Utc};
use sea_orm::{ActiveEnum, DbErr, QueryResult};
use serde::Serialize;
use uuid::Uuid;

use super::Change;
use super::access::Action;
use super::deletion::{self, Deletable, State};
use super::text::Faults;
use super::write::{Check, Columns, Existing, TO_CALLER, Write, update};
use crate::clock;
use crate::database::{Bound, Command, Exchange};
use crate::entities::task::{Priority, Projection, Row, Status};
use crate::error::{UserError, UserErrorCode};

/// The longest title, in characters: a title is in an index, whose rows end at about 2,700 bytes.
const TITLE_CHARACTERS: usize = 500;
const DESCRIPTION_CHARACTERS: usize = 100_000;

fn select(alias: &str) -> String {
    Projection::Full.columns(alias)
}

fn decode(row: &QueryResult, at: usize) -> Result<Row, DbErr> {
    Row::decode(row, at, Projection::Full)
}

const COLUMNS: Columns<Row> = Columns { list: select, count: 12, decode };

/// The condition that a user, an SQL expression that may be null, is nobody or a live member of the workspace `w`.
fn is_nobody_or_member(user: &str) -> String {
    format!(
        "({user} IS NULL OR EXISTS (SELECT FROM members a JOIN users au ON au.id = a.user_id AND au.deleted_at IS NULL \
         WHERE a.workspace_id = w.id AND a.user_id = {user} AND a.deleted_at IS NULL))"
    )
}

fn assignee_check(user: &str) -> Check {
    let message = "The workspace of the task has no such member.";
    Check {
        condition: is_nobody_or_member(user),
        otherwise: UserError::of("assigneeId", UserErrorCode::NotFound, message),
    }
}

/// What follows a status, an SQL expression: when a completed task was completed.
fn completed_at(status: &str) -> String {
    format!("completed_at = CASE WHEN {status} = 'completed' THEN coalesce(t.completed_at, now()) END")
}

/// Makes a task in a project.
#[derive(Clone, Debug, Serialize)]
pub struct Create {
    /// The caller.
    pub viewer: Uuid,
    /// Where.
    pub project_id: Uuid,
    /// 1 to 500 characters.
    pub title: String,
    /// At most 100,000 characters.
    pub description: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// How urgent it is.
    pub priority: Priority,
    /// When it is due.
    pub due_date: Option<DateTime<Utc>>,
    /// Who does it: a live member of the task's workspace.
    pub assignee_id: Option<Uuid>,
}

impl Command for Create {
    type Output = Row;
    const NAME: &'static str = "task_create";

    fn faults(&self) -> Vec<UserError> {
        let mut faults = Faults::default();
        faults.check_line("title", &self.title, TITLE_CHARACTERS);
        if let Some(description) = &self.description {
            faults.check_length("description", description, DESCRIPTION_CHARACTERS);
        }
        faults.0
    }

    fn exchange(&self) -> Exchange<Row> {
        let mut bound = Bound::new(self.viewer, vec![self.viewer.into(), self.project_id.into()]);
        let assignee = format!("{}::uuid", bound.bind(self.assignee_id));
        let status = bound.bind(self.status.to_value());
        let writes = format!(
            "INSERT INTO tasks AS t \
               (id, project_id, title, description, priority, due_date, assignee_id, status, completed_at) \
             SELECT {}, target.project_id, {}, {}, {}, {}, {assignee}, {status}, \
               CASE WHEN {status} = 'completed' THEN now() END FROM target WHERE target.good",
            bound.bind(clock::new_id()),
            bound.bind(self.title.clone()),
            bound.bind(self.description.clone()),
            bound.bind(self.priority.to_value()),
            bound.bind(self.due_date),
        );
        let write = Write {
            name: Self::NAME,
            noun: "project",
            field: "projectId",
            action: Action::WriteTasks,
            own: "false",
            target: "p.id AS project_id",
            from: format!("FROM projects p {TO_CALLER} WHERE p.id = $2 AND p.deleted_at IS NULL"),
            checks: vec![assignee_check(&assignee)],
            before: String::new(),
            writes,
        };
        write.exchange(bound, COLUMNS, Existing::New)
    }
}

/// A write to the task `$2`.
fn write(name: &'static str, state: State, checks: Vec<Check>, set: &str) -> Write {
    let null = state.is();
    Write {
        name,
        noun: "task",
        field: "id",
        action: Action::WriteTasks,
        own: "false",
        target: "t.id AS target_id",
        from: format!(
            "FROM tasks t JOIN projects p ON p.id = t.project_id AND p.deleted_at IS NULL {TO_CALLER} \
             WHERE t.id = $2 AND t.deleted_at {null}"
        ),
        checks,
        before: String::new(),
        writes: update("tasks", set),
    }
}

/// Changes a task; what is not named stays.
#[derive(Clone, Debug, Serialize)]
pub struct Update {
    /// The caller.
    pub viewer: Uuid,
    /// Which task.
    pub id: Uuid,
    /// Another project of the same workspace.
    pub project_id: Option<Uuid>,
    /// As in [`Create`].
    pub title: Option<String>,
    /// As in [`Create`].
    pub description: Change<Option<String>>,
    /// As in [`Create`]; entering or leaving `Completed` sets or clears when the task was completed.
    pub status: Option<Status>,
    /// As in [`Create`].
    pub priority: Option<Priority>,
    /// As in [`Create`].
    pub due_date: Change<Option<DateTime<Utc>>>,
    /// As in [`Create`].
    pub assignee_id: Change<Option<Uuid>>,
    /// When the caller last saw it change.
    pub expected: Option<DateTime<Utc>>,
}

impl Command for Update {
    type Output = Row;
    const NAME: &'static str = "task_update";

    fn faults(&self) -> Vec<UserError> {
        let mut faults = Faults::default();
        if let Some(title) = &self.title {
            faults.check_line("title", title, TITLE_CHARACTERS);
        }
        if let Change::Set(Some(description)) = &self.description {
            faults.check_length("description", description, DESCRIPTION_CHARACTERS);
        }
        faults.0
    }

    fn exchange(&self) -> Exchange<Row> {
        let mut bound = Bound::new(self.viewer, vec![self.viewer.into(), self.id.into()]);
        let project = format!("{}::uuid", bound.bind(self.project_id));
        let assignee = format!("{}::uuid", bound.bind(self.assignee_id.value().flatten()));
        let status = format!("coalesce({}, t.status)", bound.bind(self.status.map(|status| status.to_value())));
        // One text for every set of changed columns: a column that is written with its own value costs nothing, and
        // leaves the update HOT.
        let set = format!(
            "project_id = coalesce({project}, t.project_id), \
             title = coalesce({}, t.title), \
             priority = coalesce({}, t.priority), \
             description = CASE WHEN {} THEN {} ELSE t.description END, \
             due_date = CASE WHEN {} THEN {} ELSE t.due_date END, \
             assignee_id = CASE WHEN {} THEN {assignee} ELSE t.assignee_id END, \
             status = {status}, {}",
            bound.bind(self.title.clone()),
            bound.bind(self.priority.map(|priority| priority.to_value())),
            bound.bind(self.description.is_set()),
            bound.bind(self.description.value().flatten()),
            bound.bind(self.due_date.is_set()),
            bound.bind(self.due_date.value().flatten()),
            bound.bind(self.assignee_id.is_set()),
            completed_at(&status),
        );
        let message = "The workspace of the task has no such project.";
        let project_check = Check {
            condition: format!(
                "({project} IS NULL OR EXISTS (SELECT FROM projects np \
                 WHERE np.id = {project} AND np.workspace_id = w.id AND np.deleted_at IS NULL))"
            ),
            otherwise: UserError::of("projectId", UserErrorCode::NotFound, message),
        };
        let write = write(Self::NAME, State::Live, vec![project_check, assignee_check(&assignee)], &set);
        write.exchange(bound, COLUMNS, Existing::Row { expected: self.expected })
    }
}

/// What can be deleted and brought back: tasks.
#[derive(Debug)]
pub struct Task;

impl Deletable for Task {
    type Row = Row;

    const DELETE: &'static str = "task_delete";
    const RESTORE: &'static str = "task_restore";
    const COLUMNS: Columns<Row> = COLUMNS;

    fn write(name: &'static str, state: State, set: &str) -> Write {
        write(name, state, Vec::new(), set)
    }
}

/// Deletes a task.
pub type Delete = deletion::Delete<Task>;

/// Brings a deleted task back.
pub type Restore = deletion::Restore<Task>;
