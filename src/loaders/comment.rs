//! Comments by id, and pages and counts of the comments of a task.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{ColumnTrait, DbErr, EntityTrait, Iterable, JoinType, QueryFilter, QueryResult, QuerySelect};
use sea_orm::{QueryTrait, RelationTrait};
use uuid::Uuid;

use super::page::{self, Cut, Direction, ListSql, Page, PageKey, Position, Rows};
use super::{count, in_project_of};
use crate::batch::{Key, Scope};
use crate::database::NamedStatement;
use crate::entities::comment::{Column, Entity, Model, Relation};
use crate::entities::{columns, task};
use crate::error::Error;

/// A comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommentById(pub Uuid);

impl Key for CommentById {
    type Value = Option<Arc<Model>>;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Self::Value>, Error> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let select = Entity::find()
            .join(JoinType::InnerJoin, Relation::Task.def())
            .join(JoinType::InnerJoin, task::Relation::Project.def())
            .filter(Column::Id.eq_any(ids))
            .filter(Column::DeletedAt.is_null())
            .filter(task::Column::DeletedAt.is_null());
        let statement = NamedStatement::build("comment_by_id", in_project_of(select, scope.viewer).as_query());
        let rows = scope.reader.rows(statement.keys(keys.len())).await?;
        rows.iter()
            .map(|row| {
                let comment = Model::decode(row, 0)?;
                Ok((Self(comment.id), Some(Arc::new(comment))))
            })
            .collect()
    }
}

/// A page of a task's comments, oldest first unless the direction says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommentsOfTask {
    /// Whose.
    pub task_id: Uuid,
    /// In which order of creation.
    pub direction: Direction,
    /// How many, from where.
    pub page: Page,
}

impl Key for CommentsOfTask {
    type Value = Arc<Rows<Model>>;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, Self::Value>, Error> {
        page::load(scope, keys).await
    }
}

impl PageKey for CommentsOfTask {
    type Row = Model;
    type Count = CommentCount;
    type Arguments = Direction;

    fn parent(&self) -> Uuid {
        self.task_id
    }

    fn page(&self) -> Page {
        self.page
    }

    fn with_page(&self, page: Page) -> Self {
        Self { page, ..*self }
    }

    fn count(&self) -> CommentCount {
        CommentCount(self.task_id)
    }

    fn arguments(&self) -> Direction {
        self.direction
    }

    fn order(&self) -> &'static str {
        match self.direction {
            Direction::Ascending => "comments.created_at.asc",
            Direction::Descending => "comments.created_at.desc",
        }
    }

    fn position(&self, comment: &Model) -> Position {
        Position { at: Some(comment.created_at), id: comment.id }
    }

    fn direction(direction: &Direction) -> Direction {
        *direction
    }

    fn sql(_: &Direction, cut: Cut) -> ListSql {
        let (keyword, operator) = (cut.keyword(), cut.operator());
        let select = format!(
            "SELECT {} FROM comments c WHERE c.task_id = k.parent AND c.deleted_at IS NULL \
             AND (c.created_at, c.id) {operator} (k.at, k.id) ORDER BY c.created_at {keyword}, c.id {keyword} LIMIT $4",
            columns("c", Column::iter())
        );
        ListSql { name: "comments_of_task", select, values: Vec::new() }
    }

    fn decode(_: &Direction, row: &QueryResult, at: usize) -> Result<Model, DbErr> {
        Model::decode(row, at)
    }
}

/// How many comments a task has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommentCount(pub Uuid);

impl Key for CommentCount {
    type Value = i64;
    const IS_LEAF: bool = true;

    async fn load(scope: &Scope, keys: &[Self]) -> Result<HashMap<Self, i64>, Error> {
        let sql = "SELECT c.task_id, count(*) FROM comments c \
                   WHERE c.task_id = ANY($1) AND c.deleted_at IS NULL GROUP BY c.task_id";
        let parents = keys.iter().map(|key| key.0).collect();
        let counts = count::load(scope, "comment_count_of_task", sql, parents, Vec::new()).await?;
        Ok(counts.into_iter().map(|(task_id, count)| (Self(task_id), count)).collect())
    }
}
