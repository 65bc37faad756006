//! Generated data at size, by the built binary: the same each time, good by every rule, and never there in part or twice.

use std::process::Command;

use sea_orm::{ConnectionTrait, DatabaseConnection, TryGetable};
use serde_json::{Value, json};
use trellis::config::{Arguments, Command as Subcommand};
use trellis::database::administration;
use trellis::seed::DataSet;
use uuid::Uuid;

use crate::harness::{World, cluster, eventually, one};
use crate::instance::{Instance, run, trellis};

/// Three chunks, in eight projects of two workspaces.
const SMALL: [&str; 6] = ["--tasks", "3000", "--projects", "8", "--workspaces", "2"];

/// Every value of every row of every seeded table, as one number. A column that has no value does not count, so that a
/// migration may add one.
const ROWS: &str = "
WITH rows (table_name, id, content) AS (
  SELECT 'users', id, to_jsonb(t) FROM users t
  UNION ALL SELECT 'workspaces', id, to_jsonb(t) FROM workspaces t
  UNION ALL SELECT 'members', id, to_jsonb(t) FROM members t
  UNION ALL SELECT 'projects', id, to_jsonb(t) FROM projects t
  UNION ALL SELECT 'tasks', id, to_jsonb(t) FROM tasks t
  UNION ALL SELECT 'comments', id, to_jsonb(t) FROM comments t)
