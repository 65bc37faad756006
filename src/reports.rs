//! Aggregates by noun: many keys in, one row for each key out, on the server that the route chose for reports.

pub mod assignee;
pub mod duration;
pub mod overdue;
pub mod project;
pub mod task;
pub mod throughput;

use std::collections::HashMap;

use sea_orm::{QueryResult, Value};
use uuid::Uuid;

use crate::database::NamedStatement;
use crate::error::Error;

/// Over which tasks: the live ones of a project, or of every live project of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One project.
    Project(Uuid),
    /// One workspace.
    Workspace(Uuid),
}

/// The same statement for each kind of subject. Its text comes from one file, in which `{tasks}` stands for the tasks
/// `t` of the subjects in `$1`, and `{id}` for the subject's id.
struct Statement {
    /// The names, for projects and for workspaces.
    names: [&'static str; 2],
    /// The text.
    sql: &'static str,
}

impl Subject {
    fn kind(self) -> Kind {
        match self {
            Self::Project(_) => Kind::Project,
            Self::Workspace(_) => Kind::Workspace,
        }
    }

    fn id(self) -> Uuid {
        let (Self::Project(id) | Self::Workspace(id)) = self;
        id
    }
}

/// What kind of subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Projects.
    Project,
    /// Workspaces.
    Workspace,
}

impl Kind {
    fn subject(self, id: Uuid) -> Subject {
        match self {
            Self::Project => Subject::Project(id),
            Self::Workspace => Subject::Workspace(id),
        }
    }

    /// What stands for `{tasks}` and for `{id}`.
    fn sql(self) -> (&'static str, &'static str) {
        match self {
            Self::Project => ("tasks t WHERE t.project_id = ANY($1) AND t.deleted_at IS NULL", "t.project_id"),
            Self::Workspace => (
                "projects p JOIN tasks t ON t.project_id = p.id AND t.deleted_at IS NULL \
                 WHERE p.workspace_id = ANY($1) AND p.deleted_at IS NULL",
                "p.workspace_id",
            ),
        }
    }
}

impl Statement {
    /// The statement for subjects of one kind. `values` are `$2` and so on.
    fn of(
        &self,
        kind: Kind,
        subjects: impl Iterator<Item = Subject>,
        values: impl IntoIterator<Item = Value>,
    ) -> NamedStatement {
        let [of_projects, of_workspaces] = self.names;
        let name = match kind {
            Kind::Project => of_projects,
            Kind::Workspace => of_workspaces,
        };
        let (tasks, id) = kind.sql();
        let sql = self.sql.replace("{tasks}", tasks).replace("{id}", id);
        let ids: Vec<Uuid> = subjects.map(Subject::id).collect();
        NamedStatement::new(name, sql, std::iter::once(ids.into()).chain(values))
    }
}

/// The rows by their subjects, whose ids are the first column.
fn by_subject<T>(
    kind: Kind,
    rows: &[QueryResult],
    decode: impl Fn(&QueryResult) -> Result<T, Error>,
) -> Result<HashMap<Subject, Vec<T>>, Error> {
    let mut found: HashMap<Subject, Vec<T>> = HashMap::new();
    for row in rows {
        found.entry(kind.subject(row.try_get_by_index(0)?)).or_default().push(decode(row)?);
    }
    Ok(found)
}
