//! The tasks of a chunk and their comments: two years of work, each row made, changed and deleted in an order that can be.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use sea_orm::ActiveEnum;
use uuid::Uuid;

use super::chance::Chance;
use super::data_set::DataSet;
use super::frame::{Frame, Home, among};
use super::words;
use crate::database::copy::Rows;
use crate::entities::task::{Priority, Status};

/// Tasks and their comments, which are written in one transaction.
pub(super) struct Chunk {
    pub tasks: Rows,
    pub comments: Rows,
}

const TASK: [&str; 12] = [
    "id",
    "project_id",
    "assignee_id",
    "title",
    "description",
    "status",
    "priority",
    "due_date",
    "completed_at",
    "created_at",
    "updated_at",
    "deleted_at",
];
const COMMENT: [&str; 7] = ["id", "task_id", "author_id", "body", "created_at", "updated_at", "deleted_at"];

const PRIORITIES: [(u64, Priority); 4] =
    [(20, Priority::Low), (65, Priority::Medium), (90, Priority::High), (100, Priority::Urgent)];
/// Of tasks that are not completed.
const STATUSES: [(u64, Status); 3] = [(60, Status::Todo), (85, Status::InProgress), (100, Status::InReview)];

/// In percent.
const COMPLETED: u64 = 65;
const ASSIGNED: u64 = 80;
const DATED: u64 = 75;
const DESCRIBED: u64 = 40;
const DELETED: u64 = 10;

/// How long a task takes at most,.
const WORK: TimeDelta = TimeDelta::days(60);

/// The id of a chunk's first task: where it is there, the whole chunk is.
pub(super) fn first_id(data: &DataSet, number: u64) -> Uuid {
    begin(&mut data.chance("tasks", number), data, data.chunk(number).start).0
}

/// Makes a chunk.
pub(super) fn chunk(data: &DataSet, frame: &Frame, number: u64) -> Chunk {
    let mut chance = data.chance("tasks", number);
    let mut tasks = Rows::new("tasks", &TASK);
    let mut remarks = Vec::new();
    let (mut title, mut description) = (String::new(), String::new());
    for task in data.chunk(number) {
        let (id, created_at) = begin(&mut chance, data, task);
        let home = frame.home(&mut chance);
        let course = Course::new(&mut chance, data, created_at);
        let assignee_id = chance.percent(ASSIGNED).then(|| chance.pick(home.writers));
        words::write_title(&mut chance, &mut title);
        let is_described = chance.percent(DESCRIBED);
        if is_described {
            words::write_description(&mut chance, &mut description);
        }
        tasks.push(&[
            &id,
            &home.project_id,
            &assignee_id,
            &title,
            &is_described.then_some(&description),
            &course.status.to_value(),
            &among(&mut chance, &PRIORITIES).to_value(),
            &course.due_date,
            &course.completed_at,
            &created_at,
            &course.updated_at,
            &course.deleted_at,
        ]);
        let end = course.deleted_at.unwrap_or(data.until).min(created_at + WORK);
        for _ in 0..chance.count(data.comments_per_task) {
            remarks.push(Remark { at: chance.soon(created_at, end), task_id: id, home });
        }
    }
    // In the order of time, as they would have come: a task's comments are not beside each other in the table.
    remarks.sort_by_key(|remark| remark.at);
    Chunk { tasks, comments: comments(&mut chance, data, &remarks) }
}

/// The first draws of every task.
fn begin(chance: &mut Chance, data: &DataSet, task: u64) -> (Uuid, DateTime<Utc>) {
    let created_at = chance.spread([data.since(), data.until], task, data.tasks);
    (chance.id(created_at), created_at)
}

/// What became of a task.
struct Course {
    status: Status,
    due_date: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
}

impl Course {
    fn new(chance: &mut Chance, data: &DataSet, created_at: DateTime<Utc>) -> Self {
        let done = chance.percent(COMPLETED).then(|| chance.soon(created_at, created_at + WORK));
        let completed_at = done.filter(|done| *done < data.until);
        let status = if completed_at.is_some() { Status::Completed } else { among(chance, &STATUSES) };
        let due_date = chance.percent(DATED).then(|| {
            // Work that is done was due soon after it came up; dates of open work are moved, so they are around the end.
            let first = if completed_at.is_some() { created_at } else { created_at.max(data.until - Days::new(30)) };
            let day = first.date_naive() + Days::new(1 + chance.below(60));
            day.and_time(END_OF_WORK).and_utc()
        });
        let changed = match status {
            Status::Todo => created_at,
            _ => completed_at.unwrap_or_else(|| chance.soon(created_at, data.until)),
        };
        let deleted_at = chance.percent(DELETED).then(|| chance.moment(changed, data.until));
        Self { status, due_date, completed_at, updated_at: deleted_at.unwrap_or(changed), deleted_at }
    }
}

/// When things are due: many tasks of a day are due at the same instant.
const END_OF_WORK: NaiveTime = match NaiveTime::from_hms_opt(17, 0, 0) {
    Some(time) => time,
    None => NaiveTime::MIN,
};

/// A comment before it has a text.
struct Remark<'a> {
    at: DateTime<Utc>,
    task_id: Uuid,
    home: Home<'a>,
}

fn comments(chance: &mut Chance, data: &DataSet, remarks: &[Remark<'_>]) -> Rows {
    let mut rows = Rows::new("comments", &COMMENT);
    let mut body = String::new();
    for Remark { at, task_id, home } in remarks {
        let (id, author_id) = (chance.id(*at), chance.pick(home.writers));
        words::write_remark(chance, &mut body);
        let deleted_at = chance.percent(DELETED).then(|| chance.soon(*at, data.until));
        let updated_at = deleted_at.unwrap_or(*at);
        rows.push(&[&id, task_id, &author_id, &body, at, &updated_at, &deleted_at]);
    }
    rows
}
