//! Reports over the tasks of a project or a workspace.

use async_graphql::{Context, Enum, Object, SimpleObject};
use chrono::{Days, Duration, Months, NaiveTime, Utc};
use chrono_tz::Tz;
use futures_util::future::try_join_all;
use sea_orm::Iterable;

use super::list_size::list_size;
use super::project::Project;
use super::scalar::DateTime;
use super::session::{ReportSource, Session};
use super::task::{TaskPriority, TaskStatus};
use super::user::User;
use crate::batch::Key;
use crate::clock;
use crate::entities::task::{Priority, Status};
use crate::error::Error;
use crate::loaders::project::ProjectById;
use crate::loaders::user::UserById;
use crate::reports::Subject;
use crate::reports::assignee::{Load, LoadByAssignee};
use crate::reports::duration::{CycleTime, Statistics};
use crate::reports::overdue::{BUCKETS, Overdue};
use crate::reports::project::{self, LoadByProject};
use crate::reports::task::{Cell, Tally};
use crate::reports::throughput::{Range, Throughput};

/// A report, computed as its fields are selected.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    subject: Subject,
    source: ReportSource,
}

impl Report {
    /// The report over a subject that the caller may see, from data of this age at most.
    ///
    /// # Errors
    /// `BadUserInput` where the age is negative.
    pub fn of(context: &Context<'_>, subject: Subject, max_staleness_ms: Option<i32>) -> Result<Self, Error> {
        let max_staleness = max_staleness_ms.map(u64::try_from).transpose();
        let max_staleness = max_staleness
            .map_err(|_| Error::BadUserInput("maxStalenessMs must not be negative.".to_owned()))?
            .map(std::time::Duration::from_millis);
        Ok(Self { subject, source: Session::of(context).report_source(max_staleness)? })
    }

    async fn load<K: Key>(self, context: &Context<'_>, key: K) -> Result<K::Value, Error> {
        Session::of(context).load_report(self.source, key).await
    }
}

