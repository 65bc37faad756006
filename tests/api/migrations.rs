//! The schema's way up and down, alone, at the same moment, and after a failure.

use migration::Migrator;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use sea_orm_migration::MigratorTrait;
use trellis::config::MigrateAction;
use trellis::database::administration;
use trellis::migrate;

use crate::catalog::texts;
use crate::harness::{cluster, eventually};
use crate::instance::{Instance, run, trellis};

/// Everything that migrations make, with whatever of it could differ.
const CATALOG: &str = "
SELECT format('table %s %s %s', relname, relkind, reloptions)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i'
UNION ALL
SELECT format('column %s %s %s %s not null %s default %s', c.relname, a.attnum, a.attname,
    format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
UNION ALL
SELECT format('constraint %s %s %s validated %s', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT format('index %s valid %s ready %s', pg_get_indexdef(indexrelid), indisvalid, indisready)
FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT format('function %s', proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT format('trigger %s', tgname) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT format('type %s', typname) FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
ORDER BY 1";

const INVALID: &str = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid";

/// An empty database.
struct Empty {
    url: String,
    sql: DatabaseConnection,
}

impl Empty {
    async fn new() -> Self {
        let cluster = cluster().await;
        let url = cluster.primary_url(&cluster.new_database(None).await);
        let sql = administration::connect(&url).await.unwrap();
        Self { url, sql }
    }

    /// Migrates, and gives the lines that were said.
    async fn migrate(&self, action: MigrateAction) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        migrate::run(&self.url, action, |line| lines.push(line)).await?;
        Ok(lines)
    }

    async fn up(&self) -> Vec<String> {
        self.migrate(MigrateAction::Up).await.unwrap()
    }

    async fn down(&self, steps: usize) -> Vec<String> {
        self.migrate(MigrateAction::Down { steps: steps.try_into().unwrap() }).await.unwrap()
    }

    /// Migrates in a process of its own.
    fn spawn(&self, word: &str) -> Instance {
        Instance::spawn(trellis().args(["migrate", word, "--database-url", &self.url]))
    }

    /// Takes the newest index back, and everything after it; gives the place of its migration.
    async fn without_last_index(&self) -> usize {
        let names = names();
        let last = names.iter().rposition(|name| name.contains("index")).expect("some migrations build indexes");
        self.up().await;
        self.down(names.len() - last).await;
        last
    }

    /// A session with a snapshot: a concurrent build waits at its end for every older one.
    async fn snapshot(&self) -> DatabaseConnection {
        let reader = administration::connect(&self.url).await.unwrap();
        reader.execute_unprepared("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM tasks").await.unwrap();
        reader
    }

    /// Every row of a table, as one number.
    async fn checksum(&self, table: &str) -> String {
        let sql = format!("SELECT format('%s %s', count(*), md5(string_agg(t::text, ' ' ORDER BY id))) FROM {table} t");
        texts(&self.sql, &sql).await.remove(0)
    }

    async fn catalog(&self) -> Vec<String> {
        texts(&self.sql, CATALOG).await
    }

    /// The migrations that are on record, in the order of their names.
    async fn recorded(&self) -> Vec<String> {
        texts(&self.sql, "SELECT version FROM seaql_migrations ORDER BY version").await
    }
}

/// The names of all migrations, oldest first.
fn names() -> Vec<String> {
    let names: Vec<String> = Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    assert!(names.len() >= 19, "{names:?}");
    assert!(names.is_sorted(), "their names are in the order in which they run: {names:?}");
    names
}

fn each(word: &str, names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("{word}  {name}")).collect()
}

#[tokio::test]
async fn up_then_all_the_way_down_then_up_gives_the_same_catalog() {
    let (database, names) = (Empty::new().await, names());
    assert_eq!(database.up().await, each("applied", &names));
    let first = database.catalog().await;
    let count = |kind: &str| first.iter().filter(|line| line.starts_with(kind)).count();
    let seen = ["table", "column", "constraint", "index"].map(count);
    assert!(seen.iter().zip([7, 48, 27, 20]).all(|(seen, least)| *seen >= least), "{seen:?}");

    let backwards: Vec<String> = names.iter().rev().cloned().collect();
    assert_eq!(database.down(names.len()).await, each("taken back", &backwards));
    let empty = database.catalog().await;
    assert!(empty.iter().all(|line| line.contains("seaql_migrations")), "only the record is left: {empty:#?}");
    assert_eq!(database.recorded().await, [""; 0]);
    assert_eq!(database.down(1).await, ["nothing to take back"]);

    assert_eq!(database.up().await, each("applied", &names));
    assert_eq!(database.catalog().await, first);
}

#[tokio::test]
async fn every_single_step_down_is_undone_by_the_step_up() {
    let (database, names) = (Empty::new().await, names());
    database.up().await;
    let mut catalogs = vec![database.catalog().await];
    for name in names.iter().rev() {
        assert_eq!(database.down(1).await, [format!("taken back  {name}")]);
        let catalog = database.catalog().await;
        assert_ne!(Some(&catalog), catalogs.last(), "{name} does something");
        catalogs.push(catalog);
    }
    assert_eq!(catalogs.len(), names.len() + 1);
    catalogs.pop();
    for (name, expected) in names.iter().zip(catalogs.iter().rev()) {
        Migrator::up(&database.sql, Some(1)).await.unwrap();
        assert_eq!(&database.catalog().await, expected, "{name}");
    }
}

#[tokio::test]
async fn migrating_a_current_database_changes_nothing() {
    let database = Empty::new().await;
    database.up().await;
    let record = "SELECT format('%s %s', version, applied_at) FROM seaql_migrations ORDER BY 1";
    let before = (database.catalog().await, texts(&database.sql, record).await);
    assert!(before.0.len() >= 100, "{}", before.0.len());
    assert_eq!(database.up().await, ["nothing to apply"]);
    assert_eq!((database.catalog().await, texts(&database.sql, record).await), before);
}

#[tokio::test]
async fn the_command_line_lists_every_migration_with_its_state_and_takes_steps() {
    let (database, names) = (Empty::new().await, names());
    let migrate = async |words: &[&str]| {
        let ended = run(trellis().args(["migrate", "--database-url", &database.url]).args(words)).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(migrate(&["status"]).await, each("pending", &names));
    assert_eq!(database.catalog().await, [""; 0], "to look changes nothing");
    assert_eq!(migrate(&["up"]).await, each("applied", &names));
    assert_eq!(migrate(&["status"]).await, each("applied", &names));

    let (kept, last) = names.split_at(names.len() - 2);
    assert_eq!(migrate(&["down", "--steps", "1"]).await, each("taken back", &last[1..]));
    assert_eq!(migrate(&["down"]).await, each("taken back", &last[..1]), "one step, where nothing is said");
    assert_eq!(migrate(&["status"]).await, [each("applied", kept), each("pending", last)].concat());
    assert_eq!(migrate(&["up"]).await, each("applied", last));
    assert_eq!(database.recorded().await, names);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runs_at_the_same_moment_both_succeed_and_apply_each_migration_once() {
    let (database, names) = (Empty::new().await, names());
    let (one, two) =
        tokio::join!(database.migrate(MigrateAction::Up), async { database.migrate(MigrateAction::Up).await });
    let said = [one.unwrap(), two.unwrap()].concat();
    let mut applied: Vec<_> = said.iter().filter(|line| line.starts_with("applied")).cloned().collect();
    applied.sort();
    assert_eq!(applied, each("applied", &names), "{said:#?}");
    assert_eq!(database.recorded().await, names);
    assert_eq!(texts(&database.sql, INVALID).await, [""; 0]);
}

#[tokio::test]
async fn an_index_that_a_failed_run_left_half_built_is_built_anew() {
    let (database, names) = (Empty::new().await, names());
    let last = database.without_last_index().await;
    let reader = database.snapshot().await;
    let failure = format!("{:#}", database.migrate(MigrateAction::Up).await.unwrap_err());
    assert!(failure.contains("run migrate again") && failure.contains("lock timeout"), "{failure}");
    let half_built = texts(&database.sql, INVALID).await;
    assert_eq!(half_built.len(), 1, "{half_built:?}");
    assert_eq!(database.recorded().await, names[..last], "and it is not on record");
    reader.execute_unprepared("COMMIT").await.unwrap();

    assert_eq!(database.up().await, each("applied", &names[last..]));
    assert_eq!(texts(&database.sql, INVALID).await, [""; 0]);
}

#[tokio::test]
async fn a_build_that_is_locked_out_is_tried_again_by_the_same_run() {
    let (database, names) = (Empty::new().await, names());
    let last = database.without_last_index().await;
    let reader = database.snapshot().await;
    let mut run = database.spawn("up");
    let told = run.line("locked out  ").await;
    assert!(told.starts_with(&names[last]), "{told}");
    reader.execute_unprepared("COMMIT").await.unwrap();
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(database.recorded().await, names);
    assert_eq!(texts(&database.sql, INVALID).await, [""; 0]);
}

#[tokio::test]
async fn an_index_whose_build_was_killed_in_the_middle_is_found_and_built_anew() {
    let (database, names) = (Empty::new().await, names());
    database.up().await;
    let complete = database.catalog().await;
    let last = database.without_last_index().await;
    let reader = database.snapshot().await;
    let run = database.spawn("up");
    let waiting = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() \
        AND query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'";
    eventually("the build waits for the snapshot", || async {
        let pids = texts(&database.sql, waiting).await;
        if pids.len() == 1 { Ok(()) } else { Err(pids) }
    })
    .await;
    run.killed().await;
    eventually("the build ends too", || async {
        let pids = texts(&database.sql, waiting).await;
        if pids.is_empty() { Ok(()) } else { Err(pids) }
    })
    .await;
    assert_eq!(texts(&database.sql, INVALID).await.len(), 1, "the kill came in the middle");
    assert_eq!(database.recorded().await, names[..last]);
    reader.execute_unprepared("COMMIT").await.unwrap();

    assert_eq!(database.spawn("up").ended().await.code, Some(0));
    assert_eq!(database.catalog().await, complete);
    assert_eq!(texts(&database.sql, INVALID).await, [""; 0]);
}

#[tokio::test]
async fn up_down_up_on_a_full_database_gives_the_same_catalog_and_no_index_takes_a_row_along() {
    const TABLES: [&str; 6] = ["users", "workspaces", "members", "projects", "tasks", "comments"];
    let (database, names) = (Empty::new().await, names());
    database.up().await;
    let complete = database.catalog().await;
    let seeded = run(trellis().args(["seed", "--tasks", "3000", "--database-url", &database.url])).await;
    assert_eq!(seeded.code, Some(0), "{seeded:?}");
    let mut before = Vec::new();
    for table in TABLES {
        before.push(database.checksum(table).await);
        assert!(!before.last().unwrap().starts_with("0 "), "{table} has rows");
    }

    let tables = names.iter().position(|name| name.contains("index")).expect("tables come before indexes");
    assert_eq!(tables, TABLES.len());
    database.down(names.len() - tables).await;
    assert_eq!(database.up().await, each("applied", &names[tables..]));
    assert_eq!(database.catalog().await, complete);
    for (table, before) in TABLES.iter().zip(before) {
        assert_eq!(database.checksum(table).await, before, "{table}");
    }

    database.down(names.len()).await;
    database.up().await;
    assert_eq!(database.catalog().await, complete);
}

#[tokio::test]
async fn a_version_before_starts_on_a_newer_schema_and_leaves_it_alone() {
    let (database, names) = (Empty::new().await, names());
    database.up().await;
    let newer = "m20991231_235959_newer";
    database.sql.execute_unprepared(&format!("INSERT INTO seaql_migrations VALUES ('{newer}', 0)")).await.unwrap();
    assert_eq!(migrate::pending(&database.url).await.unwrap(), 0, "so the server starts");
    assert_eq!(database.up().await, ["nothing to apply; another version has applied 1 more"]);
    let status = database.migrate(MigrateAction::Status).await.unwrap();
    assert_eq!(status, [each("applied", &names), vec![format!("applied  {newer}, by another version")]].concat());
    let refused = format!("{:#}", database.migrate(MigrateAction::Down { steps: 1 }).await.unwrap_err());
    assert!(refused.contains(newer) && refused.contains("migrate with that version"), "{refused}");
    assert_eq!(database.recorded().await, [names, vec![newer.to_owned()]].concat());
}

#[tokio::test]
async fn a_table_that_is_in_use_makes_a_run_give_up_soon_and_whole() {
    let database = Empty::new().await;
    let names = names();
    let tables = names.iter().position(|name| name.contains("index")).expect("tables come before indexes");
    database.up().await;
    database.down(names.len() - tables).await;
    let before = database.catalog().await;

    let reader = administration::connect(&database.url).await.unwrap();
    reader.execute_unprepared("BEGIN; SELECT count(*) FROM comments").await.unwrap();
    let action = MigrateAction::Down { steps: 1 };
    let failure = format!("{:#}", database.migrate(action).await.unwrap_err());
    assert!(failure.contains(&names[tables - 1]) && failure.contains("lock timeout"), "{failure}");
    reader.execute_unprepared("COMMIT").await.unwrap();
    assert_eq!(database.catalog().await, before);
    assert_eq!(database.recorded().await, names[..tables]);
    assert_eq!(database.down(1).await, each("taken back", &names[tables - 1..tables]), "the lock is free again");
}

#[tokio::test]
async fn a_session_that_keeps_a_lock_or_a_setting_is_not_replaced_after_a_while() {
    let database = Empty::new().await;
    let options = database.sql.get_postgres_connection_pool().options();
    assert_eq!((options.get_idle_timeout(), options.get_max_lifetime()), (None, None));
}
