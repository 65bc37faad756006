//! Writes tasks.

use chrono::{DateTime, Utc};
use sea_orm::ActiveEnum;
use uuid::Uuid;

use super::access::{MAY_WRITE, TO_CALLER, refusal};
use super::text::Faults;
use crate::clock;
use crate::database::{Command, NamedStatement, Transaction};
use crate::entities::task::{Priority, Projection, Row, Status};
use crate::error::{Error, Failure, UserError, UserErrorCode};

/// The longest title, in characters: a title is in an index, whose rows end at about 2,700 bytes.
const TITLE_CHARACTERS: usize = 500;
const DESCRIPTION_CHARACTERS: usize = 100_000;

/// Makes a task in a project.
#[derive(Clone, Debug)]
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

/// The condition that the user who is the SQL expression `user` is a live member of the workspace `w`.
fn is_member(user: &str) -> String {
    format!(
        "EXISTS (SELECT FROM members a JOIN users au ON au.id = a.user_id AND au.deleted_at IS NULL \
         WHERE a.workspace_id = w.id AND a.user_id = {user} AND a.deleted_at IS NULL)"
    )
}

impl Command for Create {
    type Output = Row;

    fn faults(&self) -> Vec<UserError> {
        let mut faults = Faults::default();
        faults.check_line("title", &self.title, TITLE_CHARACTERS);
        if let Some(description) = &self.description {
            faults.check_length("description", description, DESCRIPTION_CHARACTERS);
        }
        faults.0
    }

    async fn run(&self, transaction: &Transaction) -> Result<Row, Failure> {
        let sql = format!(
            "INSERT INTO tasks AS t \
               (id, project_id, title, description, status, priority, due_date, assignee_id, completed_at) \
             SELECT $3, p.id, $4, $5, $6, $7, $8, $9::uuid, CASE WHEN $6 = 'completed' THEN now() END \
             FROM projects p {TO_CALLER} \
             WHERE p.id = $2 AND p.deleted_at IS NULL AND {MAY_WRITE} AND ($9::uuid IS NULL OR {}) \
             RETURNING {}",
            is_member("$9"),
            Projection::Full.columns("t")
        );
        let values = [
            self.viewer.into(),
            self.project_id.into(),
            clock::new_id().into(),
            self.title.clone().into(),
            self.description.clone().into(),
            self.status.to_value().into(),
            self.priority.to_value().into(),
            self.due_date.into(),
            self.assignee_id.into(),
        ];
        let rows = transaction.rows(NamedStatement::new("task_create", sql, values)).await?;
        match rows.first() {
            Some(row) => Ok(Row::decode(row, 0, Projection::Full).map_err(Error::from)?),
            None => Err(self.why_not(transaction).await?.into()),
        }
    }
}

impl Create {
    async fn why_not(&self, transaction: &Transaction) -> Result<UserError, Failure> {
        let sql = format!("SELECT m.role FROM projects p {TO_CALLER} WHERE p.id = $2 AND p.deleted_at IS NULL");
        let values = [self.viewer.into(), self.project_id.into()];
        let rows = transaction.rows(NamedStatement::new("task_create_why_not", sql, values)).await?;
        Ok(refusal(&rows, "projectId", "project")?.unwrap_or_else(no_such_assignee))
    }
}

/// What an update does to a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// Leaves it.
    Keep,
    /// Writes it.
    Set(T),
}

impl<T: Clone> Change<T> {
    fn is_set(&self) -> bool {
        matches!(self, Self::Set(_))
    }

    fn value(&self) -> Option<T> {
        match self {
            Self::Keep => None,
            Self::Set(value) => Some(value.clone()),
        }
    }
}

/// Changes a task; what is not named stays.
#[derive(Clone, Debug)]
pub struct Update {
    /// The caller.
    pub viewer: Uuid,
    /// Which task.
    pub id: Uuid,
    /// As in [`Create`].
    pub title: Change<String>,
    /// As in [`Create`].
    pub description: Change<Option<String>>,
    /// As in [`Create`]; entering or leaving `Completed` sets or clears when the task was completed.
    pub status: Change<Status>,
    /// As in [`Create`].
    pub priority: Change<Priority>,
    /// As in [`Create`].
    pub due_date: Change<Option<DateTime<Utc>>>,
    /// As in [`Create`].
    pub assignee_id: Change<Option<Uuid>>,
}

impl Command for Update {
    type Output = Row;

    fn faults(&self) -> Vec<UserError> {
        let mut faults = Faults::default();
        if let Change::Set(title) = &self.title {
            faults.check_line("title", title, TITLE_CHARACTERS);
        }
        if let Change::Set(Some(description)) = &self.description {
            faults.check_length("description", description, DESCRIPTION_CHARACTERS);
        }
        faults.0
    }

    async fn run(&self, transaction: &Transaction) -> Result<Row, Failure> {
        // One text for every set of changed columns: a column that is written with its own value costs nothing, and
        // leaves the update HOT.
        let sql = format!(
            "UPDATE tasks t SET \
               title = coalesce($3, t.title), \
               description = CASE WHEN $4 THEN $5 ELSE t.description END, \
               status = coalesce($6, t.status), \
               priority = coalesce($7, t.priority), \
               due_date = CASE WHEN $8 THEN $9 ELSE t.due_date END, \
               assignee_id = CASE WHEN $10 THEN $11::uuid ELSE t.assignee_id END, \
               completed_at = CASE WHEN coalesce($6, t.status) = 'completed' THEN coalesce(t.completed_at, now()) END, \
               updated_at = greatest(clock_timestamp(), t.updated_at + interval '1 microsecond') \
             FROM projects p {TO_CALLER} \
             WHERE t.id = $2 AND t.deleted_at IS NULL AND p.id = t.project_id AND p.deleted_at IS NULL \
               AND {MAY_WRITE} AND ($11::uuid IS NULL OR {}) \
             RETURNING {}",
            is_member("$11"),
            Projection::Full.columns("t")
        );
        let values = [
            self.viewer.into(),
            self.id.into(),
            self.title.value().into(),
            self.description.is_set().into(),
            self.description.value().flatten().into(),
            self.status.value().map(|status| status.to_value()).into(),
            self.priority.value().map(|priority| priority.to_value()).into(),
            self.due_date.is_set().into(),
            self.due_date.value().flatten().into(),
            self.assignee_id.is_set().into(),
            self.assignee_id.value().flatten().into(),
        ];
        let rows = transaction.rows(NamedStatement::new("task_update", sql, values)).await?;
        match rows.first() {
            Some(row) => Ok(Row::decode(row, 0, Projection::Full).map_err(Error::from)?),
            None => Err(self.why_not(transaction).await?.into()),
        }
    }
}

impl Update {
    async fn why_not(&self, transaction: &Transaction) -> Result<UserError, Failure> {
        let sql = format!(
            "SELECT m.role FROM tasks t JOIN projects p ON p.id = t.project_id AND p.deleted_at IS NULL {TO_CALLER} \
             WHERE t.id = $2 AND t.deleted_at IS NULL"
        );
        let values = [self.viewer.into(), self.id.into()];
        let rows = transaction.rows(NamedStatement::new("task_update_why_not", sql, values)).await?;
        Ok(refusal(&rows, "id", "task")?.unwrap_or_else(no_such_assignee))
    }
}

fn no_such_assignee() -> UserError {
    UserError::of("assigneeId", UserErrorCode::NotFound, "The workspace of the task has no such member.")
}
