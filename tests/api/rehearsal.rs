//! `trellis migrate rehearse` by the built binary: what a migration does to those who read and write meanwhile is seen,
//! and nothing of the rehearsal stays.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use migration::Migrator;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use sea_orm_migration::MigratorTrait;
use serde_json::Value;
use trellis::database::administration;

use crate::harness::{TEMPLATE, cluster, eventually, new_path, one};
use crate::instance::{Ended, Instance, run, trellis};

/// `trellis migrate rehearse` beside a migrated database of the tests' cluster.
async fn rehearse(words: &[&str]) -> Command {
    let beside = cluster().await.new_database(Some(TEMPLATE)).await;
    let mut command = trellis();
    let url = cluster().await.primary_url(&beside);
    command.args(["--database-url", &url, "migrate", "rehearse", "--tasks", "2000"]).args(words);
    command
}

/// What it found, as JSON, and that its process left no database.
async fn report(command: &mut Command) -> (Ended, Value) {
    let (ended, report) = reported(Instance::spawn(command.arg("--json"))).await;
    assert_eq!(report["left_out"], serde_json::json!([]), "all of the load runs");
    (ended, report)
}

/// The same of one that has begun.
async fn reported(instance: Instance) -> (Ended, Value) {
    let process = instance.pid();
    let ended = instance.ended().await;
    assert_eq!(databases(process).await, 0);
    let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    assert!(
        report["reads"].as_i64().unwrap() > 10 && report["writes"].as_i64().unwrap() > 10,
        "there is a load: {report}"
    );
    (ended, report)
}

/// Rehearses this SQL.
async fn of_sql(sql: &str, words: &[&str]) -> (Ended, Value) {
    let file = Sql::new(sql);
    report(&mut rehearse(&[&["--sql", file.0.to_str().unwrap()], words].concat()).await).await
}

/// A file that goes with its test.
struct Sql(PathBuf);

impl Sql {
    fn new(sql: &str) -> Self {
        let path = new_path("rehearsal.sql");
        fs::write(&path, sql).unwrap();
        Self(path)
    }
}

