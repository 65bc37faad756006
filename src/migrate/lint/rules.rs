//! The rules that squawk does not have: one change a file, how an index is built, what rewrites or scans a table.

use squawk_syntax::ast::{self, AlterTableAction, AstNode, Constraint, Stmt};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::Finding;
use super::script::Script;
use crate::migrate::recording::Direction;

/// The findings of our own rules.
pub fn check(script: &Script) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |node: &SyntaxNode, rule: &str, problem: &str, instead: &str| {
        findings.push(Finding::at(script, start(node), rule, problem.to_owned(), instead));
    };
    one_change(script, &mut report);
    outside_of_transactions(script, &mut report);
    for statement in script.statements() {
        rewrites(&statement, &mut report);
        emptied(&statement, &mut report);
        backfill(&statement, &mut report);
        match &statement {
            Stmt::CreateIndex(create) if script.direction == Direction::Up => index(script, create, &mut report),
            Stmt::AlterTable(alter) => alter.actions().for_each(|action| change(&action, &mut report)),
            _ => {}
        }
    }
    findings
}

/// Takes a place, a rule's name, what is wrong, and what to write instead.
trait Report: FnMut(&SyntaxNode, &str, &str, &str) {}
impl<F: FnMut(&SyntaxNode, &str, &str, &str)> Report for F {}

/// One change a file: what failed is then known, and what was done stays done.
fn one_change(script: &Script, report: &mut impl Report) {
    let statements: Vec<Stmt> = script.statements().collect();
    let created: Vec<String> = statements.iter().filter_map(created_index).collect();
    let is_change = |statement: &&Stmt| match statement {
        Stmt::Set(_) | Stmt::Begin(_) | Stmt::Commit(_) => false,
        Stmt::Select(select) => select.syntax().descendants().any(|part| WRITES.contains(&part.kind())),
        // Clears away what a failed build left.
        Stmt::DropIndex(drop) => !drop.index_refs().all(|index| created.contains(&name(index.syntax()))),
        _ => true,
    };
    let mut changes = Vec::new();
    for statement in statements.iter().filter(is_change) {
        match statement {
            Stmt::AlterTable(alter) => changes.extend(alter.actions().map(|action| action.syntax().clone())),
            other => changes.push(other.syntax().clone()),
        }
    }
    if let Some(second) = changes.get(1) {
        report(
            second,
            "one-change",
            &format!("{} changes in one file: a failure in the middle leaves a state that has no name", changes.len()),
            "a migration for each",
        );
    }
}

/// CONCURRENTLY is refused in a transaction.
fn outside_of_transactions(script: &Script, report: &mut impl Report) {
    let mut is_in_transaction = script.is_in_transaction;
    for statement in script.statements() {
        match &statement {
            Stmt::Begin(_) => is_in_transaction = true,
            Stmt::Commit(_) => is_in_transaction = false,
            other if is_in_transaction && has_token(other.syntax(), SyntaxKind::CONCURRENTLY_KW) => report(
                other.syntax(),
                "concurrently-in-transaction",
                "PostgreSQL refuses CONCURRENTLY in a transaction.",
                "use_transaction gives Some(false); in a file, no BEGIN around it",
            ),
            _ => {}
        }
    }
}

/// How an index comes into being: for a query, after what a failed build left is gone, over rows of one kind, by rule
/// of its name.
fn index(script: &Script, create: &ast::CreateIndex, report: &mut impl Report) {
    let node = create.syntax();
    if !script.heading.starts_with("Serves ") {
        report(
            node,
            "index-without-query",
            "Nothing says which query it is for; an index without one is only a cost of every write.",
            "a comment on top that begins with: Serves \"the query, in words\"",
        );
    }
    let index = created_index(&Stmt::CreateIndex(create.clone())).unwrap_or_default();
    let drops = |statement: &Stmt| match statement {
        Stmt::DropIndex(drop) => drop.index_refs().any(|dropped| name(dropped.syntax()) == index),
        _ => false,
    };
    let is_before = |statement: &Stmt| start(statement.syntax()) < start(node);
    if create.concurrently_token().is_some() && !script.statements().take_while(is_before).any(|it| drops(&it)) {
        report(
            node,
            "invalid-index-stays",
            "A build that failed leaves an INVALID index, which IF NOT EXISTS takes for done.",
            "DROP INDEX CONCURRENTLY IF EXISTS of the same name before it; index::create does so where it is invalid",
        );
    }
    let table = create.table_relation_name().map(|table| name(table.syntax())).unwrap_or_default();
    if !index.starts_with(&format!("idx_{table}_")) {
        report(
            node,
            "index-name",
            "An index is called by its table and what it is for.",
            &format!("a name that begins with idx_{table}_"),
        );
    }
    let predicate = create.where_clause().map(|clause| clause.syntax().text().to_string()).unwrap_or_default();
    if !predicate.contains("deleted_at IS ") {
        report(
            node,
            "index-of-deleted-rows",
            "It holds deleted rows beside live ones, so no query reads it alone: liveness is a question to the table.",
            "WHERE deleted_at IS NULL",
        );
    }
}

