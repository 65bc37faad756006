//! `trellis doctor`: each thing that it looks for is broken, seen to be found by that line and no other, and healed by
//! the commands that the line gives.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use trellis::database::{Addresses, administration};

use crate::harness::{SECRET, World, cluster, eventually, one};
use crate::instance::{DataDirectory, Ended, Instance, run, trellis};
use crate::pooler::Pooler;

/// What the doctor said: each finding by server and check.
struct Examination {
    code: Option<i32>,
    findings: BTreeMap<String, Value>,
}

/// What is not OK, a line each.
impl std::fmt::Debug for Examination {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "code {:?}", self.code)?;
        for (name, finding) in self.findings.iter().filter(|(_, finding)| finding["verdict"] != "OK") {
            writeln!(formatter, "{} {name}: {} {}", finding["verdict"], finding["found"], finding["remedy"])?;
        }
        Ok(())
    }
}

/// Runs the doctor, with more words.
async fn call(addresses: &Addresses, words: &[&str]) -> Ended {
    let mut command = trellis();
    command.arg("doctor").args(words).env("DATABASE_URL", &addresses.primary);
    run(command.env("REPLICA_URLS", addresses.replicas.join(","))).await
}

async fn examine(addresses: &Addresses, words: &[&str]) -> Examination {
    let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    Examination::of(&call(addresses, &words).await)
}

impl Examination {
    fn of(ended: &Ended) -> Self {
        let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        let findings = report["findings"].as_array().unwrap();
        let name = |finding: &Value| format!("{} {}", finding["server"], finding["check"]).replace('"', "");
        let by_name: BTreeMap<String, Value> =
            findings.iter().map(|finding| (name(finding), finding.clone())).collect();
        assert_eq!(by_name.len(), findings.len(), "no check is there twice: {report}");
        let of = |verdict: &str| by_name.values().filter(|finding| finding["verdict"] == verdict).count();
        assert_eq!(report["summary"]["ok"], of("OK"), "{report}");
        assert_eq!(report["summary"]["warn"], of("WARN"), "{report}");
        assert_eq!(report["summary"]["fail"], of("FAIL"), "{report}");
        for (name, finding) in &by_name {
            let text = |key: &str| finding[key].as_str().unwrap();
            assert!(!text("found").is_empty(), "{name}");
            assert_eq!(
                text("verdict") == "OK",
                text("meaning").is_empty(),
                "what is not OK means something: {finding}"
            );
        }
        Self { code: ended.code, findings: by_name }
    }

    fn finding(&self, name: &str) -> &Value {
        self.findings.get(name).unwrap_or_else(|| panic!("there is {name}: {:#?}", self.findings.keys()))
    }

    /// The remedies that are SQL.
    fn commands(&self, name: &str) -> Vec<String> {
        let is_word = |word: &str| word.len() > 2 && word.chars().all(|letter| letter.is_ascii_uppercase());
        let is_command = |line: &String| line.split(' ').next().is_some_and(is_word) && !line.contains('…');
        self.remedies(name).into_iter().filter(is_command).collect()
    }

    fn remedies(&self, name: &str) -> Vec<String> {
        let lines = self.finding(name)["remedy"].as_array().unwrap();
        lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    /// The lines whose verdict is not that of `before`, with their new one. Other tests use the same servers at the same
    /// time: what is said of replication and checkpoints is not this database's.
    fn changes_since(&self, before: &Self) -> Vec<String> {
        assert_eq!(self.findings.len(), before.findings.len());
        let own = |finding: &Value| finding["area"] != "replication" && finding["check"] != "checkpoints";
        let changed = |(name, finding): (&String, &Value)| {
            let verdict = &finding["verdict"];
            let is_new = before.finding(name)["verdict"] != *verdict && own(finding);
            is_new.then(|| format!("{} {name}", verdict.as_str().unwrap()))
        };
        self.findings.iter().filter_map(changed).collect()
    }
}

/// A database and what the doctor said of it while it was whole.
struct Patient {
    world: World,
    words: &'static [&'static str],
    healthy: Examination,
}

impl Patient {
    /// A database with some rows, in the cluster of all tests.
    async fn new(words: &'static [&'static str]) -> Self {
        let world = World::new().await;
        let ada = world.user("ada").await;
        let workspace = world.workspace("atlas", ada).await;
        let project = world.project(workspace, "Maps").await;
        for title in ["One", "Two"] {
            let task = world.task(project, title).await;
            world.comment(task, ada, "Yes").await;
        }
        Self::of(world, words).await
    }

    async fn of(world: World, words: &'static [&'static str]) -> Self {
        world.replicated().await;
        let healthy = examine(&world.addresses, words).await;
        Self { world, words, healthy }
    }

    async fn examine(&self) -> Examination {
        self.world.replicated().await;
        examine(&self.world.addresses, self.words).await
    }

    /// Breaks something, and sees these lines change and no others.
    async fn breaks(&self, sql: &str, expected: &[&str]) -> Examination {
        self.world.execute(sql).await;
        let broken = self.examine().await;
        assert_eq!(broken.changes_since(&self.healthy), expected, "{sql}: {broken:?}");
        let fails = broken.findings.values().any(|finding| finding["verdict"] == "FAIL");
        assert_eq!(broken.code, Some(i32::from(fails)), "{sql}");
        broken
    }

    /// Does what a line says, and sees that all is as before. A VACUUM may come too early: the primary learns only from
    /// time to time what its replica still needs.
    async fn heals(&self, broken: &Examination, name: &str) {
        let commands = broken.commands(name);
        assert!(!commands.is_empty(), "{broken:?}");
        self.until(&commands, &[]).await;
    }

    /// Does this again and again until these lines are all that differs.
    async fn until(&self, commands: &[String], expected: &[&str]) -> Examination {
        eventually(&format!("{commands:?} leads to {expected:?}"), || async {
            for command in commands {
                self.world.execute(command).await;
            }
            let report = self.examine().await;
            if report.changes_since(&self.healthy) == expected { Ok(report) } else { Err(report) }
        })
        .await
    }
}

