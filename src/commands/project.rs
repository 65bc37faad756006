//! Writes projects.

use sea_orm::{ActiveEnum, Iterable};
use uuid::Uuid;

use super::access::{MAY_WRITE, TO_CALLER, refusal};
use super::text::Faults;
use crate::clock;
use crate::database::{Command, NamedStatement, Transaction};
use crate::entities::columns;
use crate::entities::project::{Column, Model, Status};
use crate::error::{Error, Failure, UserError, UserErrorCode};

/// Makes a project in a workspace.
#[derive(Clone, Debug)]
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

    fn faults(&self) -> Vec<UserError> {
        let mut faults = Faults::default();
        faults.check_line("name", &self.name, 200);
        faults.0
    }

    async fn run(&self, transaction: &Transaction) -> Result<Model, Failure> {
        let sql = format!(
            "INSERT INTO projects AS made (id, workspace_id, name, status) \
             SELECT $3, w.id, $4, $5 FROM (SELECT $2::uuid AS workspace_id) p {TO_CALLER} WHERE {MAY_WRITE} \
             RETURNING {}",
            columns("made", Column::iter())
        );
        let values = [
            self.viewer.into(),
            self.workspace_id.into(),
            clock::new_id().into(),
            self.name.clone().into(),
            self.status.to_value().into(),
        ];
        let rows = transaction.rows(NamedStatement::new("project_create", sql, values)).await?;
        match rows.first() {
            Some(row) => Ok(Model::decode(row, 0).map_err(Error::from)?),
            None => Err(self.why_not(transaction).await?.into()),
        }
    }
}

impl Create {
    async fn why_not(&self, transaction: &Transaction) -> Result<UserError, Failure> {
        let sql = format!("SELECT m.role FROM (SELECT $2::uuid AS workspace_id) p {TO_CALLER}");
        let values = [self.viewer.into(), self.workspace_id.into()];
        let rows = transaction.rows(NamedStatement::new("project_create_why_not", sql, values)).await?;
        let refusal = refusal(&rows, "workspaceId", "workspace")?;
        // The caller was let in between the two statements.
        Ok(refusal.unwrap_or_else(|| {
            UserError::of("workspaceId", UserErrorCode::NotFound, "The workspace was not there. Try again.")
        }))
    }
}
