//! A plan as PostgreSQL tells it: a tree of nodes, each with what was estimated and what was measured.

pub mod advice;
pub mod catalog;
mod condition;
pub mod number;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What `EXPLAIN (ANALYZE, BUFFERS, SETTINGS, FORMAT JSON)` says of a statement, on PostgreSQL 15 to 18.
#[derive(Debug, Deserialize)]
pub struct Plan {
    /// The node that gives the rows.
    #[serde(rename = "Plan")]
    pub root: Node,
    /// How long it took to plan, in milliseconds.
    #[serde(rename = "Planning Time")]
    pub planning_ms: f64,
    /// How long it took to run, in milliseconds; measuring costs a part of it.
    #[serde(rename = "Execution Time")]
    pub execution_ms: f64,
    /// The settings that differ from PostgreSQL's and that the planner looks at.
    #[serde(rename = "Settings", default)]
    pub settings: BTreeMap<String, String>,
}

/// A step of a plan. What PostgreSQL leaves out where it does not apply is nothing or zero here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    /// What it does: `Index Scan`, `Sort`, …
    #[serde(rename = "Node Type")]
    pub kind: String,
    /// What it is to its parent: `Outer`, `Inner`, `SubPlan`, …
    #[serde(rename = "Parent Relationship")]
    pub relationship: Option<String>,
    /// How an aggregate groups: `Plain`, `Sorted`, `Hashed`, `Mixed`.
    #[serde(rename = "Strategy")]
    pub strategy: Option<String>,
    /// What a `ModifyTable` does: `Insert`, `Update`, …
    #[serde(rename = "Operation")]
    pub operation: Option<String>,
    /// How a join treats rows without a match.
    #[serde(rename = "Join Type")]
    pub join: Option<String>,
    /// A join looks for one match only.
    #[serde(rename = "Inner Unique")]
    pub is_inner_unique: bool,
    /// The name of the CTE or sub-select that it computes.
    #[serde(rename = "Subplan Name")]
    pub subplan: Option<String>,
    /// The table.
    #[serde(rename = "Relation Name")]
    pub table: Option<String>,
    /// The CTE that it reads.
    #[serde(rename = "CTE Name")]
    pub cte: Option<String>,
    /// The function whose rows it reads.
    #[serde(rename = "Function Name")]
    pub function: Option<String>,
    /// What the statement calls the table, the CTE or the function.
    #[serde(rename = "Alias")]
    pub alias: Option<String>,
    /// The index.
    #[serde(rename = "Index Name")]
    pub index: Option<String>,
    /// `Backward`, where an index is read against its order.
    #[serde(rename = "Scan Direction")]
    pub direction: Option<String>,
    /// What is looked up in the index.
    #[serde(rename = "Index Cond")]
    pub index_condition: Option<String>,
    /// What is tested on each row that was read.
    #[serde(rename = "Filter")]
    pub filter: Option<String>,
    /// What a join tests on each pair of rows.
    #[serde(rename = "Join Filter")]
    pub join_filter: Option<String>,
    /// What a hash join compares.
    #[serde(rename = "Hash Cond")]
    pub hash_condition: Option<String>,
    /// What a merge join compares.
    #[serde(rename = "Merge Cond")]
    pub merge_condition: Option<String>,
    /// What it sorts by.
    #[serde(rename = "Sort Key")]
    pub sort_key: Vec<String>,
    /// What it groups by.
    #[serde(rename = "Group Key")]
    pub group_key: Vec<String>,
    /// Rows that the planner estimated, for one loop.
    #[serde(rename = "Plan Rows")]
    pub estimated_rows: f64,
    /// Rows that came out, for one loop: an average, a whole number before PostgreSQL 18.
    #[serde(rename = "Actual Rows")]
    pub rows: f64,
    /// How often it ran.
    #[serde(rename = "Actual Loops")]
    pub loops: f64,
    /// Until the last row, for one loop, with all nodes below, in milliseconds.
    #[serde(rename = "Actual Total Time")]
    pub ms: f64,
    /// Rows that were read and did not pass the filter, for one loop.
    #[serde(rename = "Rows Removed by Filter")]
    pub removed_by_filter: f64,
    /// Rows of a page that the bitmap named as a whole, and that did not match, for one loop.
    #[serde(rename = "Rows Removed by Index Recheck")]
    pub removed_by_recheck: f64,
    /// Pairs of rows that did not pass the join's filter, for one loop.
    #[serde(rename = "Rows Removed by Join Filter")]
    pub removed_by_join_filter: f64,
    /// Rows for which an index-only scan had to look into the table, in all loops.
    #[serde(rename = "Heap Fetches")]
    pub heap_fetches: f64,
    /// Pages that it and all below it touched.
    #[serde(flatten)]
    pub buffers: Buffers,
    /// The nodes that it reads.
    #[serde(rename = "Plans")]
    pub below: Vec<Node>,
}

