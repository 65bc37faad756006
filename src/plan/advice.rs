//! What the rules of database design say of a plan: findings, each with its figures and what to do.

use std::collections::BTreeMap;

use serde::Serialize;

use super::catalog::Catalog;
use super::condition::{Comparison, Wrapped, columns, wrapped};
use super::number::{count, counted, figure};
use super::{Node, Plan};
use crate::database::Planning;

/// From how many rows on, in all loops, reading, sorting or throwing them away is worth a word: a table of fewer rows
/// is a few dozen pages, and reading it whole is often right.
const NOTEWORTHY_ROWS: f64 = 1_000.0;

/// From how many buffers on a scan is worth a word that found little in them.
const NOTEWORTHY_BUFFERS: u64 = 100;

/// How many times more or fewer rows than expected make a misestimate, where there are as many as that at all: a join
/// of the wrong kind costs nothing with fewer.
const MISESTIMATE: f64 = 10.0;
const MISESTIMATED_ROWS: f64 = 100.0;

/// From how many rows, and which part of them, an index-only scan looks into the table too often.
const HEAP_FETCHES: f64 = 100.0;
const HEAP_FETCHES_PER_ROW: f64 = 0.1;

/// The rule that a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A table was read from its beginning to its end.
    SequentialScan,
    /// Rows of one table were sorted that an index could have given in order.
    Sort,
    /// The planner expected far more or far fewer rows.
    Misestimate,
    /// A filter looks at a function of a column, which an index on the column cannot serve.
    FunctionOnColumn,
    /// A composite index was read without a condition on its first column.
    UnusedLeadingColumn,
    /// An index-only scan had to look into the table.
    HeapFetches,
    /// Most of the rows that were read did not pass the filter.
    RowsRemoved,
    /// A sort or a hash table did not fit into memory.
    Spill,
}

/// What is to be said of a node.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// The rule.
    pub kind: Kind,
    /// The node, as [`Node::label`] names it.
    pub node: String,
    /// The table, where it is about one.
    pub table: Option<String>,
    /// The index, where it is about one.
    pub index: Option<String>,
    /// The numbers, by name.
    pub figures: BTreeMap<&'static str, f64>,
    /// What is so.
    pub observation: String,
    /// What to do.
    pub advice: String,
}

/// Everything that is to be said of a plan, in the order of its nodes.
#[must_use]
pub fn findings(plan: &Plan, catalog: &Catalog, planning: Planning) -> Vec<Finding> {
    let mut advisor = Advisor { catalog, planning, findings: Vec::new() };
    advisor.look(&plan.root, None, Stop::AtTheEnd);
    advisor.findings
}

/// When a node stops.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// When it has no more rows.
    AtTheEnd,
    /// Perhaps earlier: a node above may have enough.
    Early,
}

struct Advisor<'a> {
    catalog: &'a Catalog,
    planning: Planning,
    findings: Vec<Finding>,
}