SELECT md5(string_agg(table_name || jsonb_strip_nulls(content)::text, ' ' ORDER BY table_name COLLATE \"C\", id)) FROM rows";

/// `trellis seed` with these words on the database of a world.
fn seed(world: &World, words: &[&str]) -> Command {
    let mut command = trellis();
    command.args(["--database-url", &world.addresses.primary, "seed"]).args(words);
    command
}

/// Runs it, and gives what it printed.
async fn seeded(world: &World, words: &[&str]) -> String {
    let ended = run(&mut seed(world, words)).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.out
}

async fn value<T: TryGetable>(connection: &DatabaseConnection, sql: &str) -> T {
    // The text of an instant depends on the session's time zone.
    connection.execute_unprepared("SET timezone = 'UTC'").await.unwrap();
    one(connection, sql).await.try_get_by_index(0).unwrap()
}

async fn rows(world: &World) -> String {
    value(&world.sql, ROWS).await
}

async fn count(world: &World, of: &str) -> i64 {
    value(&world.sql, &format!("SELECT count(*) FROM {of}")).await
}

/// The data set that these words ask for.
fn data_set(words: &[&str]) -> DataSet {
    let words = [&["seed"], words].concat();
    let Some(Subcommand::Seed(options)) = Arguments::from_words(&words).unwrap().command else { panic!("{words:?}") };
    DataSet::new(&options).unwrap()
}

async fn owner(world: &World, words: &[&str]) -> Uuid {
    let email = data_set(words).email();
    value(&world.sql, &format!("SELECT id FROM users WHERE email = '{email}'")).await
}

#[tokio::test]
async fn the_same_seed_gives_the_same_rows_whatever_the_day_the_machine_and_the_connections() {
    let (left, right) = (World::new().await, World::new().await);
    seeded(&left, &[&SMALL[..], &["--connections", "1"]].concat()).await;
    seeded(&right, &[&SMALL[..], &["--connections", "3"]].concat()).await;
    assert_eq!(count(&left, "tasks").await, 3_000);
    // Another number means that the generator has changed: raise its version in data_set.rs, so that a later version does
    // not take an earlier one's rows for its own.
    assert_eq!(rows(&left).await, "137d6c7967075ceac9af9a4e42f59fb1");
    assert_eq!(rows(&right).await, rows(&left).await);

    // Other options give other rows, beside the first.
    seeded(&right, &[&SMALL[..], &["--seed", "2"]].concat()).await;
    seeded(&right, &["--tasks", "1500", "--projects", "8", "--workspaces", "2"]).await;
    assert_eq!(count(&right, "tasks").await, 7_500);
    assert_eq!(count(&right, "workspaces").await, 6);
}

#[tokio::test]
async fn every_seeded_row_keeps_the_rules_that_the_server_keeps() {
    let world = World::new().await;
    seeded(&world, &SMALL).await;
    assert_eq!(count(&world, "tasks").await, 3_000);
    for (seen, least) in [
        ("comments", 5_000),
        ("(SELECT DISTINCT title FROM tasks) titles", 2_500),
        ("(SELECT DISTINCT status, priority FROM tasks WHERE deleted_at IS NULL) kinds", 16),
        ("tasks WHERE completed_at IS NOT NULL", 1_500),
        ("tasks WHERE assignee_id IS NULL", 300),
        ("tasks WHERE description IS NOT NULL", 900),
        ("tasks WHERE due_date < '2026-11-01' AND status <> 'completed'", 150),
        ("tasks WHERE deleted_at IS NOT NULL", 240),
        ("comments WHERE deleted_at IS NOT NULL", 480),
        ("members WHERE deleted_at IS NOT NULL", 3),
        ("(SELECT task_id FROM comments GROUP BY 1 HAVING count(*) > 8) talks", 10),
    ] {
        let count = count(&world, seen).await;
        assert!(count >= least, "{count} of {seen}");
    }
    assert!(count(&world, "tasks WHERE deleted_at IS NOT NULL").await < 360);
    let days: i32 =
        value(&world.sql, "SELECT extract(day FROM max(created_at) - min(created_at))::int FROM tasks").await;
    assert!((728..=730).contains(&days), "two years: {days} days");

    let writer = "FROM members m WHERE m.workspace_id = p.workspace_id AND m.deleted_at IS NULL AND m.role <> 'viewer' \
                  AND m.joined_at <= t.created_at AND m.user_id =";
    for wrong in [
        &format!(
            "tasks t JOIN projects p ON p.id = t.project_id WHERE assignee_id IS NOT NULL AND NOT EXISTS (SELECT {writer} assignee_id)"
        ),
        &format!(
            "comments c JOIN tasks t ON t.id = c.task_id JOIN projects p ON p.id = t.project_id WHERE NOT EXISTS (SELECT {writer} c.author_id)"
        ),
        "comments c JOIN tasks t ON t.id = c.task_id WHERE c.created_at < t.created_at OR c.created_at > t.deleted_at",
        "tasks t JOIN projects p ON p.id = t.project_id WHERE t.created_at < p.created_at",
        "projects p JOIN workspaces w ON w.id = p.workspace_id WHERE p.created_at < w.created_at",
        "members m JOIN workspaces w ON w.id = m.workspace_id JOIN users u ON u.id = m.user_id \
         WHERE m.joined_at < w.created_at OR m.joined_at < u.created_at",
        "workspaces w WHERE NOT EXISTS (SELECT FROM members m WHERE m.workspace_id = w.id AND m.role = 'owner' AND m.deleted_at IS NULL)",
        "tasks WHERE (status = 'completed') <> (completed_at IS NOT NULL) OR completed_at < created_at",
        "(SELECT id, row_number() OVER (ORDER BY id) AS by_id, row_number() OVER (ORDER BY created_at) AS by_time FROM tasks) t \
         WHERE by_id <> by_time",
    ] {
        assert_eq!(count(&world, wrong).await, 0, "{wrong}");
    }
    for table in ["users", "workspaces", "members", "projects", "tasks", "comments"] {
        assert!(count(&world, table).await > 0, "{table}");
        let milliseconds = "('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint";
        for wrong in [
            "substr(id::text, 15, 1) <> '7'".to_owned(),
            format!("{milliseconds} <> floor(extract(epoch FROM created_at) * 1000)"),
            "updated_at < created_at OR deleted_at < created_at OR deleted_at > updated_at".to_owned(),
            "greatest(created_at, updated_at, deleted_at) > '2026-11-01T00:00:00Z'".to_owned(),
        ] {
            assert_eq!(count(&world, &format!("{table} WHERE {wrong}")).await, 0, "{table}: {wrong}");
        }
    }
}

/// Waits until a session of the world's database waits for a lock.
async fn until_blocked(world: &World) {
    let blocked =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("a session waits for a lock", || async {
        (value::<i64>(&world.sql, blocked).await > 0).then_some(()).ok_or("none does yet")
    })
    .await;
}

#[tokio::test]
async fn a_run_that_is_killed_or_interrupted_is_continued_by_the_same_command() {
    let words = ["--tasks", "7000", "--projects", "8", "--connections", "1"];
    let (whole, broken) = (World::new().await, World::new().await);
    seeded(&whole, &words).await;
    let obstacle = administration::connect(&broken.addresses.primary).await.unwrap();

    // Killed in the middle of the first chunk, between its tasks and their comments.
    obstacle.execute_unprepared("BEGIN; LOCK TABLE comments IN SHARE MODE").await.unwrap();
    let run_to_kill = Instance::spawn(&mut seed(&broken, &words));
    until_blocked(&broken).await;
    run_to_kill.killed().await;
    obstacle.execute_unprepared("COMMIT").await.unwrap();
    assert_eq!((count(&broken, "users").await, count(&broken, "tasks").await), (100, 0));

    // Interrupted before the fifth chunk.
    let lock = |verb: &str| format!("SELECT pg_advisory_{verb}({}, 5)", data_set(&words).lock_key());
    obstacle.execute_unprepared(&lock("lock")).await.unwrap();
    let run_to_interrupt = Instance::spawn(&mut seed(&broken, &words));
    eventually("four chunks are there", || async {
        (count(&broken, "tasks").await == 4_000).then_some(()).ok_or("not yet")
    })
    .await;
    until_blocked(&broken).await;
    run_to_interrupt.interrupted().await.assert_refused(&["interrupted", "the same command goes on"]);
    obstacle.execute_unprepared(&lock("unlock")).await.unwrap();
    assert_eq!(count(&broken, "tasks").await, 4_000);

    let out = seeded(&broken, &words).await;
    assert!(out.contains("filled with 3,000 tasks"), "{out}");
    assert_eq!(rows(&broken).await, rows(&whole).await, "as if it had been one run");
    let out = seeded(&broken, &words).await;
    assert!(out.contains("these 7,000 tasks are there already"), "{out}");
    assert_eq!(rows(&broken).await, rows(&whole).await, "a run with nothing to do changes nothing");
}

#[tokio::test]
async fn a_server_that_goes_away_is_told_and_the_same_command_goes_on() {
    let words = ["--tasks", "3000", "--connections", "1"];
    let world = World::new().await;
    let obstacle = administration::connect(&world.addresses.primary).await.unwrap();
    let lock = format!("SELECT pg_advisory_lock({}, 2)", data_set(&words).lock_key());
    obstacle.execute_unprepared(&lock).await.unwrap();
    let cut_off = Instance::spawn(&mut seed(&world, &words));
    until_blocked(&world).await;
    let sessions = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                    WHERE datname = current_database() AND wait_event_type = 'Lock'";
    assert_eq!(value::<i64>(&world.sql, sessions).await, 1);
    cut_off.ended().await.assert_refused(&["stopped after 1,000 of 3,000 tasks", "the same command goes on"]);
    obstacle.close().await.unwrap();
    seeded(&world, &words).await;
    assert_eq!(count(&world, "tasks").await, 3_000);
}

#[tokio::test]
async fn two_runs_at_once_write_every_row_once() {
    let (alone, shared) = (World::new().await, World::new().await);
    let words = ["--tasks", "20000", "--comments-per-task", "1"];
    seeded(&alone, &words).await;
    let (first, second) = tokio::join!(seeded(&shared, &words), seeded(&shared, &words));
    assert_eq!(count(&shared, "tasks").await, 20_000);
    assert_eq!(rows(&shared).await, rows(&alone).await, "{first}{second}");
}

#[tokio::test]
async fn skew_gives_the_largest_project_its_share_and_less_than_it_has_anyway_is_refused() {
    let share = "SELECT (100 * max(count) / sum(count))::float8 \
                 FROM (SELECT count(*) FROM tasks GROUP BY project_id) AS projects";
    let words = ["--tasks", "5000", "--projects", "20"];
    let (mild, skewed) = (World::new().await, World::new().await);
    seeded(&mild, &words).await;
    let natural: f64 = value(&mild.sql, share).await;
    assert!((11.0..16.0).contains(&natural), "{natural} %");
    seeded(&skewed, &[&words[..], &["--skew", "40"]].concat()).await;
    let largest: f64 = value(&skewed.sql, share).await;
    assert!((38.0..42.0).contains(&largest), "{largest} %");
    let live: bool = value(
        &skewed.sql,
        "SELECT deleted_at IS NULL FROM projects p ORDER BY (SELECT count(*) FROM tasks WHERE project_id = p.id) DESC LIMIT 1",
    )
    .await;
    assert!(live, "the largest project can be looked at");
    run(&mut seed(&skewed, &[&words[..], &["--skew", "13"]].concat())).await.assert_refused(&["--skew", "13 %"]);
    assert_eq!(count(&skewed, "tasks").await, 5_000, "nothing was written");
}

#[tokio::test]
async fn the_known_user_owns_every_workspace_and_sees_the_tasks_through_http() {
    let world = World::new().await;
    let out = seeded(&world, &SMALL).await;
    let email = data_set(&SMALL).email();
    assert!(out.contains(&format!("trellis token --email {email}")), "{out}");
    let document = "{ workspaces(first: 10) { nodes { viewerRole \
        projects(first: 5) { nodes { tasks(first: 3) { totalCount nodes { title comments(first: 2) { nodes { body } } } } } } } } }";
    let answer = world.ask(owner(&world, &SMALL).await, document, json!({})).await;
    let workspaces = answer.data()["workspaces"]["nodes"].as_array().unwrap();
    assert_eq!(workspaces.len(), 2);
    assert!(workspaces.iter().all(|workspace| workspace["viewerRole"] == "OWNER"), "{answer:?}");
    let projects: Vec<&Value> =
        workspaces.iter().flat_map(|workspace| workspace["projects"]["nodes"].as_array().unwrap()).collect();
    assert!(projects.len() >= 6, "{answer:?}");
    for project in projects {
        assert!(project["tasks"]["totalCount"].as_i64().unwrap() > 100, "{project}");
        assert_eq!(project["tasks"]["nodes"].as_array().unwrap().len(), 3);
    }
}

#[tokio::test]
async fn generated_data_comes_beside_the_demo_and_a_database_without_a_schema_is_refused() {
    let world = World::new().await;
    seeded(&world, &[]).await;
    let demo = rows(&world).await;
    assert_eq!(count(&world, "tasks").await, 300);
    seeded(&world, &SMALL).await;
    assert_eq!(count(&world, "tasks").await, 3_300);
    assert!(seeded(&world, &[]).await.contains("there are users already"));
    let of_the_demo = "tasks t JOIN projects p ON p.id = t.project_id JOIN workspaces w ON w.id = p.workspace_id \
                       WHERE w.slug IN ('aurora-maps', 'harbour-robotics', 'field-notes')";
    assert_eq!(count(&world, of_the_demo).await, 300);
    assert_ne!(rows(&world).await, demo);

    let empty = cluster().await.new_database(None).await;
    let url = cluster().await.primary_url(&empty);
    for words in [&["seed"][..], &["seed", "--tasks", "10"]] {
        run(trellis().args(["--database-url", &url]).args(words)).await.assert_refused(&["trellis migrate up"]);
    }
    run(trellis().args(["seed", "--skew", "20"])).await.assert_refused(&["--tasks"]);
}
