//! Every page and every count of workspaces, members, projects and comments; and every way to cut any list.

use super::{Kind, Registered, Sample, load};
use crate::config::DEFAULT_PAGE;
use crate::entities::member::Role;
use crate::entities::project::Status;
use crate::loaders::comment::CommentsOfTask;
use crate::loaders::member::MembersOfWorkspace;
use crate::loaders::page::{Deleted, Direction, Page, PageKey, Position, Start, Walk};
use crate::loaders::project::{Filter, OrderField, ProjectsOfWorkspace};
use crate::loaders::workspace::WorkspacesOfUser;
use crate::schema::page::WHOLE;

const DIRECTIONS: [Direction; 2] = [Direction::Ascending, Direction::Descending];

pub(super) const DELETED: [Deleted; 3] = [Deleted::Exclude, Deleted::Include, Deleted::Only];

/// Which soft-deleted rows a list shows, in words.
pub(super) fn in_deleted(deleted: Deleted) -> &'static str {
    match deleted {
        Deleted::Exclude => "",
        Deleted::Include => "with deleted",
        Deleted::Only => "only deleted",
    }
}

/// The words that say something, in a row.
pub(super) fn in_words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
}

/// From where pages are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Starts {
    /// From the list's beginning.
    Beginning,
    /// From there, and after a cursor.
    Usual,
    /// From everywhere, either way.
    Every,
}

/// What a page has to do with a position in its list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// Nothing: it starts where the list does.
    None,
    /// It starts next to it.
    Beyond,
    /// It is one row, which tells whether anything lies there or on the other side.
    Probe,
}

/// Every way to cut a list, in words, the usual ones first.
const CUTS: [(&str, Relation, Walk); 6] = [
    ("first page", Relation::None, Walk::Forward),
    ("after a cursor", Relation::Beyond, Walk::Forward),
    ("last page", Relation::None, Walk::Backward),
    ("before a cursor", Relation::Beyond, Walk::Backward),
    ("is there a previous page", Relation::Probe, Walk::Backward),
    ("is there a next page", Relation::Probe, Walk::Forward),
];

impl Relation {
    fn page(self, position: Position, walk: Walk) -> Page {
        match self {
            Self::None => Page { limit: DEFAULT_PAGE, start: Start::End, walk },
            Self::Beyond => Page { limit: DEFAULT_PAGE, start: Start::Beyond(position), walk },
            Self::Probe => Page { limit: 1, start: Start::At(position), walk },
        }
    }
}

/// Pages of lists that differ only in their parents.
pub(super) fn pages<K: PageKey>(sample: &Sample, words: &str, lists: &[K], starts: Starts) -> Vec<Registered> {
    let count = match starts {
        Starts::Beginning => 1,
        Starts::Usual => 2,
        Starts::Every => CUTS.len(),
    };
    let in_middle = CUTS.iter().take(count).filter_map(|(start, relation, walk)| {
        page(sample, [start, words], lists, |list| relation.page(sample.middle(list.order(), list.parent()), *walk))
    });
    // Rows without a date come last, in an order of their own.
    let has_undated = starts == Starts::Every && lists.first().is_some_and(|list| list.order().contains("due_date"));
    let at_undated = CUTS.iter().filter(|(_, relation, _)| has_undated && *relation != Relation::None);
    let among_undated = at_undated.filter_map(|(start, relation, walk)| {
        let start = format!("{start} among tasks without a date");
        page(sample, [&start, words], lists, |list| relation.page(sample.undated(list.parent()), *walk))
    });
    in_middle.chain(among_undated).collect()
}

fn page<K: PageKey>(
    sample: &Sample,
    [start, words]: [&str; 2],
    lists: &[K],
    cut: impl Fn(&K) -> Page,
) -> Option<Registered> {
    let direction = match K::direction(&lists.first()?.arguments()) {
        Direction::Ascending => "ascending",
        Direction::Descending => "descending",
    };
    let keys: Vec<K> = lists.iter().map(|list| list.with_page(cut(list))).collect();
    load(Kind::Row, &in_words([direction, start, words]), sample, &keys)
}

/// How many rows each of such lists has.
pub(super) fn count<K: PageKey>(sample: &Sample, words: &str, lists: &[K]) -> Option<Registered> {
    load(Kind::Row, words, sample, &lists.iter().map(PageKey::count).collect::<Vec<_>>())
}

/// Every page and every count but those of tasks.
pub(super) fn statements(sample: &Sample) -> Vec<Registered> {
    let workspaces = [WorkspacesOfUser { user_id: sample.viewer, page: WHOLE }];
    let mut all = of_lists(sample, "", &workspaces);
    for (roles, words) in [(None, ""), (Some(vec![Role::Admin, Role::Member]), "role")] {
        let list = |id: &_| MembersOfWorkspace { workspace_id: *id, roles: roles.clone(), page: WHOLE };
        all.extend(of_lists(sample, words, &sample.workspaces.iter().map(list).collect::<Vec<_>>()));
    }
    let orders = [OrderField::CreatedAt, OrderField::Name].into_iter().flat_map(|by| DIRECTIONS.map(|to| (by, to)));
    for ((filter, words), order) in
        project_filters(sample).iter().flat_map(|filter| orders.clone().map(move |o| (filter, o)))
    {
        let list = |id: &_| ProjectsOfWorkspace { workspace_id: *id, filter: filter.clone(), order, page: WHOLE };
        all.extend(of_lists(sample, words, &sample.workspaces.iter().map(list).collect::<Vec<_>>()));
    }
    for (deleted, direction) in DELETED.into_iter().flat_map(|deleted| DIRECTIONS.map(|direction| (deleted, direction)))
    {
        let list = |id: &_| CommentsOfTask { task_id: *id, deleted, direction, page: WHOLE };
        all.extend(of_lists(sample, in_deleted(deleted), &sample.tasks.iter().map(list).collect::<Vec<_>>()));
    }
    all
}

fn of_lists<K: PageKey>(sample: &Sample, words: &str, lists: &[K]) -> Vec<Registered> {
    pages(sample, words, lists, Starts::Every).into_iter().chain(count(sample, words, lists)).collect()
}

fn project_filters(sample: &Sample) -> Vec<(Filter, String)> {
    let mut all = Vec::new();
    for deleted in DELETED {
        for (statuses, status) in [(None, ""), (Some(vec![Status::Active, Status::Paused]), "status")] {
            for (text, name) in [(None, ""), (Some(sample.word_of_project.clone()), "part of the name")] {
                let filter = Filter { statuses: statuses.clone(), name_contains: text, deleted };
                all.push((filter, in_words([in_deleted(deleted), status, name])));
            }
        }
    }
    all
}