impl Advisor<'_> {
    fn look(&mut self, node: &Node, above: Option<&Node>, stop: Stop) {
        if !node.has_run() {
            return;
        }
        self.sequential_scan(node);
        self.unused_leading_column(node);
        self.function_on_column(node);
        self.rows_removed(node);
        self.heap_fetches(node);
        self.misestimate(node, stop);
        self.sort(node, above);
        self.spill(node);
        for below in &node.below {
            self.look(below, Some(node), stop_below(node, below, stop));
        }
    }

    fn find(&mut self, kind: Kind, node: &Node, figures: &[(&'static str, f64)], [observation, advice]: [String; 2]) {
        self.findings.push(Finding {
            kind,
            node: node.label(),
            table: node.table.clone(),
            index: node.index.clone(),
            figures: figures.iter().copied().collect(),
            observation,
            advice,
        });
    }

    fn columns_of(&self, node: &Node) -> &[String] {
        let table = node.table.as_deref().and_then(|table| self.catalog.table(table));
        table.map(|table| table.columns.as_slice()).unwrap_or_default()
    }

    /// All that holds for the rows that a scan gives.
    fn condition_of(&self, node: &Node) -> String {
        let index = node.index.as_deref().and_then(|index| self.catalog.index(index));
        let predicate = index.map(|index| index.predicate.as_slice()).unwrap_or_default();
        let conditions = [&node.index_condition, &node.filter].into_iter().flatten();
        conditions.chain(predicate).map(String::as_str).collect::<Vec<_>>().join(" AND ")
    }

    fn wrapped_of(&self, node: &Node) -> Option<Wrapped> {
        wrapped(node.filter.as_deref()?, self.columns_of(node))
    }

    fn sequential_scan(&mut self, node: &Node) {
        let (read, kept) = (node.all_rows() + node.all_removed(), node.all_rows());
        let Some(table) = node.table.as_deref().filter(|_| node.kind == "Seq Scan" && read >= NOTEWORTHY_ROWS) else {
            return;
        };
        let condition = self.condition_of(node);
        let filtered = columns(&condition, self.columns_of(node));
        let equal: Vec<&str> = equal(&filtered).collect();
        let existing = self.catalog.index_on(table, &equal, &[], &condition).filter(|_| !equal.is_empty());
        let advice = match (self.wrapped_of(node), existing, proposal(table, &filtered, &[])) {
            (Some(wrapped), _, _) => format!("No index on {} serves {}.", wrapped.column, wrapped.expression),
            _ if kept * 2.0 > read => "So much of a table no index reads faster: ask for fewer rows.".to_owned(),
            (_, Some(index), _) => format!("ANALYZE {table}: {index} would find them."),
            (_, _, Some(proposal)) => format!("An index on {proposal} finds them."),
            _ => "Ask for fewer rows, by a condition that an index serves.".to_owned(),
        };
        let times = if node.loops > 1.0 { format!(", {} times", figure(node.loops)) } else { String::new() };
        let observation = format!(
            "All of {table} is read{times}: {}, of which {} kept. The time grows with the table.",
            rows(read),
            if figure(kept) == "1" { "1 is".to_owned() } else { format!("{} are", figure(kept)) }
        );
        self.find(Kind::SequentialScan, node, &[("rows_read", read), ("rows", kept)], [observation, advice]);
    }

    fn unused_leading_column(&mut self, node: &Node) {
        let Some(name) = node.index.as_deref() else { return };
        let Some(index) = self.catalog.index(name) else { return };
        let [leading, _, ..] = index.keys.as_slice() else { return };
        let condition = node.index_condition.as_deref().unwrap_or_default();
        let is_used = !columns(condition, &words(leading)).is_empty();
        let (read, buffers) = (node.all_rows() + node.all_removed(), node.buffers.shared());
        if is_used || read < NOTEWORTHY_ROWS && (condition.is_empty() || buffers < NOTEWORTHY_BUFFERS) {
            return;
        }
        let observation = format!(
            "The index {name} begins with {leading}, on which there is no condition, so the whole index is read: {} for \
             {}.",
            counted(&count(buffers), "buffer"),
            rows(node.all_rows())
        );
        let asked: Vec<&str> = columns(condition, &index.keys).into_iter().map(|(column, _)| column).collect();
        let begin = if asked.is_empty() { "what is asked for".to_owned() } else { asked.join(", ") };
        let advice = format!("Add a condition on {leading}, or an index that begins with {begin}.");
        let figures = [("rows", read), ("buffers", float(buffers))];
        self.find(Kind::UnusedLeadingColumn, node, &figures, [observation, advice]);
    }

    fn function_on_column(&mut self, node: &Node) {
        let removed = node.all_removed();
        let Some(wrapped) = self.wrapped_of(node).filter(|_| removed >= NOTEWORTHY_ROWS) else { return };
        let Wrapped { expression, column } = wrapped;
        let observation = format!(
            "The filter looks at {expression}, which no index on {column} serves: {} were read for nothing.",
            rows(removed)
        );
        let advice =
            format!("Compare {column} itself, as by a range, or make an index on the expression {expression}.");
        self.find(Kind::FunctionOnColumn, node, &[("rows_removed", removed)], [observation, advice]);
    }

    /// By the filters of joins, and by those of index and bitmap scans: of a sequential scan another finding tells it.
    fn rows_removed(&mut self, node: &Node) {
        let (removed, kept) = match node.kind.as_str() {
            "Seq Scan" => return,
            _ => (node.all_removed() + node.removed_by_join_filter * node.loops, node.all_rows()),
        };
        if removed < NOTEWORTHY_ROWS || removed <= kept {
            return;
        }
        let observation =
            format!("{} were read, and {} of them did not pass the filter.", rows(removed + kept), figure(removed));
        let filtered = columns(node.filter.as_deref().unwrap_or_default(), self.columns_of(node));
        let filtered: Vec<&str> = filtered.into_iter().map(|(column, _)| column).collect();
        let advice = if node.removed_by_recheck > node.removed_by_filter {
            "The bitmap did not fit into memory and names whole pages: raise work_mem, or ask for fewer rows."
                .to_owned()
        } else if node.removed_by_join_filter > 0.0 {
            "An index on the inner table's column of the join's condition finds the matches.".to_owned()
        } else if filtered.is_empty() {
            "An index on what the filter looks at finds them without reading the others.".to_owned()
        } else {
            format!(
                "An index that goes on with {}, or a partial index with that condition, reads only what is kept.",
                filtered.join(", ")
            )
        };
        self.find(Kind::RowsRemoved, node, &[("rows_removed", removed), ("rows", kept)], [observation, advice]);
    }

    fn heap_fetches(&mut self, node: &Node) {
        let (fetches, read) = (node.heap_fetches, node.all_rows());
        let Some(table) = node.table.as_deref() else { return };
        if fetches < HEAP_FETCHES || fetches < read * HEAP_FETCHES_PER_ROW {
            return;
        }
        let observation = format!(
            "The index has all that is asked for, but {} were looked up in {table} too: their pages changed since the \
             last VACUUM.",
            rows(fetches)
        );
        let advice = format!(
            "VACUUM {table}. Where it comes back, let autovacuum come sooner: ALTER TABLE {table} SET \
             (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.02)."
        );
        self.find(Kind::HeapFetches, node, &[("heap_fetches", fetches), ("rows", read)], [observation, advice]);
    }

    /// A generic plan is made for average values, so that it errs says nothing about the statistics.
    fn misestimate(&mut self, node: &Node, stop: Stop) {
        let Some(table) = node.table.as_deref().filter(|_| node.kind != "ModifyTable") else { return };
        let (estimated, real) = (node.estimated_rows.max(1.0), node.rows.max(1.0));
        let is_over = estimated / real >= MISESTIMATE;
        let is_under = real / estimated >= MISESTIMATE;
        if !(is_under || is_over && stop == Stop::AtTheEnd)
            || estimated.max(real) < MISESTIMATED_ROWS
            || self.planning == Planning::Generic
        {
            return;
        }
        let observation = format!(
            "{} of {table} estimated, {} real{}.",
            rows(node.estimated_rows),
            figure(node.rows),
            if node.loops > 1.0 { ", on the average of all loops" } else { "" }
        );
        let advice = if self.catalog.table(table).is_none_or(|table| table.is_stale) {
            format!("ANALYZE {table}: much of it changed since the last time.")
        } else {
            format!(
                "ANALYZE {table}, if much was written in the last seconds. Else the values are unevenly spread, or the \
                 columns depend on each other: where the plan suffers, CREATE STATISTICS on the columns of the \
                 condition, or raise their statistics target."
            )
        };
        let figures = [("estimated_rows", node.estimated_rows), ("rows", node.rows), ("loops", node.loops)];
        self.find(Kind::Misestimate, node, &figures, [observation, advice]);
    }

    /// Sorts for grouping are left alone: without them the rows are hashed, and all of them are read either way.
    fn sort(&mut self, node: &Node, above: Option<&Node>) {
        let [input] = node.below.as_slice() else { return };
        let sorted = input.all_rows();
        let is_for_grouping = above.is_some_and(|above| matches!(above.kind.as_str(), "Aggregate" | "WindowAgg"));
        let is_told = node.kind == "Sort" && sorted >= NOTEWORTHY_ROWS && !is_for_grouping;
        let Some(table) = input.table.as_deref().filter(|_| is_told) else { return };
        let of_table = self.columns_of(input);
        let bare = |key: &String| {
            let column = key.split(' ').next().unwrap_or_default();
            let column = column.rsplit('.').next().unwrap_or_default();
            of_table.iter().map(String::as_str).find(|known| *known == column)
        };
        let Some(keys) = node.sort_key.iter().map(bare).collect::<Option<Vec<_>>>() else { return };
        let condition = self.condition_of(input);
        let conditions = columns(&condition, of_table);
        let equal: Vec<&str> = equal(&conditions).collect();
        let existing = self.catalog.index_on(table, &equal, &keys, &condition);
        let advice = match (existing, proposal(table, &conditions, &keys)) {
            (Some(index), _) => format!(
                "{index} gives them in order for one value of {}: ask for a page of each value in a LATERAL join.",
                equal.first().or(keys.first()).unwrap_or(&"its columns")
            ),
            (None, Some(proposal)) => format!("An index on {proposal} gives them in order."),
            (None, None) => return,
        };
        let observation = format!(
            "{} of {table} were sorted by {}, before the first of them could be given.",
            rows(sorted),
            keys.join(", ")
        );
        self.find(Kind::Sort, node, &[("rows", sorted)], [observation, advice]);
    }

    fn spill(&mut self, node: &Node) {
        let below: u64 = node.below.iter().map(|below| below.buffers.temporary_written).sum();
        let buffers = node.buffers.temporary_written.saturating_sub(below);
        if buffers == 0 {
            return;
        }
        let observation =
            format!("{} did not fit into memory: {} temporary buffers were written.", node.label(), count(buffers));
        let advice = "Let fewer rows come to it, or raise work_mem.".to_owned();
        self.find(Kind::Spill, node, &[("buffers", float(buffers))], [observation, advice]);
    }
}

/// The columns that are compared by `=`.
fn equal<'a>(conditions: &[(&'a str, Comparison)]) -> impl Iterator<Item = &'a str> {
    conditions.iter().filter(|(_, comparison)| *comparison == Comparison::Equal).map(|(column, _)| *column)
}

