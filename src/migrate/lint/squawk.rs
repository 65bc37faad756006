//! The rules that squawk checks for us, and what each finding asks for here.

use squawk_linter::{Linter, Rule};
use squawk_syntax::SourceFile;
use squawk_syntax::ast::{self, AstNode};

use super::Finding;
use super::script::{Script, joined};
use crate::migrate::recording::Direction;

/// What blocks reads or writes, whichever way the migration goes, and what to write instead.
const BLOCKING: &[(Rule, &str)] = &[
    (
        Rule::RequireConcurrentIndexCreation,
        "CREATE INDEX CONCURRENTLY, in a migration of its own outside a transaction: index::create",
    ),
    (Rule::RequireConcurrentIndexDeletion, "DROP INDEX CONCURRENTLY IF EXISTS, outside a transaction: index::drop"),
    (Rule::RequireConcurrentReindex, "REINDEX INDEX CONCURRENTLY, outside a transaction"),
    (Rule::RequireConcurrentPartitionDetach, "DETACH PARTITION … CONCURRENTLY, outside a transaction"),
    (
        Rule::ConstraintMissingNotValid,
        "ADD CONSTRAINT … NOT VALID here, and VALIDATE CONSTRAINT in a migration of its own; for a unique or primary \
         key, the unique index concurrently, and then ADD CONSTRAINT … USING INDEX",
    ),
    (
        Rule::AddingForeignKeyConstraint,
        "the column alone; then ADD CONSTRAINT … FOREIGN KEY … NOT VALID; then VALIDATE CONSTRAINT; a migration each",
    ),
    (
        Rule::DisallowedUniqueConstraint,
        "a unique index, concurrently, partial on deleted_at IS NULL: index::create_unique; a constraint is not needed",
    ),
    (
        Rule::AddingSerialPrimaryKeyField,
        "a unique index, concurrently, and then ADD CONSTRAINT … PRIMARY KEY USING INDEX in a migration of its own",
    ),
    (
        Rule::AddingFieldWithDefault,
        "no volatile default and no generated column: the column alone, then SET DEFAULT, then a backfill in batches, a \
         migration each. A constant or now() is free, since such a default is computed once",
    ),
    (
        Rule::AddingRequiredField,
        "a nullable column, or a constant default; NOT NULL comes after a validated CHECK (column IS NOT NULL)",
    ),
    (
        Rule::ChangingColumnType,
        "a new column of the new type, written beside the old one, filled in batches, read by the next version; the \
         old one is dropped last. A set of values is text with a CHECK, so that adding one changes no type",
    ),
    (
        Rule::RequireLockTimeout,
        "SET LOCAL lock_timeout = '3s' before it, as transaction::execute does: a statement that waits for its lock \
         makes everybody after it wait too",
    ),
];

/// What breaks the version that is still running, or the house's choice of types: judged on the way up alone, since
/// the way down takes back what the way up made.
const COMPATIBILITY: &[(Rule, &str)] = &[
    (
        Rule::BanDropColumn,
        "first release a version that does not name the column; then drop it, with `-- allow ban-drop-column: …` \
         saying which version that is",
    ),
    (
        Rule::BanDropTable,
        "first release a version that does not name the table; then drop it, with `-- allow ban-drop-table: …` \
         saying which version that is",
    ),
    (Rule::BanDropConstraint, "keep it until no running version relies on it; then say so in an allow comment"),
    (Rule::BanDropNotNull, "first release a version that can read a null there; then say so in an allow comment"),
    (Rule::BanDropDefault, "first release a version that writes the value; then say so in an allow comment"),
    (Rule::RenamingColumn, "a new column, written beside the old one, filled in batches; the old one is dropped last"),
    (Rule::RenamingTable, "keep the name: the running version reads it. A view of the new name can stand beside it"),
    (Rule::RenamingObject, "keep the name: the running version knows it"),
    (Rule::BanTruncateCascade, "DELETE in batches of some thousand rows, of the tables that are meant"),
    (Rule::BanUncommittedTransaction, "COMMIT at its end"),
    (Rule::TransactionNesting, "no BEGIN or COMMIT: `trellis migrate` opens the transaction"),
    (Rule::PreferTimestampTz, "timestamptz"),
    (Rule::PreferTextField, "text, with a named CHECK on char_length"),
    (Rule::BanCharField, "text, with a named CHECK on char_length"),
    (Rule::IdentifierTooLong, "a name of 63 bytes or fewer: PostgreSQL cuts longer ones off"),
];

/// The findings of squawk; `earlier` is what earlier migrations did to tables.
pub fn check(script: &Script, earlier: &str) -> Vec<Finding> {
    let mut rules = BLOCKING.to_vec();
    if script.direction == Direction::Up {
        rules.extend(COMPATIBILITY);
    }
    let mut linter = linter(script, rules.iter().map(|(rule, _)| *rule));
    let found = linter.lint(&script.parsed, &script.text).into_iter().filter_map(|violation| {
        let (rule, instead) = rules.iter().find(|(rule, _)| *rule == violation.code)?;
        Some(Finding::at(script, violation.text_range.start().into(), &rule.to_string(), violation.message, instead))
    });
    found.chain(not_null(script, earlier)).collect()
}

/// Direct SET NOT NULL. After a validated check it costs nothing, and that check is an earlier migration's: squawk gets
/// to see those in front.
fn not_null(script: &Script, earlier: &str) -> Vec<Finding> {
    const INSTEAD: &str = "ADD CONSTRAINT … CHECK (column IS NOT NULL) NOT VALID; then VALIDATE CONSTRAINT; then SET NOT \
        NULL, which the check makes free; a migration each";
    let text = format!("{earlier}{}", script.text);
    let mut linter = linter(script, [Rule::AddingNotNullableField]);
    let found = linter.lint(&SourceFile::parse(&text), &text).into_iter().filter_map(|violation| {
        let offset = usize::from(violation.text_range.start()).checked_sub(earlier.len())?;
        Some(Finding::at(script, offset, &violation.code.to_string(), violation.message, INSTEAD))
    });
    found.collect()
}

fn linter(script: &Script, rules: impl IntoIterator<Item = Rule>) -> Linter {
    let mut linter = Linter::from(rules);
    linter.settings.assume_in_transaction = script.is_in_transaction;
    linter
}

/// The changes of tables that a script makes, for the scripts after it.
pub fn table_changes(script: &Script) -> String {
    let changes = script.statements().filter(|statement| matches!(statement, ast::Stmt::AlterTable(_)));
    joined(changes.map(|change| change.syntax().text().to_string()))
}
