//! Writes comments.

use chrono::{DateTime, Utc};
use sea_orm::Iterable;
use serde::Serialize;
use uuid::Uuid;

use super::access::Action;
use super::deletion::{self, Deletable, State};
use super::text::Faults;
use super::write::{Columns, Existing, TO_CALLER, Write, update};
use crate::clock;
use crate::database::{Bound, Command, Exchange};
use crate::entities::columns;
use crate::entities::comment::{Column, Model};
use crate::error::UserError;

const BODY_CHARACTERS: usize = 50_000;

fn select(alias: &str) -> String {
    columns(alias, Column::iter())
}

const COLUMNS: Columns<Model> = Columns { list: select, count: 7, decode: Model::decode };

fn body_faults(body: &str) -> Vec<UserError> {
    let mut faults = Faults::default();
    faults.check_body("body", body, BODY_CHARACTERS);
    faults.0
}

/// Makes a comment by the caller on a task.
#[derive(Clone, Debug, Serialize)]
pub struct Create {
    /// The caller, who is the author.
    pub viewer: Uuid,
    /// On which task.
    pub task_id: Uuid,
    /// 1 to 50,000 characters.
    pub body: String,
}

impl Command for Create {
    type Output = Model;
    const NAME: &'static str = "comment_create";

    fn faults(&self) -> Vec<UserError> {
        body_faults(&self.body)
    }

    fn exchange(&self) -> Exchange<Model> {
        let mut bound = Bound::new(self.viewer, vec![self.viewer.into(), self.task_id.into()]);
        let writes = format!(
            "INSERT INTO comments AS t (id, task_id, author_id, body) \
             SELECT {}, target.task_id, $1, {} FROM target WHERE target.good",
            bound.bind(clock::new_id()),
            bound.bind(self.body.clone())
        );
        let write = Write {
            name: Self::NAME,
            noun: "task",
            field: "taskId",
            action: Action::WriteComments,
            own: "false",
            target: "k.id AS task_id",
            from: format!(
                "FROM tasks k JOIN projects p ON p.id = k.project_id AND p.deleted_at IS NULL {TO_CALLER} \
                 WHERE k.id = $2 AND k.deleted_at IS NULL"
            ),
            checks: Vec::new(),
            before: String::new(),
            writes,
        };
        write.exchange(bound, COLUMNS, Existing::New)
    }
}

/// A write to the comment `$2`.
fn write(name: &'static str, state: State, set: &str) -> Write {
    let null = state.is();
    Write {
        name,
        noun: "comment",
        field: "id",
        action: Action::ManageComments,
        own: "t.author_id = $1",
        target: "t.id AS target_id",
        from: format!(
            "FROM comments t JOIN tasks k ON k.id = t.task_id AND k.deleted_at IS NULL \
             JOIN projects p ON p.id = k.project_id AND p.deleted_at IS NULL {TO_CALLER} \
             WHERE t.id = $2 AND t.deleted_at {null}"
        ),
        checks: Vec::new(),
        before: String::new(),
        writes: update("comments", set),
    }
}

/// Changes what a comment says.
#[derive(Clone, Debug, Serialize)]
pub struct Update {
    /// The caller.
    pub viewer: Uuid,
    /// Which comment.
    pub id: Uuid,
    /// As in [`Create`].
    pub body: String,
    /// When the caller last saw it change.
    pub expected: Option<DateTime<Utc>>,
}

impl Command for Update {
    type Output = Model;
    const NAME: &'static str = "comment_update";

    fn faults(&self) -> Vec<UserError> {
        body_faults(&self.body)
    }

    fn exchange(&self) -> Exchange<Model> {
        let mut bound = Bound::new(self.viewer, vec![self.viewer.into(), self.id.into()]);
        let set = format!("body = {}", bound.bind(self.body.clone()));
        let existing = Existing::Row { expected: self.expected };
        write(Self::NAME, State::Live, &set).exchange(bound, COLUMNS, existing)
    }
}

/// What can be deleted and brought back: comments.
#[derive(Debug)]
pub struct Comment;

impl Deletable for Comment {
    type Row = Model;

    const DELETE: &'static str = "comment_delete";
    const RESTORE: &'static str = "comment_restore";
    const COLUMNS: Columns<Model> = COLUMNS;

    fn write(name: &'static str, state: State, set: &str) -> Write {
        write(name, state, set)
    }
}

/// Deletes a comment.
pub type Delete = deletion::Delete<Comment>;

/// Brings a deleted comment back.
pub type Restore = deletion::Restore<Comment>;
