//! Projects by id, and pages and counts of the projects of a workspace.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{ActiveEnum, ColumnTrait, DbErr, EntityTrait, Iterable, QueryFilter, QueryResult, QueryTrait};
use uuid::Uuid;

use super::page::{Cut, Deleted, Direction, Page, PageKey, Position, SortValue, containing};
use super::{count, in_project_of};
use crate::batch::Key;
use crate::database::{Bound, NamedStatement, TENANT};
use crate::entities::columns;
use crate::entities::project::{Column, Entity, Model, Status};
use crate::error::Error;

/// A project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProjectById(pub Uuid);

impl Key for ProjectById {
    type Value = Option<Arc<Model>>;
    type Group = ();

    fn group(&self) {}

    fn statement((): &(), keys: &[Self], viewer: Uuid) -> NamedStatement {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let select = in_project_of(Entity::find().filter(Column::Id.eq_any(ids)), viewer);
        NamedStatement::build("project_by_id", select.as_query())
    }

    fn answers((): &(), _: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, Self::Value>, Error> {
        rows.iter()
            .map(|row| {
                let project = Model::decode(row, 0)?;
                Ok((Self(project.id), Some(Arc::new(project))))
            })
            .collect()
    }
}

/// Which projects: those that match every field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Those in one of these; none where the list is empty.
    pub statuses: Option<Vec<Status>>,
    /// A part of the name, whatever the case of its letters.
    pub name_contains: Option<String>,
    /// Which soft-deleted ones.
    pub deleted: Deleted,
}

impl Filter {
    /// Every condition on a project `t` but that on its being deleted.
    fn conditions(&self, bound: &mut Bound) -> String {
        let mut sql = String::new();
        if let Some(statuses) = &self.statuses {
            let values = statuses.iter().map(ActiveEnum::to_value).collect::<Vec<String>>();
            sql = format!(" AND t.status = ANY({}::text[])", bound.bind(values));
        }
        if let Some(text) = &self.name_contains {
            sql = format!("{sql} AND t.name ILIKE {}", bound.bind(containing(text)));
        }
        sql
    }
}

/// By what projects are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderField {
    /// When they were created.
    CreatedAt,
    /// Their names, in the order of the database's collation.
    Name,
}

/// A page of a workspace's projects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProjectsOfWorkspace {
    /// Whose.
    pub workspace_id: Uuid,
    /// Which.
    pub filter: Filter,
    /// In which order.
    pub order: (OrderField, Direction),
    /// How many, from where.
    pub page: Page,
}

impl PageKey for ProjectsOfWorkspace {
    type Row = Model;
    type Count = ProjectCount;
    type Arguments = (Filter, (OrderField, Direction));

    fn page(&self) -> Page {
        self.page.clone()
    }

    fn with_page(&self, page: Page) -> Self {
        Self { page, ..self.clone() }
    }

    fn count(&self) -> ProjectCount {
        ProjectCount { workspace_id: self.workspace_id, filter: self.filter.clone() }
    }

    fn parent(&self) -> Uuid {
        self.workspace_id
    }

    fn arguments(&self) -> Self::Arguments {
        (self.filter.clone(), self.order)
    }

    fn order(&self) -> &'static str {
        match self.order {
            (OrderField::CreatedAt, Direction::Ascending) => "projects.created_at.asc",
            (OrderField::CreatedAt, Direction::Descending) => "projects.created_at.desc",
            (OrderField::Name, Direction::Ascending) => "projects.name.asc",
            (OrderField::Name, Direction::Descending) => "projects.name.desc",
        }
    }

    fn position(&self, project: &Model) -> Position {
        let value = match self.order.0 {
            OrderField::CreatedAt => SortValue::Time(project.created_at),
            OrderField::Name => SortValue::Text(project.name.clone()),
        };
        Position { value, id: project.id }
    }

    fn direction((_, (_, direction)): &Self::Arguments) -> Direction {
        *direction
    }

    fn sql((filter, (field, _)): &Self::Arguments, cut: Cut, bound: &mut Bound) -> (&'static str, String) {
        let (name, value) = match field {
            OrderField::CreatedAt => ("projects_of_workspace_by_created_at", "t.created_at"),
            OrderField::Name => ("projects_of_workspace_by_name", "t.name"),
        };
        let (columns, conditions) = (columns("t", Column::iter()), filter.conditions(bound));
        let sql = filter.deleted.page(&cut.order(value, "t.id"), |deleted| {
            let of_parent = format!("t.workspace_id = k.parent AND {deleted}{conditions}");
            cut.page(
                &format!("SELECT {columns}, t.workspace_id AS {TENANT} FROM projects t WHERE {of_parent}"),
                value,
                "t.id",
            )
        });
        (name, sql)
    }

    fn decode(_: &Self::Arguments, row: &QueryResult, at: usize) -> Result<Model, DbErr> {
        Model::decode(row, at)
    }
}

/// How many projects a workspace has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProjectCount {
    /// Whose.
    pub workspace_id: Uuid,
    /// Which.
    pub filter: Filter,
}

impl Key for ProjectCount {
    type Value = i64;
    type Group = Filter;
    const IS_LEAF: bool = true;

    fn group(&self) -> Filter {
        self.filter.clone()
    }

    fn statement(filter: &Filter, keys: &[Self], viewer: Uuid) -> NamedStatement {
        let workspaces: Vec<Uuid> = keys.iter().map(|key| key.workspace_id).collect();
        let mut bound = Bound::new(viewer, vec![workspaces.into()]);
        let conditions = filter.conditions(&mut bound);
        let projects = filter.deleted.rows(|deleted| {
            format!("SELECT t.workspace_id FROM projects t WHERE t.workspace_id = ANY($1) AND {deleted}{conditions}")
        });
        let sql = format!("SELECT t.workspace_id, count(*) FROM ({projects}) t GROUP BY t.workspace_id");
        NamedStatement::new("project_count_of_workspace", sql, bound.into_values())
    }

    fn answers(_: &Filter, keys: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, i64>, Error> {
        count::answers(keys, |key| key.workspace_id, rows)
    }
}
