//! What tasks need before they can be: the people, their workspaces and memberships, and the projects. All of it is made
//! in the two months before the history begins.

use chrono::{DateTime, Days, Utc};
use sea_orm::ActiveEnum;
use uuid::Uuid;

use super::chance::Chance;
use super::data_set::DataSet;
use super::words;
use crate::database::copy::Rows;
use crate::entities::member::Role;
use crate::entities::project::Status;

/// Where a task can be and who can write it.
pub(super) struct Frame {
    /// The user who owns every workspace.
    pub owner_id: Uuid,
    projects: Vec<Uuid>,
    /// For each project, the sum of the weights up to it.
    reach: Vec<u64>,
    /// For each workspace, the live members who may write tasks. Project n is in workspace n modulo their number.
    writers: Vec<Vec<Uuid>>,
}

/// A project, and who may write in it.
#[derive(Clone, Copy)]
pub(super) struct Home<'a> {
    pub project_id: Uuid,
    pub writers: &'a [Uuid],
}

/// How many users each workspace brings along; they are members of the next workspace too.
const USERS_PER_WORKSPACE: u64 = 100;

const ROLES: [(u64, Role); 3] = [(80, Role::Member), (95, Role::Viewer), (100, Role::Admin)];
const STATUSES: [(u64, Status); 4] =
    [(70, Status::Active), (80, Status::Paused), (95, Status::Completed), (100, Status::Archived)];

/// In percent.
const FORMER_MEMBERS: u64 = 3;
const DELETED_PROJECTS: u64 = 4;

impl Frame {
    /// Makes it, and its rows in the order in which they refer to each other.
    pub fn new(data: &DataSet) -> (Self, [Rows; 4]) {
        let (users, user_rows) = users(data);
        let (workspaces, workspace_rows) = workspaces(data);
        let (writers, member_rows) = members(data, &workspaces, &users);
        let (projects, project_rows) = projects(data, &workspaces);
        let sum = |sum: &mut u64, weight: u64| {
            *sum += weight;
            Some(*sum)
        };
        let reach = data.weights().into_iter().scan(0, sum).collect();
        let owner_id = users.first().copied().unwrap_or_default();
        (Self { owner_id, projects, reach, writers }, [user_rows, workspace_rows, member_rows, project_rows])
    }

    /// Where the next task is: large projects come up more often.
    pub fn home(&self, chance: &mut Chance) -> Home<'_> {
        let drawn = chance.below(self.reach.last().copied().unwrap_or_default());
        let index = self.reach.partition_point(|reach| *reach <= drawn);
        Home { project_id: self.projects[index], writers: &self.writers[index % self.writers.len()] }
    }
}

/// Days before the history begins.
fn before(data: &DataSet, days: u64) -> DateTime<Utc> {
    data.since() - Days::new(days)
}

fn users(data: &DataSet) -> (Vec<Uuid>, Rows) {
    let mut chance = data.chance("users", 0);
    let mut rows = Rows::new("users", &["id", "email", "name", "created_at", "updated_at"]);
    let count = data.workspaces * USERS_PER_WORKSPACE;
    let time = [before(data, 60), before(data, 40)];
    let mut ids = Vec::new();
    for number in 0..count {
        let at = chance.spread(time, number, count);
        let id = chance.id(at);
        let (first, last) = words::person(&mut chance);
        let email = match number {
            0 => data.email(),
            _ => format!("{}.{}.{number}@{}.example.com", first.to_lowercase(), last.to_lowercase(), data.tag()),
        };
        rows.push(&[&id, &email, &format!("{first} {last}"), &at, &at]);
        ids.push(id);
    }
    (ids, rows)
}

fn workspaces(data: &DataSet) -> (Vec<Uuid>, Rows) {
    let mut chance = data.chance("workspaces", 0);
    let mut rows = Rows::new("workspaces", &["id", "name", "slug", "created_at", "updated_at"]);
    let time = [before(data, 40), before(data, 35)];
    let mut ids = Vec::new();
    for number in 0..data.workspaces {
        let at = chance.spread(time, number, data.workspaces);
        let id = chance.id(at);
        let (quality, trade) = words::workspace_name(&mut chance);
        let slug = format!("{}-{}-{}-{number}", quality.to_lowercase(), trade.to_lowercase(), data.tag());
        rows.push(&[&id, &format!("{quality} {trade}"), &slug, &at, &at]);
        ids.push(id);
    }
    (ids, rows)
}

fn members(data: &DataSet, workspaces: &[Uuid], users: &[Uuid]) -> (Vec<Vec<Uuid>>, Rows) {
    let mut chance = data.chance("members", 0);
    let columns = &["id", "workspace_id", "user_id", "role", "joined_at", "created_at", "updated_at", "deleted_at"];
    let mut rows = Rows::new("members", columns);
    let Some((owner, users)) = users.split_first() else { return (Vec::new(), rows) };
    let per_workspace = users.len().div_ceil(workspaces.len().max(1));
    let groups: Vec<&[Uuid]> = users.chunks(per_workspace.max(1)).collect();
    let mut writers = Vec::new();
    for (index, workspace_id) in workspaces.iter().enumerate() {
        let own = groups.get(index).copied().unwrap_or_default();
        let others = if groups.len() > 1 { groups[(index + groups.len() - 1) % groups.len()] } else { &[] };
        let (from, to) = (before(data, 35), before(data, 30));
        let mut of_workspace = Vec::new();
        for user_id in std::iter::once(owner).chain(own).chain(others) {
            let at = chance.moment(from, to);
            let (id, drawn, is_former) = (chance.id(at), among(&mut chance, &ROLES), chance.percent(FORMER_MEMBERS));
            let role = if user_id == owner { Role::Owner } else { drawn };
            let left = (is_former && user_id != owner).then(|| chance.moment(data.since(), data.until));
            let changed = left.unwrap_or(at);
            rows.push(&[&id, workspace_id, user_id, &role.to_value(), &at, &at, &changed, &left]);
            if left.is_none() && role.is_at_least(Role::Member) {
                of_workspace.push(*user_id);
            }
        }
        writers.push(of_workspace);
    }
    (writers, rows)
}

fn projects(data: &DataSet, workspaces: &[Uuid]) -> (Vec<Uuid>, Rows) {
    let mut chance = data.chance("projects", 0);
    let columns = &["id", "workspace_id", "name", "status", "created_at", "updated_at", "deleted_at"];
    let mut rows = Rows::new("projects", columns);
    let time = [before(data, 30), data.since()];
    let mut ids = Vec::new();
    for (number, workspace_id) in (0..data.projects).zip(workspaces.iter().cycle()) {
        let at = chance.spread(time, number, data.projects);
        let id = chance.id(at);
        let name = words::project_name(&mut chance);
        let (status, is_deleted) = (among(&mut chance, &STATUSES), chance.percent(DELETED_PROJECTS));
        let deleted = (is_deleted && number > 0).then(|| chance.moment(data.since(), data.until));
        // The largest is there to be looked at.
        let status = if number == 0 { Status::Active } else { status };
        rows.push(&[&id, workspace_id, &name, &status.to_value(), &at, &deleted.unwrap_or(at), &deleted]);
        ids.push(id);
    }
    (ids, rows)
}

/// One of some values, each beside the percentage that it and those before it make up.
pub(super) fn among<T: Copy, const N: usize>(chance: &mut Chance, values: &[(u64, T); N]) -> T {
    let drawn = chance.below(100);
    let index = values.partition_point(|(reach, _)| *reach <= drawn);
    values[index].1
}
