//! Every statement that the server can send, under its name and with values to run it: made by the very functions that
//! make it for a request, so there is no second text of any.
//!
//! A name has variants: a list's order, start, projection and filter are each a text of their own, and the tasks alone
//! have half a million. [`representative`] has each choice at least once, for plans; [`every`] has all, one by one.

mod list;
mod purpose;
mod sample;
mod task;
mod write;

pub use purpose::PURPOSES;
pub use sample::{Parents, Sample};

use std::collections::{BTreeSet, HashSet};

use crate::batch::Key;
use crate::database::{self, NamedStatement};
use crate::loaders::comment::CommentById;
use crate::loaders::member::{MemberById, ViewerRole};
use crate::loaders::project::ProjectById;
use crate::loaders::task::TaskById;
use crate::loaders::user::UserById;
use crate::loaders::workspace::{WorkspaceById, WorkspaceBySlug};
use crate::reports::Subject;
use crate::reports::assignee::LoadByAssignee;
use crate::reports::duration::CycleTime;
use crate::reports::overdue::Overdue;
use crate::reports::project::LoadByProject;
use crate::reports::task::Tally;
use crate::reports::throughput::{Interval, Range, Throughput};
use crate::{migrate, token};

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads rows.
    Row,
    /// Aggregates.
    Report,
    /// Changes rows, or locks them.
    Write,
    /// Keeps the server going.
    Upkeep,
}

/// A statement that the server can send.
#[derive(Clone, Debug)]
pub struct Registered {
    /// What it is for.
    pub kind: Kind,
    /// What sets it apart from others of its name, for people; empty where it has no choices.
    pub variant: String,
    /// The text and its name, with values from a sample.
    pub statement: NamedStatement,
}

impl Registered {
    /// The name that it shares with its variants.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.statement.name()
    }

    /// What it answers or does, in a line.
    #[must_use]
    pub fn purpose(&self) -> &'static str {
        purpose::of(self.name())
    }

    /// Name and variant.
    #[must_use]
    pub fn title(&self) -> String {
        if self.variant.is_empty() { self.name().to_owned() } else { format!("{}: {}", self.name(), self.variant) }
    }
}

/// Each name in each of its orders, directions, starts and projections, and with each filter alone: every text once.
/// Writes come last: even rolled back they leave dead rows, which the others would find on their way.
pub fn representative(sample: &Sample) -> impl Iterator<Item = Registered> {
    let mut seen = HashSet::new();
    let of_tasks = task::shapes().into_iter().flat_map(|shape| shape.representative(sample));
    let (writes, reads): (Vec<_>, Vec<_>) = few(sample).into_iter().partition(|one| one.kind == Kind::Write);
    let all = reads.into_iter().chain(of_tasks).chain(writes);
    all.filter(move |registered| seen.insert(registered.statement.sql().to_owned()))
}

/// All of them, those with few filters first. Texts may come twice.
pub fn every(sample: &Sample) -> impl Iterator<Item = Registered> {
    few(sample).into_iter().chain(task::shapes().into_iter().flat_map(|shape| shape.statements(sample)))
}

/// What every command sends, made anew: each row that is created has an id of its own. Last comes what a write under an
/// idempotency key sends besides.
#[must_use]
pub fn writes(sample: &Sample) -> Vec<Registered> {
    let of_keys = of_database(sample).filter(|registered| registered.kind == Kind::Write);
    write::statements(sample).into_iter().chain(of_keys).collect()
}

/// Those of the texts that are in no statement of the registry.
#[must_use]
pub fn unregistered(mut texts: BTreeSet<String>) -> BTreeSet<String> {
    let sample = Sample::of_nothing();
    let mut registered = every(&sample);
    while !texts.is_empty() {
        let Some(next) = registered.next() else { break };
        texts.remove(next.statement.sql());
    }
    texts
}

/// Everything but the tasks' lists and counts.
fn few(sample: &Sample) -> Vec<Registered> {
    let mut all: Vec<Registered> = by_key(sample).collect();
    all.extend(list::statements(sample));
    all.extend(reports(sample));
    all.extend(write::statements(sample));
    all.extend(of_database(sample));
    let at_start = migrate::statements().into_iter().chain([token::user_by_email(&sample.email)]);
    all.extend(at_start.map(|statement| Registered { kind: Kind::Upkeep, variant: String::new(), statement }));
    all
}

fn of_database(sample: &Sample) -> impl Iterator<Item = Registered> {
    database::statements(sample.viewer).into_iter().map(|statement| Registered {
        kind: if statement.name().starts_with("idempotency") { Kind::Write } else { Kind::Upkeep },
        variant: String::new(),
        statement,
    })
}

/// The statement that loads keys of one group; none for no keys.
fn load<K: Key>(kind: Kind, variant: &str, sample: &Sample, keys: &[K]) -> Option<Registered> {
    let group = keys.first()?.group();
    let statement = K::statement(&group, keys, sample.viewer).keys(keys.len());
    Some(Registered { kind, variant: variant.to_owned(), statement })
}

fn by_key(sample: &Sample) -> impl Iterator<Item = Registered> {
    fn rows<T: Clone, K: Key>(sample: &Sample, of: &[T], key: fn(T) -> K) -> Option<Registered> {
        load(Kind::Row, "", sample, &of.iter().cloned().map(key).collect::<Vec<_>>())
    }
    let all = [
        rows(sample, &sample.users, UserById),
        rows(sample, &sample.workspaces, WorkspaceById),
        rows(sample, &sample.slugs, WorkspaceBySlug),
        rows(sample, &sample.workspaces, ViewerRole),
        rows(sample, &sample.members, MemberById),
        rows(sample, &sample.projects, ProjectById),
        rows(sample, &sample.tasks, TaskById),
        rows(sample, &sample.comments, CommentById),
    ];
    all.into_iter().flatten()
}

fn reports(sample: &Sample) -> impl Iterator<Item = Registered> {
    let projects: Vec<Subject> = sample.projects.iter().copied().map(Subject::Project).collect();
    let workspaces: Vec<Subject> = sample.workspaces.iter().copied().map(Subject::Workspace).collect();
    let by_project: Vec<LoadByProject> = sample.workspaces.iter().copied().map(LoadByProject).collect();
    let of_subjects = [projects, workspaces].into_iter().flat_map(|subjects| reports_of(sample, &subjects));
    of_subjects.chain(load(Kind::Report, "", sample, &by_project))
}

fn reports_of(sample: &Sample, subjects: &[Subject]) -> Vec<Registered> {
    fn report<K: Key>(sample: &Sample, subjects: &[Subject], key: impl Fn(Subject) -> K) -> Option<Registered> {
        load(Kind::Report, "", sample, &subjects.iter().copied().map(key).collect::<Vec<_>>())
    }
    let Sample { last_quarter: (from, to), .. } = sample;
    let range = Range { interval: Interval::Week, from: *from, to: *to, time_zone: "Europe/Berlin".to_owned() };
    let all = [
        report(sample, subjects, Tally),
        report(sample, subjects, LoadByAssignee),
        report(sample, subjects, Overdue),
        report(sample, subjects, |subject| CycleTime { subject, from: Some(*from), to: Some(*to) }),
        report(sample, subjects, |subject| Throughput { subject, range: range.clone() }),
    ];
    all.into_iter().flatten().collect()
}
