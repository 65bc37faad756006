//! What PostgreSQL does for every statement of the registry, on 100,000 and on 1,000,000 tasks and on 50,000 in many small
//! projects, for ordinary projects and for the largest, for the values at hand and with a generic plan. The bounds are on
//! what PostgreSQL reports: nodes, rows and buffers, never time.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::missing_panics_doc, clippy::must_use_candidate, reason = "nobody but the tests calls these")]

#[path = "../api/cluster.rs"]
mod cluster;
mod expectations;
mod observation;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use trellis::database::Planning;
use trellis::plan::Node;
use trellis::registry::{Kind, PURPOSES, Parents};

use expectations::{
    GROWING, SMALL_TABLE_PAGES, buffers, descents, indexes, is_covered, is_in_order, merged_pages, scans,
};
use observation::{DATA, ORDINARY, Observed, SCATTERED, Seeded, seeded};

/// Rows that a page reads for each parent: 25, and one that tells whether there are more.
const PAGE_ROWS: f64 = 26.0;

/// Pages from the root of an index to its leaf, the next leaf, and the one before the first match.
const DESCENT: f64 = 6.0;

/// How many times as much a page may cost with ten times as many tasks.
const GROWTH: f64 = 1.2;

/// Pages of a table that one page of its visibility map is about: two bits for each, in 8 kB less the page's head.
const PAGES_OF_MAP: i32 = 32_672;

/// Fails with all that is wrong, so that one run shows everything.
fn assert_none(wrong: &[String], rule: &str) {
    assert!(wrong.is_empty(), "{} {rule}:\n{}", wrong.len(), wrong.join("\n"));
}

fn all(seeded: &[Seeded; 3]) -> impl Iterator<Item = (&Seeded, &Observed)> {
    seeded.iter().flat_map(|seeded| seeded.observed.iter().map(move |observed| (seeded, observed)))
}

/// Without the database of small projects. What has 8 rows PostgreSQL reads by any index, and from the table or not.
fn of_usual_projects(seeded: &[Seeded; 3]) -> impl Iterator<Item = (&Seeded, &Observed)> {
    all(seeded).filter(|(seeded, _)| seeded.data != SCATTERED)
}

