//! The one shape of a write: a statement that looks, decides and writes, and says why it did not.
//!
//! `seen` finds and locks what the input names, with the caller's membership; `target` decides; `written` writes
//! where the decision is good. Two writers of one row come after each other: the second decides about the row that the
//! first one left.

use chrono::{DateTime, Utc};
use sea_orm::{DbErr, QueryResult};
use uuid::Uuid;

use super::access::Action;
use crate::database::{Bound, Exchange, NamedStatement, TENANT};
use crate::error::{Error, Failure, UserError, UserErrorCode};

/// From a project `p` to its live workspace `w`, and to the membership `m` of the live caller, who is `$1`.
pub(super) const TO_CALLER: &str = "\
    JOIN workspaces w ON w.id = p.workspace_id AND w.deleted_at IS NULL \
    JOIN members m ON m.workspace_id = w.id AND m.user_id = $1 AND m.deleted_at IS NULL \
    JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL";

/// When the row was last changed, strictly growing.
pub(super) const TOUCH: &str = "updated_at = greatest(clock_timestamp(), t.updated_at + interval '1 microsecond')";

/// The statement that changes the row that `target` has found, where that is good.
pub(super) fn update(table: &str, set: &str) -> String {
    format!("UPDATE {table} t SET {set}, {TOUCH} FROM target WHERE t.id = target.target_id AND target.good")
}

/// A condition on what a write refers to, and what a person is told where it does not hold.
pub struct Check {
    /// In SQL, on what `seen` has found.
    pub condition: String,
    /// What a person is told.
    pub otherwise: UserError,
}

/// How rows of a noun are read.
pub struct Columns<T> {
    /// The select list, each column behind the alias.
    pub list: fn(&str) -> String,
    /// How many columns that is.
    pub count: usize,
    /// Reads a row whose columns start at an index.
    pub decode: fn(&QueryResult, usize) -> Result<T, DbErr>,
}

/// A write, on its way to SQL.
pub struct Write {
    /// The statement's name.
    pub name: &'static str,
    /// What the input names, in a word for people.
    pub noun: &'static str,
    /// The input's field that names it.
    pub field: &'static str,
    /// What is being done.
    pub action: Action,
    /// The condition that the row is the caller's own.
    pub own: &'static str,
    /// What of it the statement that writes needs: columns for `target`.
    pub target: &'static str,
    /// `FROM … WHERE …`: how to find it by `$2`, with the caller's membership `m`; an existing row is `t`.
    pub from: String,
    /// What must hold besides.
    pub checks: Vec<Check>,
    /// A statement that comes before it, as a member of WITH and with a comma behind it; empty where there is none.
    pub before: String,
    /// What is written: `INSERT … SELECT … FROM target WHERE target.good`, or the like with UPDATE.
    pub writes: String,
}

/// The row that a write changes.
pub enum Existing {
    /// There is none yet.
    New,
    /// It must be as the caller last saw it, where the caller says when that was.
    Row {
        /// The row's `updated_at`.
        expected: Option<DateTime<Utc>>,
    },
}

impl Write {
    /// The statement, and what its rows say.
    pub(super) fn exchange<T: 'static>(self, bound: Bound, columns: Columns<T>, existing: Existing) -> Exchange<T> {
        let statement = self.statement(bound, &columns, &existing);
        Exchange::new(statement, move |rows| {
            let Some(row) = rows.first() else {
                let message = format!("There is no such {}.", self.noun);
                return Err(UserError::of(self.field, UserErrorCode::NotFound, message).into());
            };
            self.read(row, &columns, &existing)
        })
    }

    fn statement<T>(&self, mut bound: Bound, columns: &Columns<T>, existing: &Existing) -> NamedStatement {
        let allowed = self.action.allowed(self.own, &mut bound);
        let numbered = |text: fn(usize, &Check) -> String| {
            self.checks.iter().enumerate().map(|(n, check)| text(n, check)).collect::<Vec<_>>().concat()
        };
        let checks = numbered(|n, check| format!(", {} AS check_{n}", check.condition));
        let all_checks = numbered(|n, _| format!(" AND check_{n}"));
        let (fresh, lock) = match existing {
            Existing::New => ("true".to_owned(), ""),
            Existing::Row { expected: None } => ("true".to_owned(), "FOR UPDATE OF t"),
            Existing::Row { expected: Some(expected) } => {
                (format!("t.updated_at = {}", bound.bind(*expected)), "FOR UPDATE OF t")
            }
        };
        let (current, shown) = match existing {
            Existing::New => (String::new(), String::new()),
            Existing::Row { .. } => (format!(", {}", (columns.list)("t")), format!(", {}", (columns.list)("target"))),
        };
        let sql = format!(
            "WITH seen AS (SELECT {target}, {allowed} AS allowed, {fresh} AS fresh{checks}{current}, m.workspace_id AS {TENANT} {from} {lock}), \
             target AS (SELECT seen.*, allowed AND fresh{all_checks} AS good FROM seen), \
             {before}written AS ({write} RETURNING {written}) \
             SELECT target.allowed, target.fresh{seen_checks}{shown}, written.*, target.{TENANT} FROM target LEFT JOIN written ON true",
            target = self.target,
            from = self.from,
            before = self.before,
            write = self.writes,
            written = (columns.list)("t"),
            seen_checks = numbered(|n, _| format!(", target.check_{n}")),
        );
        NamedStatement::new(self.name, sql, bound.into_values())
    }

    /// The row that was written, or why none was.
    fn read<T>(&self, row: &QueryResult, columns: &Columns<T>, existing: &Existing) -> Result<T, Failure<T>> {
        let holds = |index| row.try_get_by_index::<bool>(index).map_err(Error::from);
        let at_current = 2 + self.checks.len();
        let at_written = match existing {
            Existing::New => at_current,
            Existing::Row { .. } => at_current + columns.count,
        };
        if row.try_get_by_index::<Option<Uuid>>(at_written).map_err(Error::from)?.is_some() {
            return Ok((columns.decode)(row, at_written).map_err(Error::from)?);
        }
        if !holds(0)? {
            return Err(UserError::of(self.field, UserErrorCode::Forbidden, self.action.refusal()).into());
        }
        let mut errors = Vec::new();
        for (n, check) in self.checks.iter().enumerate() {
            if !holds(2 + n)? {
                errors.push(check.otherwise.clone());
            }
        }
        let mut current = None;
        if !holds(1)? {
            current = Some((columns.decode)(row, at_current).map_err(Error::from)?);
            let message = format!("The {} has changed since. Here it is as it is now.", self.noun);
            errors.push(UserError::of("expectedUpdatedAt", UserErrorCode::Conflict, message));
        }
        Err(Failure::Refused { errors, current })
    }
}