/// Adds up one figure of the cells that match.
fn sum(tally: &[Cell], matches: impl Fn(&Cell) -> bool, figure: impl Fn(&Cell) -> i64) -> i32 {
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
        let reports = Session::of(context).reports(self.source);
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
        let tally = self.load(context, Tally(self.subject)).await?;
        Ok(ReportTotals {
            total: sum(&tally, |_| true, |cell| cell.count),
            open: sum(&tally, is_open, |cell| cell.count),
            completed: sum(&tally, |cell| !is_open(cell), |cell| cell.count),
            overdue: sum(&tally, |_| true, |cell| cell.overdue),
            unassigned: sum(&tally, |_| true, |cell| cell.unassigned),
        })
    }

    /// One row for each status, also where it has no tasks.
    #[graphql(directive = list_size::apply(4))]
    async fn by_status(&self, context: &Context<'_>) -> Result<Vec<StatusCount>, Error> {
        let tally = self.load(context, Tally(self.subject)).await?;
        let row = |status| StatusCount {
            status: TaskStatus::from(status),
            count: sum(&tally, |cell| cell.status == status, |cell| cell.count),
        };
        Ok(Status::iter().map(row).collect())
    }

    /// One row for each priority, also where it has no tasks.
    #[graphql(directive = list_size::apply(4))]
    async fn by_priority(&self, context: &Context<'_>) -> Result<Vec<PriorityCount>, Error> {
        let tally = self.load(context, Tally(self.subject)).await?;
        let row = |priority| PriorityCount {
            priority: TaskPriority::from(priority),
            count: sum(&tally, |cell| cell.priority == priority, |cell| cell.count),
            open: sum(&tally, |cell| cell.priority == priority && is_open(cell), |cell| cell.count),
            overdue: sum(&tally, |cell| cell.priority == priority, |cell| cell.overdue),
        };
        Ok(Priority::iter().map(row).collect())
    }

    /// One row for each assignee, busiest first (most open tasks), and behind them one for the tasks that nobody is
    /// assigned to, where there are any.
    async fn by_assignee(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many rows at most, 1 to 100, that for nobody among them.", default = 25)] first: i32,
    ) -> Result<Vec<AssigneeCount>, Error> {
        let first = top(first)?;
        let loads = self.load(context, LoadByAssignee(self.subject)).await?;
        let mut loads = loads.to_vec();
        loads.sort_unstable_by_key(|load| (load.assignee_id.is_none(), -load.open, -load.count, load.assignee_id));
        let (somebody, nobody): (Vec<Load>, Vec<Load>) = loads.into_iter().partition(|load| load.assignee_id.is_some());
        let shown = somebody.into_iter().take(first.saturating_sub(nobody.len())).chain(nobody);
        let rows = shown.map(async |load| {
            let assignee = match load.assignee_id {
                Some(id) => Session::of(context).load(UserById(id)).await?.map(User),
                None => None,
            };
            Ok::<_, Error>(AssigneeCount {
                assignee,
                count: int(load.count),
                open: int(load.open),
                completed: int(load.count - load.open),
                overdue: int(load.overdue),
            })
        });
        try_join_all(rows).await
    }

    /// One row for each live project, busiest first (most open tasks), also where it has no tasks; one row for a
    /// project's own report.
    async fn by_project(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many projects at most, 1 to 100.", default = 25)] first: i32,
    ) -> Result<Vec<ProjectCount>, Error> {
        let first = top(first)?;
        let mut loads = match self.subject {
            Subject::Workspace(id) => self.load(context, LoadByProject(id)).await?.to_vec(),
            Subject::Project(project_id) => {
                let tally = self.load(context, Tally(self.subject)).await?;
                let total = |figure: fn(&Cell) -> i64| tally.iter().map(figure).sum();
                let open = tally.iter().filter(|cell| is_open(cell)).map(|cell| cell.count).sum();
                let (count, overdue) = (total(|cell| cell.count), total(|cell| cell.overdue));
                vec![project::Load { project_id, count, open, overdue }]
            }
        };
        loads.sort_unstable_by_key(|load| (-load.open, -load.count, load.project_id));
        let rows = loads.into_iter().take(first).map(async |load| {
            // A project that was deleted since is left out.
            let project = Session::of(context).load(ProjectById(load.project_id)).await?;
            Ok::<_, Error>(project.map(|project| ProjectCount {
                project: Project(project),
                count: int(load.count),
                open: int(load.open),
                completed: int(load.count - load.open),
                overdue: int(load.overdue),
            }))
        });
        Ok(try_join_all(rows).await?.into_iter().flatten().collect())
    }

    /// How late the overdue tasks are, in days; a day that has begun counts. In the buckets 1-3, 4-7, 8-14, 15-30, 31
    /// and more.
    #[graphql(directive = list_size::apply(5))]
    async fn overdue(&self, context: &Context<'_>) -> Result<Vec<OverdueBucket>, Error> {
        let counts = self.load(context, Overdue(self.subject)).await?;
        let bucket = |((min_days, max_days), count)| OverdueBucket { min_days, max_days, count: int(count) };
        Ok(BUCKETS.into_iter().zip(counts).map(bucket).collect())
    }

    /// Tasks made and completed in each interval, in order, also where there were none. Whole intervals: the first one
    /// holds `from`, the last one what comes just before `to`.
    async fn throughput(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How long an interval is.", default_with = "Interval::Week")] interval: Interval,
        #[graphql(
            desc = "The first instant; so that there are twelve intervals, or `first` where that is fewer, where nothing is said."
        )]
        from: Option<DateTime>,
        #[graphql(desc = "The instant after the last; now where nothing is said.")] to: Option<DateTime>,
        #[graphql(
            desc = "Where days begin: a name of the IANA time zone database.",
            default_with = "\"UTC\".to_owned()"
        )]
        time_zone: String,
        #[graphql(desc = "How many intervals at most, 1 to 100: a range that holds more is refused.", default = 25)]
        first: i32,
    ) -> Result<Vec<ThroughputPoint>, Error> {
        let first = top(first)?;
        let range = range(interval, (from, to), time_zone, first)?;
        let points = self.load(context, Throughput { subject: self.subject, range }).await?;
        if points.len() > first {
            return Err(too_many(first));
        }
        let point = |point: &crate::reports::throughput::Point| ThroughputPoint {
            start: point.start.into(),
            created: int(point.created),
            completed: int(point.completed),
        };
        Ok(points.iter().map(point).collect())
    }

    /// From creation to completion, over tasks that were completed in the range.
    async fn cycle_time(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The first instant of completion; any where nothing is said.")] from: Option<DateTime>,
        #[graphql(desc = "The instant after the last; any where nothing is said.")] to: Option<DateTime>,
    ) -> Result<DurationStats, Error> {
        let (from, to) = (from.map(|instant| instant.0), to.map(|instant| instant.0));
        if let (Some(from), Some(to)) = (from, to) {
            check_order(from, to)?;
        }
        let key = CycleTime { subject: self.subject, from, to };
        let Statistics { samples, percentiles, mean } = self.load(context, key).await?;
        let [p50, p90, p95] = percentiles.map_or([None; 3], |percentiles| percentiles.map(Some));
        Ok(DurationStats { samples: int(samples), p50, p90, p95, mean })
    }
}