/// Pages of 8 kB that were touched. A page counts as often as it is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Buffers {
    /// Found in PostgreSQL's memory.
    #[serde(rename(deserialize = "Shared Hit Blocks"))]
    pub hit: u64,
    /// Asked from the operating system.
    #[serde(rename(deserialize = "Shared Read Blocks"))]
    pub read: u64,
    /// Changed first by this statement.
    #[serde(rename(deserialize = "Shared Dirtied Blocks"))]
    pub dirtied: u64,
    /// Read back from temporary files.
    #[serde(rename(deserialize = "Temp Read Blocks"))]
    pub temporary_read: u64,
    /// Written to temporary files.
    #[serde(rename(deserialize = "Temp Written Blocks"))]
    pub temporary_written: u64,
}

impl Buffers {
    /// Pages of tables and indexes, wherever they were found.
    #[must_use]
    pub fn shared(self) -> u64 {
        self.hit + self.read
    }
}

impl Plan {
    /// Reads EXPLAIN's JSON, a list of one plan.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        let [plan] = serde_json::from_str::<[Self; 1]>(json)?;
        Ok(plan)
    }

    /// Every node, a parent before those below it.
    #[must_use]
    pub fn nodes(&self) -> Vec<&Node> {
        let mut nodes = vec![&self.root];
        let mut at = 0;
        while let Some(node) = nodes.get(at).copied() {
            at += 1;
            nodes.splice(at..at, &node.below);
        }
        nodes
    }

    /// The indexes that it used, sorted.
    #[must_use]
    pub fn indexes(&self) -> Vec<&str> {
        let ran = self.nodes().into_iter().filter(|node| node.has_run());
        let mut indexes: Vec<&str> = ran.filter_map(|node| node.index.as_deref()).collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes
    }
}

impl Node {
    /// Whether it ran at all.
    #[must_use]
    pub fn has_run(&self) -> bool {
        self.loops > 0.0
    }

    /// Rows that came out of all loops.
    #[must_use]
    pub fn all_rows(&self) -> f64 {
        self.rows * self.loops
    }

    /// Rows that were read in all loops and did not pass.
    #[must_use]
    pub fn all_removed(&self) -> f64 {
        (self.removed_by_filter + self.removed_by_recheck) * self.loops
    }

    /// What it does to what: `Index Scan using idx_tasks_list on tasks t`.
    #[must_use]
    pub fn label(&self) -> String {
        let mut label = match (&self.operation, self.kind.as_str()) {
            (Some(operation), "ModifyTable") => operation.clone(),
            (_, kind) => match (kind, self.strategy.as_deref()) {
                ("Aggregate", Some("Sorted")) => "Group Aggregate".to_owned(),
                ("Aggregate", Some("Hashed")) => "Hash Aggregate".to_owned(),
                (kind, _) => kind.to_owned(),
            },
        };
        if let Some(join) = self.join.as_deref().filter(|join| *join != "Inner") {
            label = format!("{label} ({join})");
        }
        if self.direction.as_deref() == Some("Backward") {
            label.push_str(" Backward");
        }
        if let Some(index) = &self.index {
            let preposition = if self.table.is_some() { "using" } else { "on" };
            label = format!("{label} {preposition} {index}");
        }
        let source = self.table.as_ref().or(self.cte.as_ref()).or(self.function.as_ref());
        match (source, &self.alias) {
            (Some(source), Some(alias)) if source != alias => format!("{label} on {source} {alias}"),
            (Some(source), _) => format!("{label} on {source}"),
            (None, Some(alias)) => format!("{label} {alias}"),
            (None, None) => label,
        }
    }
}
