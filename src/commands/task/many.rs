//! Changes many tasks alike, in one statement: all of them or none.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveEnum, QueryResult};
use serde::Serialize;
use uuid::Uuid;

use super::{COLUMNS, completed_at, is_nobody_or_member, select};
use crate::commands::Change;
use crate::commands::access::Action;
use crate::commands::write::{TO_CALLER, TOUCH};
use crate::database::{Bound, Command, Exchange, NamedStatement, TENANT};
use crate::entities::task::{Priority, Row, Status};
use crate::error::{Error, Failure, UserError, UserErrorCode};

/// How many tasks one write changes at most.
const MAX_TASKS: usize = 100;

/// Changes many tasks; what is not named stays.
#[derive(Clone, Debug, Serialize)]
pub struct UpdateMany {
    /// The caller.
    pub viewer: Uuid,
    /// Which tasks, at most 100; twice is once.
    pub ids: Vec<Uuid>,
    /// Where they stand; entering or leaving `Completed` sets or clears when each was completed.
    pub status: Option<Status>,
    /// How urgent they are.
    pub priority: Option<Priority>,
    /// When they are due.
    pub due_date: Change<Option<DateTime<Utc>>>,
    /// Who does them: a live member of the workspace of each.
    pub assignee_id: Change<Option<Uuid>>,
}

impl Command for UpdateMany {
    type Output = Vec<Row>;
    const NAME: &'static str = "tasks_update";

    fn faults(&self) -> Vec<UserError> {
        let fault = match self.ids.len() {
            0 => UserError::of("ids", UserErrorCode::Invalid, "Name a task at least."),
            1..=MAX_TASKS => return Vec::new(),
            count => {
                let message = format!("At most {MAX_TASKS} tasks are changed at once; here are {count}.");
                UserError::of("ids", UserErrorCode::LimitExceeded, message)
            }
        };
        vec![fault]
    }

    fn exchange(&self) -> Exchange<Vec<Row>> {
        Exchange::new(self.statement(), |rows| {
            let faults = rows.iter().map(fault).collect::<Result<Vec<_>, _>>()?;
            let faults: Vec<UserError> = faults.into_iter().flatten().collect();
            if !faults.is_empty() {
                return Err(Failure::refused(faults));
            }
            Ok(rows.iter().map(|row| (COLUMNS.decode)(row, 4)).collect::<Result<_, _>>().map_err(Error::from)?)
        })
    }
}

impl UpdateMany {
    /// A row for each id: its place, whether there is such a task, whether the caller may write it, whether the
    /// assignee is a member there, and the task as it was written. Tasks are locked in the order of their ids, so two
    /// such writes never wait for each other in a circle.
    fn statement(&self) -> NamedStatement {
        let mut bound = Bound::new(self.viewer, vec![self.viewer.into(), self.ids.clone().into()]);
        let allowed = Action::WriteTasks.allowed("false", &mut bound);
        let assignee = format!("{}::uuid", bound.bind(self.assignee_id.value().flatten()));
        let status = format!("coalesce({}, t.status)", bound.bind(self.status.map(|status| status.to_value())));
        let set = format!(
            "priority = coalesce({}, t.priority), \
             due_date = CASE WHEN {} THEN {} ELSE t.due_date END, \
             assignee_id = CASE WHEN {} THEN {assignee} ELSE t.assignee_id END, \
             status = {status}, {}, {TOUCH}",
            bound.bind(self.priority.map(|priority| priority.to_value())),
            bound.bind(self.due_date.is_set()),
            bound.bind(self.due_date.value().flatten()),
            bound.bind(self.assignee_id.is_set()),
            completed_at(&status),
        );
        let sql = format!(
            "WITH wanted AS (SELECT id, min(ord) AS ord FROM unnest($2::uuid[]) WITH ORDINALITY AS w (id, ord) GROUP BY id), \
             seen AS (SELECT t.id, {allowed} AS allowed, {member} AS is_member, m.workspace_id AS {TENANT} FROM wanted JOIN tasks t ON t.id = wanted.id \
               JOIN projects p ON p.id = t.project_id AND p.deleted_at IS NULL {TO_CALLER} \
               WHERE t.deleted_at IS NULL ORDER BY t.id FOR UPDATE OF t), \
             target AS (SELECT wanted.ord, seen.id, seen.allowed, seen.is_member, seen.{TENANT}, \
               bool_and(seen.id IS NOT NULL AND seen.allowed AND seen.is_member) OVER () AS good \
               FROM wanted LEFT JOIN seen ON seen.id = wanted.id), \
             written AS (UPDATE tasks t SET {set} FROM target WHERE t.id = target.id AND target.good RETURNING {columns}) \
             SELECT target.ord, target.id IS NOT NULL, coalesce(target.allowed, false), \
               coalesce(target.is_member, false), written.*, target.{TENANT} \
             FROM target LEFT JOIN written ON written.id = target.id ORDER BY target.ord",
            member = is_nobody_or_member(&assignee),
            columns = select("t"),
        );
        NamedStatement::new(Self::NAME, sql, bound.into_values()).keys(self.ids.len())
    }
}

/// What is wrong with one of the tasks.
fn fault(row: &QueryResult) -> Result<Option<UserError>, Error> {
    let place = row.try_get_by_index::<i64>(0)? - 1;
    let at_place = |code, message: String| {
        let mut error = UserError::of("ids", code, message);
        error.field.push(place.to_string());
        Some(error)
    };
    Ok(if !row.try_get_by_index::<bool>(1)? {
        at_place(UserErrorCode::NotFound, "There is no such task.".to_owned())
    } else if !row.try_get_by_index::<bool>(2)? {
        at_place(UserErrorCode::Forbidden, Action::WriteTasks.refusal())
    } else if !row.try_get_by_index::<bool>(3)? {
        let message = "The workspace of this task has no member with the id assigneeId.";
        at_place(UserErrorCode::NotFound, message.to_owned())
    } else {
        None
    })
}
