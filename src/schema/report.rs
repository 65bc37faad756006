//! Reports over the tasks of a project or a workspace.

use async_graphql::{Context, Enum, Object, SimpleObject};
use sea_orm::Iterable;
use uuid::Uuid;

use super::scalar::DateTime;
use super::session::Session;
use super::task::{TaskPriority, TaskStatus};
use crate::entities::task::{Priority, Status};
use crate::error::Error;
use crate::reports::task::{Cell, Tally, TallyOfProject, TallyOfWorkspace};

/// Over which tasks.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// Those of one project.
    Project(Uuid),
    /// Those of every live project of a workspace.
    Workspace(Uuid),
}

/// A report, computed as its fields are selected.
#[derive(Clone, Copy, Debug)]
pub struct Report(Subject);

impl Report {
    /// The report over a subject that the caller may see.
    #[must_use]
    pub fn of(subject: Subject) -> Self {
        Self(subject)
    }

    async fn tally(self, context: &Context<'_>) -> Result<Tally, Error> {
        let session = Session::of(context);
        match self.0 {
            Subject::Project(id) => session.load_report(TallyOfProject(id)).await,
            Subject::Workspace(id) => session.load_report(TallyOfWorkspace(id)).await,
        }
    }
}

/// Adds up one figure of the cells that match.
fn sum(tally: &Tally, matches: impl Fn(&Cell) -> bool, figure: impl Fn(&Cell) -> i64) -> i32 {
    let sum: i64 = tally.iter().filter(|cell| matches(cell)).map(figure).sum();
    i32::try_from(sum).unwrap_or(i32::MAX)
}

fn is_open(cell: &Cell) -> bool {
    cell.status != Status::Completed
}

/// Counts over tasks, each computed only where it is selected. Deleted tasks, and those of deleted projects, do not
/// count.
#[Object]
impl Report {
    /// Which server answered, and how new its data is.
    fn freshness(&self, context: &Context<'_>) -> Freshness {
        let reports = Session::of(context).reports();
        Freshness {
            source: reports.source.into(),
            replica: reports.replica.clone(),
            as_of: reports.freshness.as_of.into(),
            lag_ms: i32::try_from(reports.freshness.lag().as_millis()).unwrap_or(i32::MAX),
            fell_back: reports.fell_back,
        }
    }

    /// The tasks altogether.
    async fn totals(&self, context: &Context<'_>) -> Result<ReportTotals, Error> {
        let tally = self.tally(context).await?;
        Ok(ReportTotals {
            total: sum(&tally, |_| true, |cell| cell.count),
            open: sum(&tally, is_open, |cell| cell.count),
            completed: sum(&tally, |cell| !is_open(cell), |cell| cell.count),
            overdue: sum(&tally, |_| true, |cell| cell.overdue),
            unassigned: sum(&tally, |_| true, |cell| cell.unassigned),
        })
    }

    /// One row for each status, also where it has no tasks.
    async fn by_status(&self, context: &Context<'_>) -> Result<Vec<StatusCount>, Error> {
        let tally = self.tally(context).await?;
        let row = |status| StatusCount {
            status: TaskStatus::from(status),
            count: sum(&tally, |cell| cell.status == status, |cell| cell.count),
        };
        Ok(Status::iter().map(row).collect())
    }

    /// One row for each priority, also where it has no tasks.
    async fn by_priority(&self, context: &Context<'_>) -> Result<Vec<PriorityCount>, Error> {
        let tally = self.tally(context).await?;
        let row = |priority| PriorityCount {
            priority: TaskPriority::from(priority),
            count: sum(&tally, |cell| cell.priority == priority, |cell| cell.count),
            open: sum(&tally, |cell| cell.priority == priority && is_open(cell), |cell| cell.count),
            overdue: sum(&tally, |cell| cell.priority == priority, |cell| cell.overdue),
        };
        Ok(Priority::iter().map(row).collect())
    }
}

/// Which kind of server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::database::Target")]
pub enum DataSource {
    /// The server that takes the writes.
    Primary,
    /// A streaming copy of it.
    Replica,
}

/// Where a report comes from, and how new its data is.
#[derive(Clone, Debug, SimpleObject)]
pub struct Freshness {
    /// Which kind of server answered.
    source: DataSource,
    /// The replica's name, where it is one.
    replica: Option<String>,
    /// Everything written before this instant is counted.
    as_of: DateTime,
    /// How long ago that is, in milliseconds.
    lag_ms: i32,
    /// True where a replica was passed over, for being down or too far behind.
    fell_back: bool,
}

/// Tasks altogether.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub struct ReportTotals {
    /// All of them.
    total: i32,
    /// Those that are not completed.
    open: i32,
    /// Those that are.
    completed: i32,
    /// Those that were due in the past and are not completed.
    overdue: i32,
    /// Those that nobody is assigned to, open or completed.
    unassigned: i32,
}

/// Tasks in one status.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub struct StatusCount {
    /// The status.
    status: TaskStatus,
    /// How many tasks there are.
    count: i32,
}

/// Tasks of one priority.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub struct PriorityCount {
    /// The priority.
    priority: TaskPriority,
    /// How many tasks there are.
    count: i32,
    /// Those that are not completed.
    open: i32,
    /// Those that were due in the past and are not completed.
    overdue: i32,
}
