//! Every page and every count of tasks: each level, order, direction, start and projection, with every set of filters.

use sea_orm::Iterable;
use uuid::Uuid;

use super::list::{DELETED, Starts, count, in_deleted, in_words, pages};
use super::{Registered, Sample};
use crate::entities::task::{Priority, Projection, Status};
use crate::loaders::page::{Deleted, Direction};
use crate::loaders::task::{Filter, OrderField, Parent, TaskPage};
use crate::schema::page::WHOLE;

/// A condition of a filter: its name, and how it is set.
type Condition = (&'static str, fn(&mut Filter, &Sample));

/// Each group holds what one field of the filter can be, apart from what is bound; at most one of each group is set.
const CONDITIONS: [&[Condition]; 9] = [
    &[
        ("status", |filter, _| filter.statuses = Some(vec![Status::InReview, Status::Completed])),
        ("open status", |filter, _| filter.statuses = Some(vec![Status::Todo, Status::InProgress])),
    ],
    &[("priority", |filter, _| filter.priorities = Some(vec![Priority::High, Priority::Urgent]))],
    &[
        ("assignee", |filter, sample| filter.assignees = Some(sample.assignees.iter().copied().map(Some).collect())),
        ("assignee or nobody", |filter, sample| {
            filter.assignees = Some(sample.assignees.iter().copied().map(Some).chain([None]).collect());
        }),
    ],
    &[("due before", |filter, sample| filter.due_before = Some(sample.due_date))],
    &[("due after", |filter, sample| filter.due_after = Some(sample.due_date))],
    &[("overdue", |filter, _| filter.overdue = Some(true)), ("not overdue", |filter, _| filter.overdue = Some(false))],
    &[("created before", |filter, sample| filter.created_before = Some(sample.last_quarter.1))],
    &[("created after", |filter, sample| filter.created_after = Some(sample.last_quarter.0))],
    &[("part of the title", |filter, sample| filter.title_contains = Some(sample.word_of_task.clone()))],
];

/// Filters that people set together: what a plan has to bear besides each alone.
const TOGETHER: [&[&str]; 4] = [
    &["open status", "assignee"],
    &["status", "priority", "part of the title"],
    &["due before", "due after"],
    &["assignee or nobody", "overdue"],
];

/// A set of conditions, one of each group at most.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape(Vec<Condition>);

/// Every shape, those of few conditions first.
pub(super) fn shapes() -> Vec<Shape> {
    let mut shapes = vec![Shape::default()];
    for group in CONDITIONS {
        let with = |shape: &Shape| {
            let shape = shape.clone();
            group.iter().map(move |condition| Shape(shape.0.iter().copied().chain([*condition]).collect()))
        };
        let more: Vec<Shape> = shapes.iter().flat_map(with).collect();
        shapes.extend(more);
    }
    shapes.sort_by_key(|shape| shape.0.len());
    shapes
}

/// Whose tasks, with what the server can ask of them.
struct Level {
    parents: fn(&Sample) -> Vec<Parent>,
    orders: &'static [(OrderField, Direction)],
    deleted: &'static [Deleted],
    /// Whether a page can start elsewhere than at the list's beginning.
    is_cut: bool,
}

const NEWEST_FIRST: (OrderField, Direction) = (OrderField::CreatedAt, Direction::Descending);
const DUE_FIRST: (OrderField, Direction) = (OrderField::DueDate, Direction::Ascending);
const ORDERS: [(OrderField, Direction); 4] = [
    NEWEST_FIRST,
    (OrderField::CreatedAt, Direction::Ascending),
    DUE_FIRST,
    (OrderField::DueDate, Direction::Descending),
];

const LEVELS: [Level; 4] = [
    Level {
        parents: |sample| sample.projects.iter().copied().map(Parent::Project).collect(),
        orders: &ORDERS,
        deleted: &DELETED,
        is_cut: true,
    },
    Level {
        parents: |sample| {
            let columns = |id: &Uuid| Status::iter().map(|status| Parent::Column(*id, status)).collect::<Vec<_>>();
            sample.projects.iter().flat_map(columns).collect()
        },
        orders: &[NEWEST_FIRST],
        deleted: &[Deleted::Exclude],
        is_cut: false,
    },
    Level {
        parents: |sample| sample.workspaces.iter().copied().map(Parent::Workspace).collect(),
        orders: &ORDERS,
        deleted: &DELETED,
        is_cut: true,
    },
    Level {
        parents: |sample| sample.assignees.iter().copied().map(Parent::Assignee).collect(),
        orders: &ORDERS,
        deleted: &[Deleted::Exclude],
        is_cut: true,
    },
];

impl Level {
    /// Those lists of a filter that are asked for most.
    fn usual(&self) -> impl Iterator<Item = ((OrderField, Direction), Deleted, Projection)> {
        let orders = self.orders.iter().filter(|order| [NEWEST_FIRST, DUE_FIRST].contains(order));
        orders.map(|order| (*order, Deleted::Exclude, Projection::Card))
    }

    /// Every list of a filter.
    fn every(&self) -> impl Iterator<Item = ((OrderField, Direction), Deleted, Projection)> {
        let of_order = |order: &(OrderField, Direction)| {
            // The index that holds a card holds no deleted row.
            let full = self.deleted.iter().map(|deleted| (*deleted, Projection::Full));
            let lists = [(Deleted::Exclude, Projection::Card)].into_iter().chain(full);
            let order = *order;
            lists.map(move |(deleted, projection)| (order, deleted, projection))
        };
        self.orders.iter().flat_map(of_order)
    }
}

impl Shape {
    /// Every page and every count with this filter.
    pub(super) fn statements(&self, sample: &Sample) -> Vec<Registered> {
        let of_level = |level: &Level| {
            let pages =
                level.every().flat_map(|list| self.pages(sample, level, list, Starts::Every)).collect::<Vec<_>>();
            let counts = level.deleted.iter().filter_map(|deleted| self.count(sample, level, *deleted));
            pages.into_iter().chain(counts).collect::<Vec<_>>()
        };
        LEVELS.iter().flat_map(of_level).collect()
    }

    /// Those of them that plans are made for: all of them without a filter, the usual ones with a usual filter.
    pub(super) fn representative(&self, sample: &Sample) -> Vec<Registered> {
        let names: Vec<&str> = self.names().collect();
        match names.len() {
            0 => return self.statements(sample),
            1 => {}
            _ if TOGETHER.contains(&names.as_slice()) => {}
            _ => return Vec::new(),
        }
        let of_level = |level: &Level| {
            let pages =
                level.usual().flat_map(|list| self.pages(sample, level, list, Starts::Usual)).collect::<Vec<_>>();
            pages.into_iter().chain(self.count(sample, level, Deleted::Exclude)).collect::<Vec<_>>()
        };
        LEVELS.iter().flat_map(of_level).collect()
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }

    fn pages(
        &self,
        sample: &Sample,
        level: &Level,
        (order, deleted, projection): ((OrderField, Direction), Deleted, Projection),
        starts: Starts,
    ) -> Vec<Registered> {
        let columns = match projection {
            Projection::Card => "card",
            Projection::Full => "full row",
        };
        let lists: Vec<TaskPage> = self.lists(sample, level, order, deleted).collect();
        let lists: Vec<TaskPage> = lists.into_iter().map(|list| TaskPage { projection, ..list }).collect();
        let starts = if level.is_cut { starts } else { Starts::Beginning };
        let words = in_words([columns, in_deleted(deleted)].into_iter().chain(self.names()));
        pages(sample, &words, &lists, starts)
    }

    fn count(&self, sample: &Sample, level: &Level, deleted: Deleted) -> Option<Registered> {
        let lists: Vec<TaskPage> = self.lists(sample, level, NEWEST_FIRST, deleted).collect();
        count(sample, &in_words([in_deleted(deleted)].into_iter().chain(self.names())), &lists)
    }

    /// The list of each parent.
    fn lists(
        &self,
        sample: &Sample,
        level: &Level,
        order: (OrderField, Direction),
        deleted: Deleted,
    ) -> impl Iterator<Item = TaskPage> {
        let mut filter = Filter { deleted, ..Filter::default() };
        for (_, set) in &self.0 {
            set(&mut filter, sample);
        }
        let list =
            move |parent| TaskPage { parent, filter: filter.clone(), order, projection: Projection::Card, page: WHOLE };
        (level.parents)(sample).into_iter().map(list)
    }
}