/// A UUID of version 7 and of an instant, in SQL.
fn key_at(instant: &str) -> String {
    let bytes = format!(
        "overlay(uuid_send(gen_random_uuid()) \
         PLACING substring(int8send((extract(epoch FROM {instant}) * 1000)::bigint) FROM 3) FROM 1 FOR 6)"
    );
    format!("encode(set_byte({bytes}, 6, 112 | (get_byte(uuid_send(gen_random_uuid()), 6) & 15)), 'hex')::uuid")
}

/// Adds many tasks: some 17 MB of them, and of their widest index.
fn many_tasks() -> String {
    format!(
        "INSERT INTO tasks (id, project_id, title, status, priority, created_at)
         SELECT {}, (SELECT id FROM projects LIMIT 1), repeat(md5(n::text), 10), 'todo', 'medium', clock_timestamp()
         FROM generate_series(1, 40000) n",
        key_at("clock_timestamp()")
    )
}

/// Hands this session's counts over at once, as every session does after a while.
const FLUSH: &str = "SELECT pg_stat_force_next_flush()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_private_cluster_every_line_is_ok_in_json_and_in_text() {
    let data = DataDirectory::with_demo("doctor-healthy").await;
    let report = eventually("every line is OK", || async {
        let ended = run(&mut data.command(&["doctor", "--json", "--strict", "--database-cores", "4"])).await;
        if ended.code == Some(0) { Ok(Examination::of(&ended)) } else { Err(ended) }
    })
    .await;
    assert!(report.findings.len() >= 49, "{:#?}", report.findings);
    assert!(report.findings.values().all(|finding| finding["verdict"] == "OK"));
    assert_eq!(report.finding("primary missing")["found"], "none: 19 indexes of the migrations are as designed");
    let of_keys = "8 foreign keys, each with an index; 8 not of all rows, so deleting is marking and not DELETE";
    assert_eq!(report.finding("primary foreign keys")["found"], of_keys);
    assert!(report.finding("primary UUID versions")["found"].as_str().unwrap().contains(" sampled in 7 tables"));

    let text = run(&mut data.command(&["doctor", "--database-cores", "4"])).await;
    assert_eq!(text.code, Some(0), "{text:?}");
    let lines: Vec<&str> = text.out.lines().collect();
    let findings = lines.iter().filter(|line| line.starts_with("  OK    ")).count();
    assert_eq!(findings, report.findings.len(), "{}", text.out);
    assert_eq!(*lines.last().unwrap(), format!("{findings} OK, 0 WARN, 0 FAIL"));
    assert!(!text.out.contains('\x1b'), "colours are for terminals");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_text_that_is_not_ok_says_what_it_means_and_what_to_do() {
    let patient = Patient::new(&[]).await;
    patient.world.execute("DROP INDEX idx_tasks_active").await;
    let text = call(&patient.world.addresses, &[]).await;
    assert_eq!(text.code, Some(1), "{text:?}");
    let mut lines = text.out.lines().skip_while(|line| !line.contains("idx_tasks_active"));
    let mut next = || lines.next().unwrap();
    assert_eq!(
        next().split_whitespace().collect::<Vec<_>>().join(" "),
        "FAIL primary missing 1 of 19 missing: idx_tasks_active"
    );
    assert!(next().starts_with("          means: the statements that they serve"), "{}", text.out);
    assert_eq!(
        next(),
        "          do:    CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_tasks_active ON tasks (project_id, due_date) \
         WHERE deleted_at IS NULL AND status <> 'completed';"
    );
    assert!(text.err.contains("checks are not as they should be"), "{text:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_that_are_missing_changed_invalid_or_double_are_found_and_mended() {
    let patient = Patient::new(&[]).await;
    let broken = patient.breaks("DROP INDEX idx_tasks_active", &["FAIL primary missing"]).await;
    patient.heals(&broken, "primary missing").await;

    let other = "DROP INDEX idx_tasks_active; CREATE INDEX idx_tasks_active ON tasks (project_id, due_date, title)";
    let broken = patient.breaks(other, &["FAIL primary missing"]).await;
    assert_eq!(broken.finding("primary missing")["found"], "1 of 19 not as designed: idx_tasks_active");
    patient.heals(&broken, "primary missing").await;

    let half = "CREATE UNIQUE INDEX CONCURRENTLY half ON tasks (project_id)";
    assert!(patient.world.sql.execute_unprepared(half).await.is_err(), "two tasks are in one project");
    let broken = patient.breaks("SELECT 1", &["FAIL primary invalid"]).await;
    assert_eq!(broken.finding("primary invalid")["found"], "half");
    patient.heals(&broken, "primary invalid").await;

    let double =
        "CREATE INDEX double ON tasks (project_id, due_date) WHERE deleted_at IS NULL AND status <> 'completed'";
    let broken = patient.breaks(double, &["WARN primary duplicate"]).await;
    let found = broken.finding("primary duplicate")["found"].as_str().unwrap();
    assert!(found.starts_with("double (") && found.ends_with("repeats idx_tasks_active"), "{found}");
    patient.heals(&broken, "primary duplicate").await;

    let broken =
        patient.breaks("DROP INDEX idx_comments_author", &["WARN primary foreign keys", "FAIL primary missing"]).await;
    assert_eq!(broken.finding("primary foreign keys")["found"], "without an index: fk_comments_author_id");
    patient.heals(&broken, "primary missing").await;
}

/// Nobody vacuums but the test.
const BY_HAND: &str = "autovacuum = off";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_statistics_a_stale_visibility_map_dead_rows_and_bloat_are_found_and_mended() {
    let own = OwnCluster::start("doctor-stale", BY_HAND).await;
    let patient = Patient::of(own.world().await, &[]).await;
    assert_eq!(patient.healthy.finding("primary autovacuum")["verdict"], "FAIL");
    let breaks = async |sql: &str, expected: &[&str]| patient.breaks(&format!("{sql}; {FLUSH}"), expected).await;

    let broken = breaks(&many_tasks(), &["WARN primary statistics", "WARN primary visibility map"]).await;
    assert_eq!(broken.finding("primary statistics")["found"], "tasks: never analyzed");
    patient.until(&broken.commands("primary statistics"), &["WARN primary visibility map"]).await;
    patient.heals(&broken, "primary visibility map").await;

    let few = "UPDATE tasks SET priority = 'high' WHERE hashtext(id::text) % 20 = 0";
    let broken = breaks(few, &["WARN primary visibility map"]).await;
    patient.heals(&broken, "primary visibility map").await;

    let many = "UPDATE tasks SET title = 'x' || title WHERE hashtext(id::text) % 3 = 0";
    let all = ["WARN primary dead rows", "WARN primary statistics", "WARN primary visibility map"];
    let broken = breaks(many, &all).await;
    patient.heals(&broken, "primary dead rows").await;

    patient.world.execute("DELETE FROM tasks WHERE length(title) > 300 AND hashtext(id::text) % 10 <> 0").await;
    let broken = patient.until(&["VACUUM (ANALYZE) tasks".to_owned()], &["WARN primary bloated"]).await;
    let found = broken.finding("primary bloated")["found"].as_str().unwrap();
    assert!(found.contains("idx_tasks_list") && !found.contains("idx_comments_list"), "{found}");
    patient.heals(&broken, "primary bloated").await;
    drop(patient);
    own.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_of_tables_that_are_not_those_of_the_design_are_found_and_mended() {
    let patient = Patient::new(&[]).await;
    let broken = patient
        .breaks("ALTER TABLE comments RESET (autovacuum_vacuum_scale_factor)", &["WARN primary table parameters"])
        .await;
    let found = &broken.finding("primary table parameters")["found"];
    assert_eq!(*found, "comments: autovacuum_vacuum_scale_factor is not 0.01");
    patient.heals(&broken, "primary table parameters").await;
    let broken =
        patient.breaks("ALTER TABLE comments SET (autovacuum_enabled = off)", &["FAIL primary table parameters"]).await;
    assert_eq!(broken.finding("primary table parameters")["found"], "comments: autovacuum is off");
    patient.heals(&broken, "primary table parameters").await;
}

/// Asks a server something several times, and hands the counts over.
async fn repeat(connection: &DatabaseConnection, times: u32, sql: &str) {
    for _ in 0..times {
        one(connection, sql).await;
    }
    connection.execute_unprepared(FLUSH).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_readings_of_large_tables_and_indexes_that_no_server_reads_are_found() {
    let own = OwnCluster::start("doctor-usage", BY_HAND).await;
    let patient = Patient::of(own.world().await, &["--unused-after-days", "0"]).await;
    let (primary, replica) = (&patient.world.sql, &patient.world.replica_sql);
    patient.world.execute(&many_tasks()).await;
    patient.world.execute("CREATE INDEX idle ON tasks (title) WHERE deleted_at IS NULL").await;
    patient.until(&["VACUUM (ANALYZE) tasks".to_owned()], &[]).await;

    let whole = "SELECT count(*) FROM tasks WHERE description = 'nothing'";
    repeat(primary, 6, whole).await;
    patient.breaks("SELECT 1", &[]).await;
    repeat(replica, 11, whole).await;
    patient.breaks("SELECT 1", &["WARN replica-1 large tables"]).await;
    repeat(primary, 6, whole).await;
    let both = ["WARN primary large tables", "WARN replica-1 large tables"];
    let broken = patient.breaks("SELECT 1", &both).await;
    let found = broken.finding("primary large tables")["found"].as_str().unwrap();
    assert!(found.starts_with("tasks (") && found.contains(" times in "), "{found}");

    let by_list = "SELECT count(*) FROM tasks WHERE project_id = (SELECT project_id FROM tasks LIMIT 1) \
        AND status = 'none' AND deleted_at IS NULL";
    let by_key = "SELECT count(t.id) FROM (SELECT id FROM tasks LIMIT 1500) k \
        CROSS JOIN LATERAL (SELECT id FROM tasks t WHERE t.id = k.id OFFSET 0) t";
    repeat(primary, 1, by_list).await;
    repeat(primary, 1, by_key).await;
    let broken = patient.breaks("SELECT 1", &[both[0], "WARN primary unused", both[1]]).await;
    let found = broken.finding("primary unused")["found"].as_str().unwrap();
    assert!(found.starts_with("idle (") && !found.contains("idx_"), "{found}");
    assert_eq!(broken.commands("primary unused"), ["DROP INDEX CONCURRENTLY idle;"]);
    repeat(replica, 1, "SELECT count(*) FROM tasks WHERE title = 'none' AND deleted_at IS NULL").await;
    patient.breaks("SELECT 1", &both).await;

    let young = examine(&patient.world.addresses, &["--unused-after-days", "1000000"]).await;
    let found = young.finding("primary unused")["found"].as_str().unwrap();
    assert!(found.starts_with("not judged: "), "{found}");

    // However long the server runs, an index has not been there for longer than its migration.
    patient
        .breaks("DROP INDEX idle; CREATE INDEX idle ON tasks (title)", &[both[0], "WARN primary unused", both[1]])
        .await;
    let just_now = "UPDATE seaql_migrations SET applied_at = extract(epoch FROM now() + interval '1 minute')::bigint \
        WHERE version = (SELECT max(version) FROM seaql_migrations)";
    let broken = patient.breaks(just_now, &both).await;
    assert_eq!(broken.finding("primary unused")["found"], "not judged: counted for 0.0 s of 0.0 s");
    drop(patient);
    own.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_stay_open_are_found_on_the_server_that_has_them() {
    let patient = Patient::new(&["--long-transaction-seconds", "1"]).await;
    for (name, address) in
        [("primary", &patient.world.addresses.primary), ("replica-1", &patient.world.addresses.replicas[0])]
    {
        let session = administration::connect(address).await.unwrap();
        session.execute_unprepared("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        session.execute_unprepared("SELECT count(*) FROM tasks").await.unwrap();
        let broken = patient.until(&[], &[&format!("WARN {name} open")]).await;
        let open = &broken.finding(&format!("{name} open"));
        let found = open["found"].as_str().unwrap();
        assert!(found.contains("(trellis administration, trellis) idle in transaction for "), "{found}");
        assert!(found.contains("a snapshot "), "{found}");
        let patience = examine(&patient.world.addresses, &["--long-transaction-seconds", "3600"]).await;
        assert_eq!(patience.changes_since(&patient.healthy), [""; 0]);
        let end = broken.remedies(&format!("{name} open"));
        let server = if name == "primary" { &patient.world.sql } else { &patient.world.replica_sql };
        server.execute_unprepared(&end[0]).await.unwrap();
        patient.until(&[], &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_another_version_and_keys_of_another_time_are_found() {
    let patient = Patient::new(&[]).await;
    let add = |key: &str, name: &str| {
        format!("INSERT INTO users (id, email, name) VALUES ({key}, '{name}@example.com', '{name}')")
    };
    patient.breaks(&add(&key_at("now()"), "bob"), &[]).await;
    let broken = patient.breaks(&add("gen_random_uuid()", "eve"), &["WARN primary UUID versions"]).await;
    let found = &broken.finding("primary UUID versions")["found"];
    assert_eq!(*found, "users: 1 of 3 sampled (33 %) are of version 4");
    patient.world.execute("DELETE FROM users WHERE name = 'eve'").await;
    let old = add(&key_at("now() - interval '2 years'"), "old");
    let broken = patient.breaks(&old, &["WARN primary order in time"]).await;
    let found = &broken.finding("primary order in time")["found"];
    assert_eq!(*found, "keys lie more than 1 hour from created_at in users: 1 of 3 sampled (33 %)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_the_role_or_the_database_are_found() {
    let patient = Patient::new(&[]).await;
    let database =
        one(&patient.world.sql, "SELECT current_database()::text").await.try_get_by_index::<String>(0).unwrap();
    let lines = [
        ("synchronous_commit", "off", "FAIL primary synchronous_commit", ""),
        ("statement_timeout", "'5s'", "WARN primary statement_timeout", ""),
        ("random_page_cost", "4", "WARN primary random_page_cost", "WARN replica-1 random_page_cost"),
        ("effective_cache_size", "'1MB'", "WARN primary effective_cache_size", "WARN replica-1 effective_cache_size"),
        ("track_counts", "off", "FAIL primary autovacuum", ""),
    ];
    for (name, value, primary, replica) in lines {
        let expected: Vec<&str> = [primary, replica].into_iter().filter(|line| !line.is_empty()).collect();
        patient.breaks(&format!("ALTER DATABASE {database} SET {name} = {value}"), &expected).await;
        patient.breaks(&format!("ALTER DATABASE {database} RESET {name}"), &[]).await;
    }
    let broken = format!("UPDATE pg_database SET datcollversion = '0' WHERE datname = '{database}'");
    patient.breaks(&broken, &["FAIL primary collation"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_behind_and_an_encoding_that_is_not_utf8_are_found() {
    let cluster = cluster().await;
    let maintenance = administration::connect(&cluster.primary_url("postgres")).await.unwrap();
    let ascii = format!("ascii_{}", std::process::id());
    let create = format!("CREATE DATABASE {ascii} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'");
    maintenance.execute_unprepared(&create).await.unwrap();
    let empty = Addresses { primary: cluster.primary_url(&ascii), replicas: Vec::new() };
    let report = examine(&empty, &[]).await;
    assert_eq!(report.finding("primary encoding")["verdict"], "FAIL");
    assert_eq!(report.finding("primary migrations")["found"], "0 applied, 26 pending");
    assert_eq!(report.remedies("primary migrations"), ["trellis migrate up"]);
    assert!(!report.findings.contains_key("primary missing"), "there is nothing yet that could lack something");

    let world = World::new().await;
    let mut down = trellis();
    down.args(["migrate", "down"]).env("DATABASE_URL", &world.addresses.primary);
    assert_eq!(run(&mut down).await.code, Some(0));
    let report = examine(&world.addresses, &[]).await;
    assert_eq!(report.finding("primary migrations")["found"], "25 applied, 1 pending");
    assert_eq!(report.finding("primary missing")["found"], "none: 18 indexes of the migrations are as designed");

    let patient = Patient::new(&[]).await;
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_of_tomorrow', 0)";
    let report = patient.breaks(newer, &["WARN primary migrations"]).await;
    assert_eq!(report.finding("primary migrations")["found"], "26 applied, and 1 of another version");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordinary_role_is_enough_and_what_it_may_not_see_is_said() {
    let patient = Patient::new(&[]).await;
    let role = format!("plain_{}", std::process::id());
    patient.world.execute(&format!("CREATE ROLE {role} LOGIN; GRANT pg_read_all_data TO {role}")).await;
    patient.world.replicated().await;
    let as_role = |address: &String| address.replace("postgres://trellis@", &format!("postgres://{role}@"));
    let addresses = Addresses {
        primary: as_role(&patient.world.addresses.primary),
        replicas: patient.world.addresses.replicas.iter().map(as_role).collect(),
    };
    let report = examine(&addresses, &[]).await;
    let hidden = ["primary open", "replica-1 open", "primary streams out", "replica-1 streaming"];
    for name in hidden {
        let finding = report.finding(name);
        assert!(finding["found"].as_str().unwrap().starts_with("cannot tell: "), "{finding}");
        assert_eq!(finding["verdict"], "WARN");
        assert_eq!(report.remedies(name), [format!("as a superuser: GRANT pg_monitor TO \"{role}\";")]);
    }
    let told =
        report.findings.values().filter(|finding| !finding["found"].as_str().unwrap().starts_with("cannot tell"));
    assert_eq!(told.count(), report.findings.len() - hidden.len(), "the rest is seen: {report:?}");

    let url = &patient.world.addresses.primary;
    let (writer, builder) = (administration::connect(url).await.unwrap(), administration::connect(url).await.unwrap());
    writer.execute_unprepared("BEGIN; LOCK TABLE tasks IN ROW EXCLUSIVE MODE").await.unwrap();
    builder.execute_unprepared("SET lock_timeout = 0").await.unwrap();
    let build = "CREATE INDEX CONCURRENTLY slow ON tasks (title)";
    let building = tokio::spawn(async move { builder.execute_unprepared(build).await });
    eventually("the build waits for the writer", || async {
        let count = "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('slow') AND NOT indisvalid";
        let count: i64 = one(&patient.world.sql, count).await.try_get_by_index(0).unwrap();
        if count == 1 { Ok(()) } else { Err(count) }
    })
    .await;
    let report = examine(&addresses, &[]).await;
    let found = "cannot tell: slow; another role builds an index at this moment";
    assert_eq!(report.finding("primary invalid")["found"], found);
    assert_eq!(report.remedies("primary invalid"), [format!("as a superuser: GRANT pg_monitor TO \"{role}\";")]);
    assert_eq!(examine(&patient.world.addresses, &[]).await.finding("primary invalid")["verdict"], "OK");
    writer.execute_unprepared("COMMIT").await.unwrap();
    building.await.unwrap().unwrap();

    patient
        .world
        .execute(&format!("REVOKE pg_read_all_data FROM {role}; GRANT SELECT ON seaql_migrations TO {role}"))
        .await;
    let report = examine(&addresses, &[]).await;
    let keys = report.finding("primary UUID versions");
    assert!(keys["found"].as_str().unwrap().contains("permission denied for table"), "{keys}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_large_table_as_many_keys_are_looked_at_as_of_a_small_one() {
    let patient = Patient::new(&[]).await;
    // A row to a page, and 200 MB: of these, a hundredth would be 256 pages.
    let wide = format!(
        "CREATE TABLE wide (id uuid PRIMARY KEY, created_at timestamptz DEFAULT clock_timestamp(), filler text)
           WITH (fillfactor = 10);
         INSERT INTO wide (id, filler) SELECT {}, repeat('x', 500) FROM generate_series(1, 25600)",
        key_at("clock_timestamp()")
    );
    patient.world.execute(&wide).await;
    let pages: i64 =
        one(&patient.world.sql, "SELECT pg_relation_size('wide') / 8192").await.try_get_by_index(0).unwrap();
    assert!(pages >= 25_600, "{pages}");
    let report = examine(&patient.world.addresses, &[]).await;
    let found = report.finding("primary UUID versions")["found"].as_str().unwrap();
    let sampled = found.strip_prefix("all of version 7: ").unwrap().split(' ').next().unwrap();
    // 128 by chance, the last 16, and a few of other tables.
    let sampled: u32 = sampled.parse().unwrap();
    assert!((60..210).contains(&sampled), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_and_a_host_that_is_asked_for_too_much_are_found_with_the_arithmetic() {
    let patient = Patient::new(&["--database-cores", "4"]).await;
    for name in ["primary", "replica-1"] {
        let found = &patient.healthy.finding(&format!("{name} pools"))["found"];
        assert!(found.as_str().unwrap().contains("of 2 x 4 cores + 1 disk = 9"), "{found}");
    }
    let asked = examine(&patient.world.addresses, &["--database-cores", "4", "--primary-connections", "9"]).await;
    assert_eq!(asked.changes_since(&patient.healthy), ["WARN primary pools", "WARN replica-1 pools"]);
    assert!(asked.remedies("primary pools")[0].contains("TRELLIS_PRIMARY_CONNECTIONS"), "{asked:?}");

    let role = format!("limited_{}", std::process::id());
    patient.world.execute(&format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 4; GRANT pg_monitor TO {role}")).await;
    let mut addresses = patient.world.addresses.clone();
    addresses.primary = addresses.primary.replace("postgres://trellis@", &format!("postgres://{role}@"));
    let full = examine(&addresses, patient.words).await;
    let finding = full.finding("primary pools");
    assert_eq!((full.code, &finding["verdict"]), (Some(1), &Value::from("FAIL")), "{full:?}");
    assert!(finding["found"].as_str().unwrap().contains("connections of 4 (the role's or database's limit)"));
    assert!(full.remedies("primary pools")[0].starts_with("raise max_connections, or lower"), "{full:?}");
    assert_eq!(full.finding("replica-1 pools")["verdict"], "OK");
    patient.world.execute(&format!("ALTER ROLE {role} CONNECTION LIMIT -1")).await;
    assert_eq!(examine(&addresses, patient.words).await.finding("primary pools")["verdict"], "OK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_swaps_connections_is_found_and_one_that_keeps_sessions_is_fine() {
    let world = World::new().await;
    let Addresses { primary, replicas } = &world.addresses;
    let database: String = one(&world.sql, "SELECT current_database()::text").await.try_get_by_index(0).unwrap();
    for (mode, verdict, of_pools) in [("transaction", "FAIL", "WARN"), ("session", "OK", "OK")] {
        let setting = format!("pool_mode = {mode}");
        let pooler = |server| Pooler::start(server, &[setting.as_str()]);
        let (of_primary, of_replica) = (pooler(primary), pooler(&replicas[0]));
        let (of_primary, of_replica) = (of_primary.ready(&database).await, of_replica.ready(&database).await);
        let addresses = Addresses { primary: of_primary.url(&database), replicas: vec![of_replica.url(&database)] };
        let report = examine(&addresses, &["--database-cores", "4"]).await;
        for name in ["primary", "replica-1"] {
            assert_eq!(report.finding(&format!("{name} pooler"))["verdict"], verdict, "{mode}: {report:?}");
            assert_eq!(report.finding(&format!("{name} pools"))["verdict"], of_pools, "{mode}: {report:?}");
        }
        if verdict == "FAIL" {
            assert!(report.remedies("primary pooler")[0].contains("pool_mode = session"), "{report:?}");
        }
    }
}

/// The port of a way to a server over TCP, where its own is a socket.
async fn over_tcp(server: &str) -> u16 {
    let server: PgConnectOptions = server.parse().unwrap();
    let socket = server.get_socket().unwrap().join(format!(".s.PGSQL.{}", server.get_port()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_host_whose_cores_nobody_told_is_found_by_the_doctor_and_by_the_start() {
    let world = World::new().await;
    let database: String = one(&world.sql, "SELECT current_database()::text").await.try_get_by_index(0).unwrap();
    // It leads to this machine all the same, and cannot be told from the name of another.
    let primary = format!("postgres://trellis@127.1:{}/{database}", over_tcp(&world.addresses.primary).await);
    let addresses = Addresses { primary, replicas: world.addresses.replicas.clone() };

    let report = examine(&addresses, &[]).await;
    assert_eq!(report.finding("primary pools")["verdict"], "WARN", "{report:?}");
    assert!(report.remedies("primary pools")[0].starts_with("set TRELLIS_DATABASE_CORES"), "{report:?}");
    assert_eq!(report.finding("replica-1 pools")["verdict"], "OK", "it is on this machine: {report:?}");
    let told = examine(&addresses, &["--database-cores", "4"]).await;
    assert_eq!(told.finding("primary pools")["verdict"], "OK", "{told:?}");

    let words = ["--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--database-url", &addresses.primary];
    let mut server = Instance::spawn(trellis().args(words));
    let line = server.logs("TRELLIS_DATABASE_CORES").await;
    assert!(line.contains("WARN") && line.contains("as many as this machine"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_not_what_they_are_taken_for_are_found_and_the_rest_goes_on() {
    let world = World::new().await;
    let Addresses { primary, replicas } = &world.addresses;
    let swapped = Addresses { primary: replicas[0].clone(), replicas: vec![primary.clone()] };
    let report = examine(&swapped, &[]).await;
    assert_eq!(report.finding("primary role")["found"], "is in recovery: it is a replica");
    assert_eq!(report.finding("replica-1 role")["found"], "is not in recovery: it is a primary");
    assert_eq!(report.code, Some(1));

    let nowhere = "postgres://nobody@127.0.0.1:1/nothing".to_owned();
    let partly = Addresses { primary: primary.clone(), replicas: vec![nowhere.clone(), replicas[0].clone()] };
    let report = examine(&partly, &[]).await;
    assert_eq!(report.finding("replica-1 answers")["verdict"], "FAIL");
    assert_eq!(report.finding("replica-2 streaming")["verdict"], "OK");
    assert_eq!(report.finding("primary unused")["found"], "cannot tell: 1 replica could not be asked");

    let headless = Addresses { primary: nowhere, replicas: replicas.clone() };
    let report = examine(&headless, &[]).await;
    assert_eq!(report.finding("primary answers")["verdict"], "FAIL");
    assert_eq!(report.finding("replica-1 streaming")["verdict"], "OK");
    assert_eq!(report.finding("replica-1 lag")["found"], "cannot tell: the primary does not answer");
}

/// A cluster of its own, for what is broken for everybody in a cluster.
struct OwnCluster {
    data: DataDirectory,
    instance: Instance,
    addresses: Addresses,
    primary: DatabaseConnection,
    replica: DatabaseConnection,
}

impl OwnCluster {
    /// With more lines in its configuration.
    async fn start(stem: &str, settings: &str) -> Self {
        let data = DataDirectory::with_demo(stem).await;
        let configuration = data.path().join("primary/postgresql.conf");
        writeln!(OpenOptions::new().append(true).open(configuration).unwrap(), "{settings}").unwrap();
        let mut instance = Instance::spawn(&mut data.command(&["cluster"]));
        let mut address = async |name| instance.line(name).await.replace("/postgres?", "/trellis?");
        let addresses = Addresses { primary: address("primary").await, replicas: vec![address("replica").await] };
        let primary = administration::connect(&addresses.primary).await.unwrap();
        let replica = administration::connect(&addresses.replicas[0]).await.unwrap();
        Self { data, instance, addresses, primary, replica }
    }

    /// Examines until a line has this verdict.
    async fn until(&self, name: &str, verdict: &str, words: &[&str]) -> Examination {
        eventually(&format!("{name} is {verdict} with {words:?}"), || async {
            let report = examine(&self.addresses, words).await;
            if report.finding(name)["verdict"] == verdict { Ok(report) } else { Err(report) }
        })
        .await
    }

    /// A server of ours on it.
    async fn world(&self) -> World {
        World::on(self.addresses.clone(), self.addresses.clone(), &[]).await
    }

    /// Does what a line says.
    async fn heal(&self, report: &Examination, name: &str, server: &DatabaseConnection) {
        for command in report.commands(name) {
            server.execute_unprepared(&command).await.unwrap();
        }
    }

    async fn end(self) {
        assert_eq!(self.instance.interrupted().await.code, Some(0));
        self.data.until_quiet().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stands_still_or_is_gone_and_slots_that_nobody_reads_are_found() {
    let own = OwnCluster::start("doctor-replica", "").await;
    let before = own.until("replica-1 lag", "OK", &[]).await;
    assert_eq!(before.finding("primary slots")["verdict"], "OK");

    one(&own.replica, "SELECT 1 FROM (SELECT pg_wal_replay_pause()) p").await;
    own.primary.execute_unprepared("CREATE TABLE news ()").await.unwrap();
    let paused = own.until("replica-1 replay", "FAIL", &[]).await;
    let lag = paused.finding("replica-1 lag")["found"].as_str().unwrap();
    assert!(lag.contains(" behind, ") && lag.ends_with(" at most"), "{lag}");
    own.until("replica-1 lag", "FAIL", &["--max-staleness-ms", "500"]).await;
    own.heal(&paused, "replica-1 replay", &own.replica).await;
    own.until("replica-1 lag", "OK", &[]).await;

    one(&own.replica, "SELECT 1").await;
    for sql in ["ALTER SYSTEM SET hot_standby_feedback = off", "SELECT pg_reload_conf()"] {
        own.replica.execute_unprepared(sql).await.unwrap();
    }
    let short = ["--report-timeout-ms", "60000"];
    let conflicts = own.until("replica-1 conflicts", "WARN", &short).await;
    assert_eq!(own.until("replica-1 conflicts", "OK", &[]).await.code, Some(0), "8 s are less than 30 s");
    own.heal(&conflicts, "replica-1 conflicts", &own.replica).await;
    own.until("replica-1 conflicts", "OK", &short).await;

    one(&own.primary, "SELECT pg_create_physical_replication_slot('nobody', true)::text").await;
    one(&own.primary, "SELECT pg_switch_wal()::text").await;
    let idle = own.until("primary slots", "WARN", &[]).await;
    assert!(idle.finding("primary slots")["found"].as_str().unwrap().starts_with("idle: nobody keeps "), "{idle:?}");
    own.heal(&idle, "primary slots", &own.primary).await;
    own.until("primary slots", "OK", &[]).await;

    for sql in ["ALTER SYSTEM SET max_slot_wal_keep_size = -1", "SELECT pg_reload_conf()"] {
        own.primary.execute_unprepared(sql).await.unwrap();
    }
    let unlimited = own.until("primary slot limit", "WARN", &[]).await;
    own.heal(&unlimited, "primary slot limit", &own.primary).await;
    own.until("primary slot limit", "OK", &[]).await;

    // The primary keeps less than the slot's reader has yet to read.
    one(&own.primary, "SELECT pg_create_physical_replication_slot('late', true)::text").await;
    for sql in ["ALTER SYSTEM SET max_slot_wal_keep_size = '32MB'", "SELECT pg_reload_conf()"] {
        own.primary.execute_unprepared(sql).await.unwrap();
    }
    for _ in 0..6 {
        one(&own.primary, "SELECT pg_switch_wal()::text FROM (SELECT pg_logical_emit_message(true, '', 'x')) m").await;
    }
    own.until("replica-1 lag", "OK", &[]).await;
    own.primary.execute_unprepared("CHECKPOINT").await.unwrap();
    let lost = own.until("primary slots", "FAIL", &[]).await;
    assert_eq!(lost.finding("primary slots")["found"], "out of reach: late");
    own.heal(&lost, "primary slots", &own.primary).await;

    let [_, replica] = own.data.postmasters()[..] else { panic!("two servers run") };
    kill(Pid::from_raw(replica), Signal::SIGQUIT).unwrap();
    let gone = own.until("replica-1 answers", "FAIL", &[]).await;
    assert_eq!(gone.finding("primary streams out")["found"], "to nobody; 1 configured");
    assert_eq!(gone.finding("primary slots")["verdict"], "WARN");
    own.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_the_whole_cluster_prepared_transactions_and_old_rows_are_found() {
    let settings = "fsync = off\nfull_page_writes = off\nautovacuum = off\nshared_buffers = 4MB\n\
        max_prepared_transactions = 2\nautovacuum_freeze_max_age = 100000\nvacuum_failsafe_age = 0";
    let own = OwnCluster::start("doctor-settings", settings).await;
    let report = examine(&own.addresses, &[]).await;
    assert_eq!(report.code, Some(1));
    for (name, verdict) in [
        ("primary fsync", "FAIL"),
        ("replica-1 fsync", "FAIL"),
        ("primary full_page_writes", "FAIL"),
        ("replica-1 full_page_writes", "FAIL"),
        ("primary autovacuum", "FAIL"),
        ("primary shared_buffers", "WARN"),
        ("replica-1 shared_buffers", "WARN"),
        ("primary prepared", "OK"),
        ("primary wraparound", "OK"),
        ("primary checkpoints", "OK"),
    ] {
        assert_eq!(report.finding(name)["verdict"], verdict, "{name}: {report:?}");
    }
    own.heal(&report, "primary autovacuum", &own.primary).await;
    own.until("primary autovacuum", "OK", &[]).await;

    // It has changed something and so holds back the freezing of all that comes after it.
    for sql in ["BEGIN", "CREATE TABLE kept ()", "PREPARE TRANSACTION 'kept'"] {
        own.primary.execute_unprepared(sql).await.unwrap();
    }
    own.until("primary prepared", "OK", &[]).await;
    let words = ["--long-transaction-seconds", "0"];
    let prepared = own.until("primary prepared", "FAIL", &words).await;
    let each_a_transaction = "CREATE TABLE burnt (n int);
        DO $$ BEGIN FOR n IN 1..110000 LOOP
          BEGIN INSERT INTO burnt VALUES (n); EXCEPTION WHEN division_by_zero THEN NULL; END;
        END LOOP; END $$";
    own.primary.execute_unprepared(each_a_transaction).await.unwrap();
    let old = own.until("primary wraparound", "FAIL", &[]).await;
    assert!(old.remedies("primary wraparound")[1].ends_with("VACUUM (FREEZE);"), "{old:?}");
    own.heal(&prepared, "primary prepared", &own.primary).await;
    own.until("primary prepared", "OK", &words).await;

    for _ in 0..10 {
        own.primary.execute_unprepared("CHECKPOINT").await.unwrap();
    }
    own.until("primary checkpoints", "WARN", &[]).await;
    own.end().await;
}
