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

use crate::batch::Scope;
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

/// What kind of subject.
#[derive(Clone, Copy)]
enum Kind {
    Project,
    Workspace,
}

impl Kind {
    fn id_of(self, subject: Subject) -> Option<Uuid> {
        match (self, subject) {
            (Self::Project, Subject::Project(id)) | (Self::Workspace, Subject::Workspace(id)) => Some(id),
            _ => None,
        }
    }

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

/// Runs a statement for all subjects, in one for each kind of them, and hands over each row with its subject, whose id
/// is the first column. `values` are `$2` and so on.
async fn load<T>(
    scope: &Scope,
    statement: &Statement,
    subjects: &[Subject],
    values: &[Value],
    decode: impl Fn(&QueryResult) -> Result<T, Error>,
) -> Result<HashMap<Subject, Vec<T>>, Error> {
    let mut found: HashMap<Subject, Vec<T>> = HashMap::new();
    for (name, kind) in statement.names.into_iter().zip([Kind::Project, Kind::Workspace]) {
        let ids: Vec<Uuid> = subjects.iter().filter_map(|subject| kind.id_of(*subject)).collect();
        if ids.is_empty() {
            continue;
        }
        let keys = ids.len();
        let (tasks, id) = kind.sql();
        let sql = statement.sql.replace("{tasks}", tasks).replace("{id}", id);
        let bound = std::iter::once(ids.into()).chain(values.iter().cloned());
        for row in scope.reader.rows(NamedStatement::new(name, sql, bound).keys(keys)).await? {
            found.entry(kind.subject(row.try_get_by_index(0)?)).or_default().push(decode(&row)?);
        }
    }
    Ok(found)
}