/// What a part of ALTER TABLE does to the rows, where squawk says nothing.
fn change(action: &AlterTableAction, report: &mut impl Report) {
    let node = action.syntax();
    match action {
        AlterTableAction::SetLogged(_)
        | AlterTableAction::SetUnlogged(_)
        | AlterTableAction::SetTablespace(_)
        | AlterTableAction::SetAccessMethod(_) => report(
            node,
            "table-rewrite",
            "It writes the whole table anew under ACCESS EXCLUSIVE: nobody reads or writes for as long.",
            "a new table, filled in batches, that the next version reads",
        ),
        AlterTableAction::AttachPartition(_) => report(
            node,
            "blocking-scan",
            "It reads the whole partition under a lock to see that its rows belong there.",
            "a CHECK of the partition's bounds before, as NOT VALID and then VALIDATE CONSTRAINT; then say so in an \
             allow comment",
        ),
        AlterTableAction::AddColumn(column) => {
            let checks = |constraint: &Constraint| {
                matches!(constraint, Constraint::CheckConstraint(_) | Constraint::ExcludeConstraint(_))
            };
            if let Some(check) = column.constraints().find(checks) {
                report(
                    check.syntax(),
                    "blocking-scan",
                    "A check beside a new column reads every row under ACCESS EXCLUSIVE.",
                    "the column alone; then ADD CONSTRAINT … NOT VALID; then VALIDATE CONSTRAINT; a migration each",
                );
            }
            let kind = column.ty().map(|kind| name(kind.syntax())).unwrap_or_default();
            if kind.ends_with("serial") || kind.starts_with("serial") {
                report(
                    node,
                    "table-rewrite",
                    "A column that counts gives each row a value: the whole table is written anew.",
                    "uuid keys, which the server makes",
                );
            }
        }
        _ => {}
    }
}

/// Statements that write a whole table anew.
fn rewrites(statement: &Stmt, report: &mut impl Report) {
    let is_rewrite = match statement {
        Stmt::Cluster(_) => true,
        Stmt::Vacuum(vacuum) => vacuum.is_full(),
        _ => false,
    };
    if is_rewrite {
        report(
            statement.syntax(),
            "table-rewrite",
            "It writes the whole table anew under ACCESS EXCLUSIVE: nobody reads or writes for as long.",
            "a plain VACUUM, by hand; a migration does not tidy up",
        );
    }
}

/// All rows of a table that go at once: what the version before still reads.
fn emptied(statement: &Stmt, report: &mut impl Report) {
    if let Stmt::Truncate(truncate) = statement {
        report(
            truncate.syntax(),
            "ban-truncate",
            "It takes every row away, under ACCESS EXCLUSIVE, from a version that still reads them.",
            "a new table, which the next version reads; or DELETE in batches, each a transaction, for what nobody reads",
        );
    }
}

/// Rows that are changed all at once stay locked until the end, and their old versions stay on the disk.
fn backfill(statement: &Stmt, report: &mut impl Report) {
    let is_bulk = |part: &SyntaxNode| {
        let is_sent =
            part == statement.syntax() || part.ancestors().any(|above| above.kind() == SyntaxKind::WITH_TABLE);
        matches!(part.kind(), SyntaxKind::UPDATE | SyntaxKind::DELETE) && is_sent && !is_batch(part)
    };
    for write in statement.syntax().descendants().filter(is_bulk) {
        report(
            &write,
            "backfill-in-one",
            "It changes every row in one transaction: 200,000 rows are locked for 15 s and leave the table a fifth larger.",
            "batches, each a transaction: … WHERE id IN (SELECT id FROM … WHERE … LIMIT 5000), again until none is left",
        );
    }
}

/// Whether a LIMIT says how many rows a statement changes: in what it chooses them by, or in a WITH before it. In what it
/// sets, and where it is 1, a LIMIT looks up a value.
fn is_batch(write: &SyntaxNode) -> bool {
    let chooses = |part: &SyntaxNode| !matches!(part.kind(), SyntaxKind::SET_CLAUSE | SyntaxKind::RETURNING_CLAUSE);
    let with = write.ancestors().skip(1).flat_map(|above| above.children().filter_map(ast::WithClause::cast));
    let tables = with.flat_map(|with| with.with_tables().map(|table| table.syntax().clone()).collect::<Vec<_>>());
    let before = tables.filter(|table| !write.ancestors().any(|above| above == *table));
    let parts = write.children().filter(chooses).chain(before);
    let mut limits = parts.flat_map(|part| part.descendants().filter_map(ast::LimitClause::cast).collect::<Vec<_>>());
    limits.any(|limit| limit.limit_value().is_some_and(|value| value.syntax().text() != "1"))
}

/// What changes rows, also inside a statement that reads.
const WRITES: [SyntaxKind; 4] = [SyntaxKind::INSERT, SyntaxKind::UPDATE, SyntaxKind::DELETE, SyntaxKind::MERGE];

fn created_index(statement: &Stmt) -> Option<String> {
    let Stmt::CreateIndex(create) = statement else { return None };
    create.index().map(|index| name(index.syntax()))
}

/// The last part of a name, without its schema.
fn name(node: &SyntaxNode) -> String {
    let text = node.text().to_string();
    text.trim().rsplit('.').next().unwrap_or_default().trim_matches('"').to_lowercase()
}

fn has_token(node: &SyntaxNode, kind: SyntaxKind) -> bool {
    node.descendants_with_tokens().any(|element| element.kind() == kind)
}

/// Where a node begins, after its white space and comments.
fn start(node: &SyntaxNode) -> usize {
    let first = node.children_with_tokens().find(|element| !element.kind().is_trivia());
    first.map_or(node.text_range().start(), |element| element.text_range().start()).into()
}