fn int(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// How many rows of a ranking.
fn top(first: i32) -> Result<usize, Error> {
    match usize::try_from(first) {
        Ok(first @ 1..=100) => Ok(first),
        _ => Err(Error::BadUserInput("first must be 1 to 100.".to_owned())),
    }
}

/// Intervals where no range is asked for.
const DEFAULT_INTERVALS: usize = 12;

fn check_order(from: chrono::DateTime<Utc>, to: chrono::DateTime<Utc>) -> Result<(), Error> {
    if from < to { Ok(()) } else { Err(Error::BadUserInput("from must be before to.".to_owned())) }
}

fn too_many(first: usize) -> Error {
    let message =
        format!("The range holds more than {first} intervals. Ask for more by first, or for a shorter range.");
    Error::BadUserInput(message)
}

fn range(
    interval: Interval,
    (from, to): (Option<DateTime>, Option<DateTime>),
    time_zone: String,
    first: usize,
) -> Result<Range, Error> {
    let Ok(zone) = time_zone.parse::<Tz>() else {
        let message = "timeZone must be a name of the IANA time zone database, as in Europe/Berlin.";
        return Err(Error::BadUserInput(message.to_owned()));
    };
    let to = to.map_or_else(clock::now, |instant| instant.0);
    let from = from.map_or_else(|| beginning(interval, to, zone, first.min(DEFAULT_INTERVALS)), |instant| instant.0);
    check_order(from, to)?;
    // Never too many by this count; the database, which has the calendar, makes the exact one.
    let longest = match interval {
        Interval::Day => 1,
        Interval::Week => 7,
        Interval::Month => 31,
    };
    if usize::try_from((to - from).num_days() / longest).is_ok_and(|intervals| intervals > first) {
        return Err(too_many(first));
    }
    Ok(Range { interval: interval.into(), from, to, time_zone })
}

/// An instant of the first of so many intervals, of which the last one holds what comes just before `to`.
fn beginning(interval: Interval, to: chrono::DateTime<Utc>, zone: Tz, intervals: usize) -> chrono::DateTime<Utc> {
    let last = to - Duration::microseconds(1);
    let day = last.with_timezone(&zone).date_naive();
    let before = u32::try_from(intervals.saturating_sub(1)).unwrap_or_default();
    let day = match interval {
        Interval::Day => day.checked_sub_days(Days::new(before.into())),
        Interval::Week => day.checked_sub_days(Days::new(u64::from(before) * 7)),
        Interval::Month => day.checked_sub_months(Months::new(before)),
    };
    // No clock is changed about noon; a day without one was left out.
    let noon = day.zip(NaiveTime::from_hms_opt(12, 0, 0)).map(|(day, noon)| day.and_time(noon));
    let instant = noon.map(|noon| noon.and_local_timezone(zone).earliest().map_or(noon.and_utc(), |at| at.to_utc()));
    instant.map_or(last, |instant| instant.min(last))
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

/// Tasks of one assignee.
#[derive(Clone, SimpleObject)]
pub struct AssigneeCount {
    /// Who; null for the tasks that nobody is assigned to.
    assignee: Option<User>,
    /// How many tasks there are.
    count: i32,
    /// Those that are not completed.
    open: i32,
    /// Those that are.
    completed: i32,
    /// Those that were due in the past and are not completed.
    overdue: i32,
}

/// Tasks of one project.
#[derive(Clone, SimpleObject)]
pub struct ProjectCount {
    /// Which.
    project: Project,
    /// How many tasks there are.
    count: i32,
    /// Those that are not completed.
    open: i32,
    /// Those that are.
    completed: i32,
    /// Those that were due in the past and are not completed.
    overdue: i32,
}

/// Overdue tasks that are about equally late.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub struct OverdueBucket {
    /// At least so many days late; a day that has begun counts.
    min_days: i32,
    /// At most so many; null where there is no bound.
    max_days: Option<i32>,
    /// How many tasks there are.
    count: i32,
}

/// How long an interval of a calendar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::reports::throughput::Interval")]
pub enum Interval {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
}

/// What happened in an interval.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub struct ThroughputPoint {
    /// The interval's first instant.
    start: DateTime,
    /// How many tasks were made.
    created: i32,
    /// How many tasks were completed.
    completed: i32,
}

/// How long tasks took, in seconds; null where there is no sample.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub struct DurationStats {
    /// How many tasks there are.
    samples: i32,
    /// The median: half of the tasks took no longer.
    p50: Option<f64>,
    /// Nine of ten tasks took no longer.
    p90: Option<f64>,
    /// Nineteen of twenty tasks took no longer.
    p95: Option<f64>,
    /// The average.
    mean: Option<f64>,
}
