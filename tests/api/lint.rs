//! `trellis migrate lint`: every class of statement that must not reach a table with rows, and those that may.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sea_orm_migration::sea_orm::{ConnectionTrait, DeriveMigrationName};
use sea_orm_migration::{DbErr, MigrationTrait, SchemaManager, async_trait};
use serde_json::Value;
use trellis::migrate::lint;

use crate::harness::new_path;
use crate::instance::{Ended, run, trellis};

/// One file, and the rules that it is against.
type Case = (&'static str, &'static [&'static str]);

const TIMEOUT: &str = "SET lock_timeout = '3s';\n";

/// Statements that must not reach a table with rows, a file each. All but the first begin with a lock timeout.
const BAD: [Case; 33] = [
    ("ALTER TABLE tasks ADD COLUMN estimate integer", &["require-lock-timeout"]),
    // Blocking scans.
    ("ALTER TABLE tasks ALTER COLUMN assignee_id SET NOT NULL", &["adding-not-nullable-field"]),
    ("ALTER TABLE tasks ADD CONSTRAINT ck_tasks_x CHECK (title <> '')", &["constraint-missing-not-valid"]),
    (
        "ALTER TABLE tasks ADD CONSTRAINT fk_x FOREIGN KEY (assignee_id) REFERENCES users (id) ON DELETE RESTRICT",
        &["adding-foreign-key-constraint", "constraint-missing-not-valid"],
    ),
    ("ALTER TABLE tasks ADD COLUMN parent_id uuid REFERENCES tasks (id)", &["adding-foreign-key-constraint"]),
    ("ALTER TABLE tasks ADD COLUMN points integer CHECK (points > 0)", &["blocking-scan"]),
    ("ALTER TABLE tasks ATTACH PARTITION tasks_2026 FOR VALUES FROM (1) TO (2)", &["blocking-scan"]),
    (
        "ALTER TABLE tasks ADD CONSTRAINT uq_x UNIQUE (title)",
        &["constraint-missing-not-valid", "disallowed-unique-constraint"],
    ),
    (
        "BEGIN; ALTER TABLE tasks ADD CONSTRAINT ck_x CHECK (title <> '') NOT VALID; \
         ALTER TABLE tasks VALIDATE CONSTRAINT ck_x; COMMIT",
        &["constraint-missing-not-valid", "one-change"],
    ),
    // Rewrites.
    ("ALTER TABLE tasks ADD COLUMN token uuid DEFAULT gen_random_uuid()", &["adding-field-with-default"]),
    ("ALTER TABLE tasks ADD COLUMN size integer GENERATED ALWAYS AS (1) STORED", &["adding-field-with-default"]),
    ("ALTER TABLE tasks ADD COLUMN number bigserial", &["table-rewrite"]),
    ("ALTER TABLE tasks ALTER COLUMN title TYPE uuid", &["changing-column-type"]),
    ("ALTER TABLE tasks SET UNLOGGED", &["table-rewrite"]),
    ("VACUUM FULL tasks", &["table-rewrite"]),
    ("UPDATE tasks SET title = upper(title)", &["backfill-in-one"]),
    ("UPDATE tasks SET assignee_id = (SELECT id FROM users LIMIT 100)", &["backfill-in-one"]),
    ("UPDATE tasks SET title = '' WHERE project_id = (SELECT id FROM projects LIMIT 1)", &["backfill-in-one"]),
    (
        "WITH renamed AS (UPDATE tasks SET title = upper(title) RETURNING id) SELECT id FROM renamed LIMIT 100",
        &["backfill-in-one"],
    ),
    ("WITH gone AS (DELETE FROM comments RETURNING id) DELETE FROM tasks", &["backfill-in-one"]),
    ("TRUNCATE tasks", &["ban-truncate"]),
    // Indexes.
    (
        "CREATE INDEX idx_tasks_title ON tasks (title) WHERE deleted_at IS NULL",
        &["index-without-query", "require-concurrent-index-creation"],
    ),
    (
        "CREATE INDEX CONCURRENTLY tasks_by_title ON public.tasks (title)",
        &["index-name", "index-of-deleted-rows", "index-without-query", "invalid-index-stays"],
    ),
    (
        "DROP INDEX CONCURRENTLY IF EXISTS idx_tasks_title; BEGIN; \
         CREATE INDEX CONCURRENTLY idx_tasks_title ON tasks (title) WHERE deleted_at IS NULL; COMMIT",
        &["concurrently-in-transaction", "index-without-query"],
    ),
    ("DROP INDEX idx_tasks_list", &["require-concurrent-index-deletion"]),
    ("REINDEX TABLE tasks", &["require-concurrent-reindex"]),
    // What the version before cannot live with.
    ("ALTER TABLE tasks ADD COLUMN estimate integer NOT NULL", &["adding-required-field"]),
    ("ALTER TABLE tasks RENAME COLUMN title TO name", &["renaming-column"]),
    ("ALTER TABLE tasks DROP COLUMN description", &["ban-drop-column"]),
    // More than one change, and none.
    ("ALTER TABLE tasks ADD COLUMN a text, ADD COLUMN b text", &["one-change"]),
    ("CREATE TABLE a (id uuid); CREATE TABLE b (id uuid)", &["one-change"]),
    (
        "WITH one AS (INSERT INTO users (email) VALUES ('one') RETURNING id) SELECT id FROM one; \
         ALTER TABLE tasks ADD COLUMN a text",
        &["one-change"],
    ),
    ("ALTER TABEL tasks", &["syntax-error"]),
];

/// Statements that may, in the order of an expansion and a contraction.
const GOOD: [&str; 16] = [
    "ALTER TABLE tasks ADD COLUMN estimate integer",
    "ALTER TABLE tasks ADD COLUMN stage text NOT NULL DEFAULT 'open'",
    "ALTER TABLE tasks ADD COLUMN seen_at timestamptz DEFAULT now()",
    "UPDATE tasks SET estimate = 1 WHERE id IN (SELECT id FROM tasks WHERE estimate IS NULL LIMIT 5000)",
    "WITH batch AS (SELECT id FROM tasks WHERE estimate IS NULL LIMIT 5000) \
     UPDATE tasks SET estimate = 1 FROM batch WHERE tasks.id = batch.id",
    "WITH batch AS (SELECT id FROM tasks WHERE estimate IS NULL LIMIT 5000), \
     done AS (UPDATE tasks SET estimate = 1 FROM batch WHERE tasks.id = batch.id RETURNING 1) SELECT count(*) FROM done",
    "DELETE FROM comments WHERE id = ANY (ARRAY(SELECT id FROM comments WHERE body = '' LIMIT 5000))",
    "ALTER TABLE tasks ADD CONSTRAINT ck_tasks_estimate CHECK (estimate IS NOT NULL) NOT VALID",
    "ALTER TABLE tasks VALIDATE CONSTRAINT ck_tasks_estimate",
    "ALTER TABLE tasks ALTER COLUMN estimate SET NOT NULL",
    "ALTER TABLE tasks ADD CONSTRAINT fk_x FOREIGN KEY (assignee_id) REFERENCES users (id) ON DELETE RESTRICT NOT VALID",
    "ALTER TABLE tasks VALIDATE CONSTRAINT fk_x",
    "CREATE TABLE labels (id uuid NOT NULL, task_id uuid REFERENCES tasks (id), CONSTRAINT pk_labels PRIMARY KEY (id))",
    "DROP INDEX CONCURRENTLY IF EXISTS idx_tasks_title; \
     CREATE INDEX CONCURRENTLY idx_tasks_title ON tasks (title) WHERE deleted_at IS NULL",
    "DROP INDEX CONCURRENTLY IF EXISTS idx_tasks_title",
    "REINDEX INDEX CONCURRENTLY idx_tasks_list",
];

/// A directory of SQL files, which goes when it is dropped.
struct Files {
    directory: PathBuf,
    paths: Vec<PathBuf>,
}

impl Files {
    fn of(texts: impl IntoIterator<Item = String>) -> Self {
        let directory = new_path("lint");
        fs::create_dir(&directory).unwrap();
        let write = |(number, text): (usize, String)| {
            let path = directory.join(format!("{number:02}.sql"));
            fs::write(&path, text).unwrap();
            path
        };
        let paths = texts.into_iter().enumerate().map(write).collect();
        Self { directory, paths }
    }

    async fn lint(&self, words: &[&str]) -> Ended {
        run(trellis().args(["migrate", "lint"]).args(words).args(&self.paths)).await
    }

    /// The findings of each file: rule and what to write instead.
    async fn findings(&self) -> Vec<BTreeSet<String>> {
        let ended = self.lint(&["--json"]).await;
        let findings: Vec<Value> = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"));
        assert_eq!(ended.code, Some(i32::from(!findings.is_empty())), "findings are a failure");
        let of = |path: &PathBuf| {
            let mine = findings.iter().filter(|finding| Path::new(finding["migration"].as_str().unwrap()) == path);
            mine.map(|finding| {
                for key in ["statement", "problem", "instead"] {
                    assert!(!finding[key].as_str().unwrap().is_empty(), "{finding}");
                }
                finding["rule"].as_str().unwrap().to_owned()
            })
            .collect()
        };
        let all: Vec<BTreeSet<String>> = self.paths.iter().map(of).collect();
        assert_eq!(all.is_empty(), self.paths.is_empty());
        all
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

fn set(rules: &[&str]) -> BTreeSet<String> {
    rules.iter().map(|rule| (*rule).to_owned()).collect()
}

#[tokio::test]
async fn every_statement_that_blocks_rewrites_or_breaks_is_found() {
    let timeout = |number: usize| if number == 0 { "" } else { TIMEOUT };
    let texts = BAD.iter().enumerate().map(|(number, (sql, _))| format!("{}{sql};\n", timeout(number)));
    let found = Files::of(texts).findings().await;
    assert_eq!(found.len(), BAD.len());
    for ((sql, rules), found) in BAD.iter().zip(found) {
        assert_eq!(found, set(rules), "{sql}");
    }
}

#[tokio::test]
async fn every_statement_of_an_expansion_and_its_contraction_passes() {
    let texts = GOOD.iter().map(|sql| format!("-- Serves \"what is told here\".\n{TIMEOUT}{sql};\n"));
    let found = Files::of(texts).findings().await;
    assert_eq!(found.len(), GOOD.len());
    for (sql, found) in GOOD.iter().zip(found) {
        assert_eq!(found, set(&[]), "{sql}");
    }
}

#[tokio::test]
async fn a_column_is_not_null_for_free_only_after_its_own_check_is_validated() {
    let not_valid = "ALTER TABLE tasks ADD CONSTRAINT ck_x CHECK (assignee_id IS NOT NULL) NOT VALID";
    let not_null = "ALTER TABLE tasks ALTER COLUMN assignee_id SET NOT NULL";
    let files = [not_valid, not_null].map(|sql| format!("{TIMEOUT}{sql};\n"));
    assert_eq!(Files::of(files).findings().await, [set(&[]), set(&["adding-not-nullable-field"])]);
}

#[tokio::test]
async fn a_finding_is_let_through_with_a_reason_and_only_then() {
    let drop = format!("{TIMEOUT}ALTER TABLE tasks DROP COLUMN description;\n");
    let comments = [
        "-- allow ban-drop-column: no version since 0.3 names it",
        "-- allow ban-drop-column",
        "-- allow ban-drop-column:  ",
        "-- allow renaming-column: no version since 0.3 names it",
        "-- squawk-ignore-file ban-drop-column",
    ];
    let found = Files::of(comments.map(|comment| format!("{comment}\n{drop}"))).findings().await;
    let refused = set(&["allow-without-reason", "ban-drop-column"]);
    let ignored = set(&["allow-without-reason"]);
    assert_eq!(found, [set(&[]), refused.clone(), refused.clone(), refused, ignored]);
}

#[tokio::test]
async fn the_migrations_of_trellis_are_all_checked_and_pass_without_a_database() {
    let ended = Files::of([]).lint(&[]).await;
    let number = migration::files().len();
    assert!(number >= 25, "{number}");
    assert_eq!(ended.out.trim(), format!("{number} migrations, up and down, and 0 files: no findings"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn a_finding_names_its_file_and_says_what_to_write_instead() {
    let files = Files::of([format!("{TIMEOUT}DROP INDEX idx_tasks_list;\n")]);
    let ended = files.lint(&[]).await;
    let path = files.paths[0].display();
    for part in [
        &format!("{path}: require-concurrent-index-deletion\n  DROP INDEX idx_tasks_list;\n  problem: "),
        "\n  instead: DROP INDEX CONCURRENTLY IF EXISTS",
        "and 1 file: 1 finding",
    ] {
        assert!(ended.out.contains(part), "{part}: {ended:?}");
    }
    assert_eq!((ended.code, ended.err.trim()), (Some(1), "trellis: 1 finding"));

    let missing = run(trellis().args(["migrate", "lint", "no/such.sql"])).await;
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.starts_with("trellis: no/such.sql cannot be read"), "{missing:?}");
}

/// A migration whose author knew nothing of the rules.
#[derive(DeriveMigrationName)]
struct Careless {
    use_transaction: bool,
    up: &'static str,
    down: &'static str,
}

#[async_trait::async_trait]
impl MigrationTrait for Careless {
    fn use_transaction(&self) -> Option<bool> {
        Some(self.use_transaction)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.up).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.down).await.map(drop)
    }
}

#[tokio::test]
async fn a_migration_in_rust_is_checked_as_it_is_sent_in_both_directions() {
    let concurrently =
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_tasks_title ON tasks (title) WHERE deleted_at IS NULL";
    let plainly = "DROP INDEX idx_tasks_title";
    let careless = |use_transaction| migration::File {
        migration: Box::new(Careless { use_transaction, up: concurrently, down: plainly }),
        text: "use sea_orm_migration::DbErr;\n",
    };
    let rules = async |use_transaction| {
        let found = lint::findings(&[careless(use_transaction)], &[]).await.unwrap();
        let of = |way: &str| {
            let mine = found.iter().filter(|finding| finding.migration.ends_with(way));
            mine.map(|finding| finding.rule.clone()).collect::<BTreeSet<_>>()
        };
        (of(" up"), of(" down"))
    };
    let build = ["index-without-query", "invalid-index-stays"];
    assert_eq!(rules(false).await, (set(&build), set(&["require-concurrent-index-deletion"])));
    let in_transaction = [&build[..], &["concurrently-in-transaction", "require-lock-timeout"]].concat();
    let down = ["require-concurrent-index-deletion", "require-lock-timeout"];
    assert_eq!(rules(true).await, (set(&in_transaction), set(&down)));
}