/// Whether a node reads a table that is too large to be read whole.
fn reads_growing(seeded: &Seeded, node: &Node) -> bool {
    node.table.as_deref().is_some_and(|table| {
        GROWING.contains(&table) || seeded.pages.get(table).is_some_and(|pages| *pages > SMALL_TABLE_PAGES)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_is_explained_on_every_database_for_both_kinds_of_parents_and_with_both_plans() {
    let seeded = seeded().await;
    for (seeded, data) in seeded.iter().zip(DATA) {
        assert_eq!(seeded.data, data);
        for parents in [ORDINARY, Parents::Largest] {
            let of_plan = |planning| {
                let all = seeded.observed.iter().filter(move |one| one.parents == parents && one.planning == planning);
                let names: BTreeSet<&str> = all.clone().map(|observed| observed.name).collect();
                (all.count(), names)
            };
            for planning in [Planning::Custom, Planning::Generic] {
                let (number, names) = of_plan(planning);
                assert!(number > 700, "saw {number} statements");
                assert_eq!(names, PURPOSES.iter().map(|(name, _)| *name).collect());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_table_that_grows_is_read_from_its_beginning_to_its_end() {
    let (mut scans, mut wrong) = (0, Vec::new());
    for (seeded, observed) in all(seeded().await) {
        for node in observed.nodes() {
            scans += usize::from(node.table.is_some());
            if node.kind == "Seq Scan" && reads_growing(seeded, node) {
                wrong.push(format!("{}: {}: {}", seeded.title(), observed.title(), node.label()));
            }
        }
    }
    assert!(scans > 10_000, "saw {scans} scans");
    assert_none(&wrong, "sequential scans");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_uses_the_index_that_is_meant_for_it() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for (seeded, observed) in of_usual_projects(seeded().await) {
        let expected = indexes(observed);
        let used = observed.plan.indexes();
        seen += used.len();
        let on_growing = observed
            .nodes()
            .into_iter()
            .filter(|node| node.index.as_deref().is_some_and(|index| GROWING.iter().any(|table| is_of(index, table))));
        let others: BTreeSet<&str> =
            on_growing.filter_map(|node| node.index.as_deref()).filter(|index| !expected.contains(index)).collect();
        let is_used = expected.is_empty() || expected.iter().any(|index| used.contains(index));
        if !others.is_empty() || !is_used {
            wrong.push(format!("{}: {}: used {used:?}, expected of {expected:?}", seeded.title(), observed.title()));
        }
    }
    assert!(seen > 8_000, "saw {seen} uses of indexes");
    assert_none(&wrong, "unexpected choices");
}

/// Whether an index is one of a table's, by its name.
fn is_of(index: &str, table: &str) -> bool {
    [format!("idx_{table}_"), format!("pk_{table}")].iter().any(|prefix| index.starts_with(prefix.as_str()))
}

/// A list in the order of an index: every sort merges pages of it, and so has a page of each at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_sorts_what_an_index_gives_in_order() {
    let (mut pages, mut merges, mut wrong) = (0, 0, Vec::new());
    for (seeded, observed) in all(seeded().await).filter(|(_, observed)| is_in_order(observed)) {
        pages += 1;
        let most = PAGE_ROWS * merged_pages(observed, seeded.projects_of_workspace);
        for node in
            observed.nodes().into_iter().filter(|node| matches!(node.kind.as_str(), "Sort" | "Incremental Sort"))
        {
            let sorted: f64 = node.below.iter().map(|input| input.rows).sum();
            merges += 1;
            // A table that is small is read whole and sorted.
            let is_small = node.below.iter().all(|input| input.table.is_some() && !reads_growing(seeded, input));
            if sorted > most && !is_small {
                wrong.push(format!(
                    "{}: {}: {sorted} rows sorted, at most {most} are good",
                    seeded.title(),
                    observed.title()
                ));
            }
        }
    }
    assert!(pages > 800 && merges > 200, "saw {pages} pages and {merges} sorts");
    assert_none(&wrong, "sorts of whole lists");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_covering_index_holds_is_read_from_the_index_alone() {
    let (mut covered, mut index_only, mut wrong) = (0, 0, Vec::new());
    for (seeded, observed) in of_usual_projects(seeded().await).filter(|(_, observed)| observed.kind != Kind::Write) {
        let is_covered = is_covered(observed);
        covered += usize::from(is_covered);
        for node in scans(observed) {
            let is_index_only = node.kind == "Index Only Scan";
            index_only += usize::from(is_index_only);
            if is_covered && !is_index_only || node.heap_fetches > 0.0 {
                let (label, fetches) = (node.label(), node.heap_fetches);
                wrong.push(format!("{}: {}: {label}, {fetches} heap fetches", seeded.title(), observed.title()));
            }
        }
    }
    assert!(covered > 400 && index_only > 1_000, "saw {covered} statements and {index_only} index-only scans");
    assert_none(&wrong, "looks into the table");
}

/// Every buffer of a page in the order of an index is one of a descent or of a row that the page may read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_touches_no_more_than_its_rows_and_the_way_to_them() {
    let (mut pages, mut wrong) = (0, Vec::new());
    for (seeded, observed) in all(seeded().await).filter(|(_, observed)| is_in_order(observed)) {
        let lists = observed.keys() * merged_pages(observed, seeded.projects_of_workspace);
        let most = lists * (PAGE_ROWS + DESCENT);
        pages += 1;
        if observed.buffers() > most {
            wrong.push(format!(
                "{}: {}: {} buffers, at most {most} are good",
                seeded.title(),
                observed.title(),
                observed.buffers()
            ));
        }
    }
    assert!(pages > 800, "saw {pages} pages");
    assert_none(&wrong, "pages that read too much");
}

/// Only what is read of tables that grow is compared: projects, members and workspaces are read whole where they are few.
/// Where a page has more rows than it had, each of them may cost the page of the table that it is on.
///
/// A page of few buffers feels what 1.2 times of them does not allow for, on each way through an index: with ten times the
/// rows a B-tree is higher by one level at most, since an inner page leads to more than ten others; the rows may begin at
/// the end of a leaf, and go on in the next; and on an index alone they may ask one more page of the visibility map, of
/// which there are more with more of the table. Nothing of the first two is to spare: some pages take both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_costs_as_much_with_a_million_tasks_as_with_a_hundred_thousand() {
    let [small, large, _] = seeded().await;
    let in_order = |seeded: &'static Seeded| {
        seeded.observed.iter().filter(|observed| is_in_order(observed) && scans(observed).next().is_some())
    };
    let [maps, maps_after] = [small, large].map(|seeded| (seeded.pages["tasks"] - 1) / PAGES_OF_MAP + 1);
    let of_small: HashMap<String, &Observed> = in_order(small).map(|observed| (observed.title(), observed)).collect();
    let (mut compared, mut alike, mut wrong, mut by_name) = (0, 0, Vec::new(), BTreeMap::<&str, f64>::new());
    for after in in_order(large) {
        let before = of_small.get(&after.title()).expect("both databases are asked for the same");
        let [cost, cost_after] = [before, after].map(buffers);
        let [rows, rows_after] = [before, after].map(|observed| observed.plan.root.all_rows() / observed.keys());
        let is_index_only = scans(after).all(|node| node.kind == "Index Only Scan");
        let of_map = if is_index_only { f64::from(maps_after - maps) } else { 0.0 };
        let allowance = descents(after) * (2.0 + of_map);
        let cost_after = cost_after - (rows_after - rows).max(0.0);
        compared += 1;
        alike += usize::from((rows_after - rows).abs() < 0.5);
        let worst = by_name.entry(after.name).or_default();
        *worst = worst.max(cost_after / cost);
        if cost_after > cost * GROWTH && cost_after > cost + allowance {
            wrong.push(format!(
                "{}: for each parent {cost} buffers and {rows} rows, then {cost_after} for as many of {rows_after}, where \
                 {allowance} more would be good",
                after.title()
            ));
        }
    }
    println!("compared {compared} pages, {alike} of as many rows; the largest growth: {by_name:.2?}");
    assert!(compared > 500 && alike > 400, "compared {compared} pages, {alike} of as many rows");
    assert_none(&wrong, "pages that grow with the table");
}
