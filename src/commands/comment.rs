//! Writes comments.

use sea_orm::Iterable;
use uuid::Uuid;

use super::access::{MAY_WRITE, TO_CALLER, refusal};
use super::text::Faults;
use crate::clock;
use crate::database::{Command, NamedStatement, Transaction};
use crate::entities::columns;
use crate::entities::comment::{Column, Model};
use crate::error::{Error, Failure, UserError, UserErrorCode};

/// Makes a comment by the caller on a task.
#[derive(Clone, Debug)]
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

    fn faults(&self) -> Vec<UserError> {
        let mut faults = Faults::default();
        faults.check_body("body", &self.body, 50_000);
        faults.0
    }

    async fn run(&self, transaction: &Transaction) -> Result<Model, Failure> {
        let sql = format!(
            "INSERT INTO comments AS c (id, task_id, author_id, body) \
             SELECT $3, t.id, m.user_id, $4 \
             FROM tasks t JOIN projects p ON p.id = t.project_id AND p.deleted_at IS NULL {TO_CALLER} \
             WHERE t.id = $2 AND t.deleted_at IS NULL AND {MAY_WRITE} \
             RETURNING {}",
            columns("c", Column::iter())
        );
        let values = [self.viewer.into(), self.task_id.into(), clock::new_id().into(), self.body.clone().into()];
        let rows = transaction.rows(NamedStatement::new("comment_create", sql, values)).await?;
        match rows.first() {
            Some(row) => Ok(Model::decode(row, 0).map_err(Error::from)?),
            None => Err(self.why_not(transaction).await?.into()),
        }
    }
}

impl Create {
    async fn why_not(&self, transaction: &Transaction) -> Result<UserError, Failure> {
        let sql = format!(
            "SELECT m.role FROM tasks t JOIN projects p ON p.id = t.project_id AND p.deleted_at IS NULL {TO_CALLER} \
             WHERE t.id = $2 AND t.deleted_at IS NULL"
        );
        let values = [self.viewer.into(), self.task_id.into()];
        let rows = transaction.rows(NamedStatement::new("comment_create_why_not", sql, values)).await?;
        Ok(refusal(&rows, "taskId", "task")?
            .unwrap_or_else(|| UserError::of("taskId", UserErrorCode::NotFound, "The task was not there. Try again.")))
    }
}