impl Drop for Sql {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A rehearsal, and a session that has locked something in its scratch database before the first step.
async fn locked(words: &[&str], lock: &str) -> (Instance, DatabaseConnection) {
    let rehearsal = Instance::spawn(rehearse(words).await.arg("--json"));
    let server = administration::connect(&cluster().await.primary_url("postgres")).await.unwrap();
    let find = format!(
        "SELECT max(datname::text), count(*) FROM pg_stat_activity \
         WHERE datname ~ '^trellis_scratch_[0-9]+_{}$' AND application_name LIKE 'trellis load %'",
        rehearsal.pid()
    );
    let database = eventually("its load begins", || async {
        let row = one(&server, &find).await;
        row.try_get_by_index::<Option<String>>(0).unwrap().ok_or("it has not yet")
    })
    .await;
    let holder = administration::connect(&cluster().await.primary_url(&database)).await.unwrap();
    holder.execute_unprepared(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {lock}")).await.unwrap();
    server.close().await.unwrap();
    (rehearsal, holder)
}

/// A rehearsal with something locked until it has given up on a step.
async fn locked_out(words: &[&str], lock: &str) -> (Ended, Value) {
    let (mut rehearsal, holder) = locked(words, lock).await;
    let told = rehearsal.logs("locked out  ").await;
    assert!(told.contains("it is tried again in 1 s"), "{told}");
    holder.execute_unprepared("COMMIT").await.unwrap();
    holder.close().await.unwrap();
    reported(rehearsal).await
}

/// Which steps gave up on a lock.
fn given_up(report: &Value) -> Vec<bool> {
    let steps = report["steps"].as_array().unwrap().iter();
    steps.map(|step| step["locked_out"].as_bool().unwrap()).collect()
}

/// How many scratch databases the process of this number has.
async fn databases(process: u32) -> i64 {
    let connection = administration::connect(&cluster().await.primary_url("postgres")).await.unwrap();
    let count = format!("SELECT count(*) FROM pg_database WHERE datname ~ '^trellis_scratch_[0-9]+_{process}$'");
    let count = one(&connection, &count).await.try_get_by_index(0).unwrap();
    connection.close().await.unwrap();
    count
}

fn problems(step: &Value) -> Vec<&str> {
    step["problems"].as_array().unwrap().iter().map(|problem| problem.as_str().unwrap()).collect()
}

/// A limit that no busy machine reaches by chance: what waits longer waits for the migration.
const PATIENT: [&str; 2] = ["--limit-ms", "2000"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pending_is_rehearsed_step_by_step_as_it_is_sent() {
    let mut command = rehearse(&PATIENT).await;
    let url = command.get_args().nth(1).unwrap().to_str().unwrap().to_owned();
    let up_to_date = run(&mut command).await;
    assert_eq!(up_to_date.code, Some(0), "{up_to_date:?}");
    let newest = Migrator::migrations().last().unwrap().name().to_owned();
    assert!(
        up_to_date.out.contains(&format!("nothing is pending; to rehearse one that is applied: --migration {newest}"))
    );

    let down = run(trellis().args(["migrate", "down", "--steps", "2", "--database-url", &url])).await;
    assert_eq!(down.code, Some(0), "{down:?}");
    let (ended, report) = report(&mut command).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let steps = report["steps"].as_array().unwrap();
    let of: Vec<&str> = steps.iter().map(|step| step["migration"].as_str().unwrap()).collect();
    let migrations = Migrator::migrations();
    let newest: Vec<&str> = migrations.iter().map(|migration| migration.name()).rev().take(2).collect();
    assert_eq!(of, [newest[1], newest[0]]);
    for step in steps {
        assert!(step["statement"].as_str().unwrap().starts_with("CREATE INDEX CONCURRENTLY"), "{step}");
        assert_eq!(problems(step), [""; 0]);
        assert_eq!(step["rewritten"].as_array().unwrap().len(), 0, "{step}");
        assert!(step["ms"].as_f64().unwrap() > 0.0, "{step}");
        // Seen from outside, if at all: it is there for a moment on few rows.
        let lock = step["lock"].as_str().unwrap_or("SHARE UPDATE EXCLUSIVE");
        assert!(
            ["ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "ACCESS SHARE"].iter().any(|mode| lock.starts_with(mode)),
            "{step}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_named_migration_is_rehearsed_from_the_schema_before_it() {
    let mut command = rehearse(&["--migration", "000020", PATIENT[0], PATIENT[1]]).await;
    let (ended, report) = reported(Instance::spawn(command.arg("--json"))).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let of_its_table = serde_json::json!(["idempotency_claim", "idempotency_keep"]);
    assert_eq!(report["left_out"], of_its_table, "what needs the table is not sent");
    let [step] = &report["steps"].as_array().unwrap()[..] else { panic!("one step: {report}") };
    assert!(step["statement"].as_str().unwrap().starts_with("CREATE TABLE idempotency_keys"), "{step}");
    assert_eq!(step["lock"], "SHARE ROW EXCLUSIVE on users", "the foreign key's");

    for (words, told) in [
        (["--migration", "nothing"], "no migration is called nothing"),
        (["--migration", "index_tasks"], "migrations have index_tasks in their names"),
        (["--migration", "create_tasks"], "create_tasks comes before there are rows"),
        (["--sql", "/nowhere.sql"], "/nowhere.sql cannot be read"),
    ] {
        run(&mut rehearse(&words).await).await.assert_refused(&[told]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewrite_under_access_exclusive_is_found_with_its_lock_and_who_waited() {
    let sql = "BEGIN; ALTER TABLE tasks ALTER COLUMN description TYPE varchar(100000); SELECT pg_sleep(2); COMMIT; \
               SELECT pg_sleep(1);";
    let (ended, report) = of_sql(sql, &[]).await;
    ended.assert_refused(&["of 3 steps are not as they should be"]);
    let [alter, sleep, _] = &report["steps"].as_array().unwrap()[..] else { panic!("three steps: {report}") };
    assert_eq!(alter["lock"], "ACCESS EXCLUSIVE on tasks");
    assert_eq!(alter["rewritten"], serde_json::json!(["tasks"]));
    assert!(alter["wal_bytes"].as_i64().unwrap() > 100_000, "{alter}");
    assert_eq!(sleep["lock"], "ACCESS EXCLUSIVE on tasks", "held until the end of the transaction");
    assert!(sleep["waited_ms"].as_f64().unwrap() > 300.0, "{sleep}");
    assert!(sleep["longest_write_ms"].as_f64().unwrap() > 300.0, "{sleep}");
    assert!(problems(sleep)[0].contains(" more than 100: nobody reads or writes the table"), "{sleep}");
    // What was prepared for the column as it was is sent again, as the server does, and is no fault.
    assert!(report["sent_again"].as_i64().unwrap() > 0, "{report}");
    let of_both = [alter, sleep].into_iter().flat_map(problems);
    assert_eq!(of_both.filter(|problem| problem.contains("ran before")).count(), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_users_and_idempotency_keys_is_there_to_be_blocked() {
    let sql = "BEGIN; LOCK TABLE users IN SHARE MODE; SELECT pg_sleep(4); COMMIT; \
               BEGIN; LOCK TABLE idempotency_keys IN SHARE MODE; SELECT pg_sleep(2); COMMIT;";
    let (ended, report) = of_sql(sql, &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let [_, users, _, keys] = &report["steps"].as_array().unwrap()[..] else { panic!("four steps: {report}") };
    assert_eq!((&users["lock"], &users["waited"]), (&"SHARE on users".into(), &"member_add".into()));
    assert_eq!((&keys["lock"], &keys["waited"]), (&"SHARE on idempotency_keys".into(), &"idempotency_claim".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_is_locked_out_is_tried_again_in_a_transaction_and_without() {
    let limit = ["--limit-ms", "20000"];
    let (ended, report) =
        locked_out(&[&["--migration", "000020"], &limit[..]].concat(), "LOCK TABLE users IN ROW EXCLUSIVE MODE").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(given_up(&report), [true, false], "{report}");

    let words = ["--migration", "000026", PATIENT[0], PATIENT[1]];
    let (ended, report) = locked_out(&words, "LOCK TABLE tasks IN ROW EXCLUSIVE MODE").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let steps = report["steps"].as_array().unwrap();
    let first_word = |step: &Value| step["statement"].as_str().unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(steps.iter().map(first_word).collect::<Vec<_>>(), ["CREATE", "DROP", "CREATE"], "{report}");
    assert_eq!(given_up(&report), [true, false, false], "what was built by half is dropped first");
    assert!(steps[0]["ms"].as_f64().unwrap() > 2_900.0, "it waited for three seconds: {report}");
    assert!(steps[0]["longest_write_ms"].as_f64().unwrap() > 0.0, "others wrote meanwhile: {report}");
    assert!(steps[0]["waited_ms"].as_f64().unwrap() < 1_000.0, "and did not wait for it: {report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_never_gets_its_lock_is_given_up_after_three_tries() {
    let words = ["--migration", "000020", "--limit-ms", "20000"];
    let (rehearsal, _holder) = locked(&words, "LOCK TABLE users IN ROW EXCLUSIVE MODE").await;
    let (ended, report) = reported(rehearsal).await;
    ended.assert_refused(&["of 3 steps are not as they should be"]);
    assert_eq!(given_up(&report), [true, true, true], "{report}");
    let steps = report["steps"].as_array().unwrap();
    let wrong: Vec<_> = steps.iter().map(|step| problems(step).len()).collect();
    assert_eq!(wrong, [0, 0, 1], "{report}");
    assert!(problems(&steps[2])[0].starts_with("gave up: canceling statement due to lock timeout"), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_a_file_that_is_locked_out_is_tried_again_as_a_whole() {
    let sql = "CREATE TABLE before (id uuid); BEGIN; CREATE TABLE within (id uuid); \
               ALTER TABLE users ADD COLUMN one integer; COMMIT; CREATE TABLE behind (id uuid);";
    let file = Sql::new(sql);
    let words = ["--sql", file.0.to_str().unwrap(), "--limit-ms", "20000"];
    let (ended, report) = locked_out(&words, "LOCK TABLE users IN ROW EXCLUSIVE MODE").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let steps = report["steps"].as_array().unwrap().iter();
    let of_tables: Vec<&str> =
        steps.map(|step| step["statement"].as_str().unwrap().split(' ').nth(2).unwrap()).collect();
    assert_eq!(of_tables, ["before", "within", "users", "within", "users", "behind"], "{report}");
    assert_eq!(given_up(&report), [false, false, true, false, false, false], "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_waits_for_somebody_who_waits_for_it_is_tried_again() {
    let sql = "CREATE TABLE other (id uuid); BEGIN; ALTER TABLE other ADD COLUMN one integer; SELECT pg_sleep(2); \
               ALTER TABLE users ADD COLUMN one integer; COMMIT;";
    let file = Sql::new(sql);
    let words = ["--sql", file.0.to_str().unwrap(), "--limit-ms", "20000"];
    let (mut rehearsal, holder) = locked(&words, "LOCK TABLE users IN ROW EXCLUSIVE MODE").await;
    let database: String = one(&holder, "SELECT current_database()::text").await.try_get_by_index(0).unwrap();
    let beside = administration::connect(&cluster().await.primary_url(&database)).await.unwrap();
    eventually("the transaction has its first lock", || async {
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                      AND query LIKE 'SELECT pg_sleep%' AND state = 'active'";
        let asleep: i64 = one(&beside, asleep).await.try_get_by_index(0).unwrap();
        if asleep == 1 { Ok(()) } else { Err(asleep) }
    })
    .await;
    // Who begins to wait last finds out that nobody will ever get on.
    let wait = "SET LOCAL lock_timeout = 0; LOCK TABLE other IN ROW EXCLUSIVE MODE; COMMIT";
    holder.execute_unprepared(wait).await.unwrap();
    rehearsal.logs("locked out  ").await;
    let (ended, report) = reported(rehearsal).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(given_up(&report), [false, false, false, true, false, false, false], "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_index_build_is_found_to_stop_writers_alone() {
    let sql = "BEGIN; CREATE INDEX idx_plain ON comments (body text_pattern_ops) WHERE length(body) < 100; \
               SELECT pg_sleep(2); COMMIT;";
    let (ended, report) = of_sql(sql, &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let [create, sleep] = &report["steps"].as_array().unwrap()[..] else { panic!("two steps: {report}") };
    assert_eq!(create["lock"], "SHARE on comments");
    assert_eq!(create["rewritten"].as_array().unwrap().len(), 0);
    assert!(sleep["waited"].as_str().unwrap().starts_with("comment_"), "who writes comments waited: {sleep}");
    assert!(problems(sleep)[0].contains("nobody writes the table"), "{sleep}");

    let file = Sql::new(sql);
    let text = run(&mut rehearse(&["--sql", file.0.to_str().unwrap()]).await).await;
    let row = text.out.lines().find(|line| line.starts_with("|    2 |")).unwrap_or_else(|| panic!("{text:?}"));
    assert!(row.contains("SHARE on comments") && row.ends_with("| FAIL    |"), "{text:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_break_those_that_run_or_fail_themselves_are_found() {
    let sql = "ALTER TABLE comments RENAME COLUMN body TO text; SELECT pg_sleep(2);";
    let (ended, report) = of_sql(sql, &PATIENT).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let broken = report["steps"].as_array().unwrap().iter().flat_map(problems).collect::<Vec<_>>();
    assert!(broken.iter().any(|problem| problem.contains(": ran before, and now: ")), "{broken:?}");

    let (ended, report) = of_sql("VACUUM tasks; ALTER TABLE tasks ADD CHECK (title = 'One')", &PATIENT).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let [vacuum, check] = &report["steps"].as_array().unwrap()[..] else { panic!("two steps: {report}") };
    assert_eq!(problems(vacuum), [""; 0], "what runs in no transaction runs in none");
    assert!(problems(check)[0].starts_with("failed: ") && problems(check)[0].contains("is violated"), "{check}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_rehearsal_leaves_no_database() {
    let file = Sql::new("SELECT pg_sleep(600)");
    let rehearsal = Instance::spawn(&mut rehearse(&["--sql", file.0.to_str().unwrap()]).await);
    let own = rehearsal.pid();
    let connection = administration::connect(&cluster().await.primary_url("postgres")).await.unwrap();
    let sessions = format!("FROM pg_stat_activity WHERE datname ~ '^trellis_scratch_[0-9]+_{own}$'");
    let first = eventually("it has a session", || async {
        let first = format!("SELECT array_agg(pid) {sessions}");
        let first: Option<Vec<i32>> = one(&connection, &first).await.try_get_by_index(0).unwrap();
        first.ok_or("it has none yet")
    })
    .await;
    let asleep = format!("SELECT count(*) {sessions} AND query LIKE 'SELECT pg_sleep%' AND state = 'active'");
    eventually("it is at work", || async {
        let asleep: i64 = one(&connection, &asleep).await.try_get_by_index(0).unwrap();
        if asleep == 1 { Ok(()) } else { Err(asleep) }
    })
    .await;
    let still = format!(
        "SELECT count(*) {sessions} AND pid = ANY('{{{}}}')",
        first.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    );
    let still: i64 = one(&connection, &still).await.try_get_by_index(0).unwrap();
    assert!(still > 0, "one is open all the time: without any, another run would take the database for a left-over");
    rehearsal.interrupted().await.assert_refused(&["SIGINT", "nothing of it stays"]);
    assert_eq!(databases(own).await, 0);
}