/// An index for a condition and an order: columns compared by `=` first, then those of the order or one compared by a
/// range, for the rows without a value in the columns that must have none.
fn proposal(table: &str, conditions: &[(&str, Comparison)], order: &[&str]) -> Option<String> {
    let compared = |by: Comparison| conditions.iter().filter(move |(_, comparison)| *comparison == by);
    let mut keys: Vec<&str> = equal(conditions).collect();
    let range = compared(Comparison::Range).map(|(column, _)| *column).take(usize::from(order.is_empty()));
    for key in order.iter().copied().chain(range) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let nulls: Vec<String> = compared(Comparison::Null).map(|(column, _)| format!("{column} IS NULL")).collect();
    let predicate = if nulls.is_empty() { String::new() } else { format!(" WHERE {}", nulls.join(" AND ")) };
    (!keys.is_empty()).then(|| format!("{table} ({}){predicate}", keys.join(", ")))
}

/// The names in an expression.
fn words(expression: &str) -> Vec<String> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    expression.split(|letter| !is_part(letter)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Whether a node below another one runs to its end.
fn stop_below(node: &Node, below: &Node, stop: Stop) -> Stop {
    let is_inner = below.relationship.as_deref() == Some("Inner");
    let is_side_plan = matches!(below.relationship.as_deref(), Some("SubPlan" | "InitPlan"));
    let looks_for_one = node.is_inner_unique || matches!(node.join.as_deref(), Some("Semi" | "Anti"));
    match (node.kind.as_str(), node.strategy.as_deref()) {
        ("Limit" | "Merge Join", _) => Stop::Early,
        _ if is_side_plan || is_inner && looks_for_one => Stop::Early,
        ("Sort" | "Hash" | "ModifyTable", _) | ("Aggregate", Some("Plain" | "Hashed")) => Stop::AtTheEnd,
        _ => stop,
    }
}

fn rows(number: f64) -> String {
    counted(&figure(number), "row")
}

#[expect(clippy::cast_precision_loss, reason = "buffers are far fewer than 2^52")]
fn float(buffers: u64) -> f64 {
    buffers as f64
}
