//! Projects by id, and pages and counts of the projects of a workspace.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{ColumnTrait, DbErr, EntityTrait, Iterable, QueryFilter, QueryResult, QueryTrait};
use uuid::Uuid;

use super::page::{self, Cut, Direction, ListSql, Page, PageKey, Position, Rows};
use super::{count, in_project_of};
use crate::batch::{Key, Scope};
use crate::database::NamedStatement;
use crate::entities::columns;
use crate::entities::project::{Column, Entity, Model};
use crate::error::Error;

/// A project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProjectById(pub Uuid);

impl Key for ProjectById {
    type Value = Option<Arc<Model>>;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Self::Value>, Error> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let select = in_project_of(Entity::find().filter(Column::Id.eq_any(ids)), scope.viewer);
        let statement = NamedStatement::build("project_by_id", select.as_query()).keys(keys.len());
        let rows = scope.reader.rows(statement).await?;
        rows.iter()
            .map(|row| {
                let project = Model::decode(row, 0)?;
                Ok((Self(project.id), Some(Arc::new(project))))
            })
            .collect()
    }
}

/// A page of a workspace's projects, by creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProjectsOfWorkspace {
    /// Whose.
    pub workspace_id: Uuid,
    /// How many, from where.
    pub page: Page,
}

impl Key for ProjectsOfWorkspace {
    type Value = Arc<Rows<Model>>;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Self::Value>, Error> {
        page::load(scope, keys).await
    }
}

impl PageKey for ProjectsOfWorkspace {
    type Row = Model;
    type Count = ProjectCount;
    type Arguments = ();

    fn parent(&self) -> Uuid {
        self.workspace_id
    }

    fn page(&self) -> Page {
        self.page
    }

    fn with_page(&self, page: Page) -> Self {
        Self { page, ..*self }
    }

    fn count(&self) -> ProjectCount {
        ProjectCount(self.workspace_id)
    }

    fn arguments(&self) {}

    fn order(&self) -> &'static str {
        "projects.created_at.asc"
    }

    fn position(&self, project: &Model) -> Position {
        Position { at: Some(project.created_at), id: project.id }
    }

    fn direction((): &()) -> Direction {
        Direction::Ascending
    }

    fn sql((): &(), cut: Cut) -> ListSql {
        let (keyword, operator) = (cut.keyword(), cut.operator());
        let select = format!(
            "SELECT {} FROM projects p WHERE p.workspace_id = k.parent AND p.deleted_at IS NULL \
             AND (p.created_at, p.id) {operator} (k.at, k.id) \
             ORDER BY p.created_at {keyword}, p.id {keyword} LIMIT $4",
            columns("p", Column::iter())
        );
        ListSql { name: "projects_of_workspace", select, values: Vec::new() }
    }

    fn decode((): &(), row: &QueryResult, at: usize) -> Result<Model, DbErr> {
        Model::decode(row, at)
    }
}

/// How many projects a workspace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProjectCount(pub Uuid);

impl Key for ProjectCount {
    type Value = i64;
    const IS_LEAF: bool = true;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, i64>, Error> {
        let sql = "SELECT p.workspace_id, count(*) FROM projects p \
                   WHERE p.workspace_id = ANY($1) AND p.deleted_at IS NULL GROUP BY p.workspace_id";
        let parents = keys.iter().map(|key| key.0).collect();
        let counts = count::load(scope, "project_count_of_workspace", sql, parents, Vec::new()).await?;
        Ok(counts.into_iter().map(|(workspace_id, count)| (Self(workspace_id), count)).collect())
    }
}
