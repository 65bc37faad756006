//! Comments by id, and pages and counts of the comments of a task.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{ColumnTrait, DbErr, EntityTrait, Iterable, JoinType, QueryFilter, QueryResult, QuerySelect};
use sea_orm::{QueryTrait, RelationTrait};
use uuid::Uuid;

use super::page::{Cut, Deleted, Direction, Page, PageKey, Position, SortValue};
use super::{count, in_project_of};
use crate::batch::Key;
use crate::database::{Bound, NamedStatement};
use crate::entities::comment::{Column, Entity, Model, Relation};
use crate::entities::{columns, task};
use crate::error::Error;

/// A comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommentById(pub Uuid);

impl Key for CommentById {
    type Value = Option<Arc<Model>>;
    type Group = ();

    fn group(&self) {}

    fn statement((): &(), keys: &[Self], viewer: Uuid) -> NamedStatement {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let select = Entity::find()
            .join(JoinType::InnerJoin, Relation::Task.def())
            .join(JoinType::InnerJoin, task::Relation::Project.def())
            .filter(Column::Id.eq_any(ids))
            .filter(Column::DeletedAt.is_null())
            .filter(task::Column::DeletedAt.is_null());
        NamedStatement::build("comment_by_id", in_project_of(select, viewer).as_query())
    }

    fn answers((): &(), _: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, Self::Value>, Error> {
        rows.iter()
            .map(|row| {
                let comment = Model::decode(row, 0)?;
                Ok((Self(comment.id), Some(Arc::new(comment))))
            })
            .collect()
    }
}

/// A page of a task's comments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommentsOfTask {
    /// Whose.
    pub task_id: Uuid,
    /// Which soft-deleted ones.
    pub deleted: Deleted,
    /// In which order of creation.
    pub direction: Direction,
    /// How many, from where.
    pub page: Page,
}

impl PageKey for CommentsOfTask {
    type Row = Model;
    type Count = CommentCount;
    type Arguments = (Deleted, Direction);

    fn page(&self) -> Page {
        self.page.clone()
    }

    fn with_page(&self, page: Page) -> Self {
        Self { page, ..self.clone() }
    }

    fn count(&self) -> CommentCount {
        CommentCount { task_id: self.task_id, deleted: self.deleted }
    }

    fn parent(&self) -> Uuid {
        self.task_id
    }

    fn arguments(&self) -> Self::Arguments {
        (self.deleted, self.direction)
    }

    fn order(&self) -> &'static str {
        match self.direction {
            Direction::Ascending => "comments.created_at.asc",
            Direction::Descending => "comments.created_at.desc",
        }
    }

    fn position(&self, comment: &Model) -> Position {
        Position { value: SortValue::Time(comment.created_at), id: comment.id }
    }

    fn direction((_, direction): &Self::Arguments) -> Direction {
        *direction
    }

    fn sql((deleted, _): &Self::Arguments, cut: Cut, _: &mut Bound) -> (&'static str, String) {
        let columns = columns("t", Column::iter());
        let sql = deleted.page(&cut.order("t.created_at", "t.id"), |deleted| {
            let select = format!("SELECT {columns} FROM comments t WHERE t.task_id = k.parent AND {deleted}");
            cut.page(&select, "t.created_at", "t.id")
        });
        ("comments_of_task", sql)
    }

    fn decode(_: &Self::Arguments, row: &QueryResult, at: usize) -> Result<Model, DbErr> {
        Model::decode(row, at)
    }
}

/// How many comments a task has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommentCount {
    /// Whose.
    pub task_id: Uuid,
    /// Which soft-deleted ones.
    pub deleted: Deleted,
}

impl Key for CommentCount {
    type Value = i64;
    type Group = Deleted;
    const IS_LEAF: bool = true;

    fn group(&self) -> Deleted {
        self.deleted
    }

    fn statement(deleted: &Deleted, keys: &[Self], _: Uuid) -> NamedStatement {
        let comments =
            deleted.rows(|deleted| format!("SELECT t.task_id FROM comments t WHERE t.task_id = ANY($1) AND {deleted}"));
        let sql = format!("SELECT t.task_id, count(*) FROM ({comments}) t GROUP BY t.task_id");
        let tasks: Vec<Uuid> = keys.iter().map(|key| key.task_id).collect();
        NamedStatement::new("comment_count_of_task", sql, [tasks.into()])
    }

    fn answers(_: &Deleted, keys: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, i64>, Error> {
        count::answers(keys, |key| key.task_id, rows)
    }
}
