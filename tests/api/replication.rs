//! Which server answers what, and how the server lives with a replica that is late, dead or absent.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::DateTime;
use nix::sys::signal::Signal;
use sea_orm::DatabaseConnection;
use serde_json::{Value, json};
use trellis::clock;
use trellis::database::{Addresses, Database, Meter, NamedStatement, Needs, Operation, Target};
use trellis::metrics::Metrics;
use uuid::Uuid;

use crate::errors::{beside, lock};
use crate::fragile::Fragile;
use crate::harness::{Answer, SECRET, World, eventually, new_path, one, settings};
use crate::metrics::scrape;

const ROWS: &str = "query($id: ID!) { project(id: $id) { name workspace { name members { nodes { user { name } } } } \
    tasks { totalCount nodes { title assignee { name } comments { nodes { body author { name } } } } } } }";

const REPORT: &str = "query($id: ID!) { project(id: $id) { report { \
    freshness { source replica asOf lagMs fellBack } totals { total } byStatus { count } byPriority { count } } } }";

const CREATE: &str = "mutation($id: ID!) { taskCreate(input: { projectId: $id, title: \"New\" }) { \
    userErrors { message } task { title assignee { name } comments { totalCount nodes { body } } \
    project { name tasks { totalCount } workspace { name report { freshness { source fellBack } totals { total } } } \
    report { freshness { source replica asOf lagMs fellBack } totals { total } } } } } }";

/// The scans of tables, of all that a connection's database has, or of one.
async fn scans(connection: &DatabaseConnection, table: Option<&str>) -> i64 {
    let of_table = table.map_or_else(String::new, |table| format!("WHERE relname = '{table}'"));
    let sum = "SELECT coalesce(sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0)), 0)::bigint";
    one(connection, &format!("{sum} FROM pg_stat_user_tables {of_table}")).await.try_get_by_index(0).unwrap()
}

/// A world with an owner and a project of two tasks, whose own statistics are out of the way.
struct Scene {
    world: World,
    ada: Uuid,
    project: Uuid,
}

impl Scene {
    async fn of(world: World) -> Self {
        let ada = world.user("ada").await;
        let home = world.workspace("home", ada).await;
        let project = world.project(home, "Boat").await;
        let task = world.task(project, "Paint").await;
        world.task(project, "Sail").await;
        world.comment(task, ada, "Blue").await;
        world.replicated().await;
        for connection in [&world.sql, &world.replica_sql] {
            one(connection, "SELECT pg_stat_force_next_flush()::text").await;
        }
        Self { world, ada, project }
    }

    async fn new() -> Self {
        Self::of(World::new().await).await
    }

    async fn ask(&self, document: &str) -> Answer {
        self.world.ask(self.ada, document, json!({ "id": self.project })).await
    }

    /// Asks for the project's report.
    async fn report(&self) -> Value {
        self.ask(REPORT).await.data()["project"]["report"].clone()
    }

    /// Asks for the project's report until a replica answers, as it does soon after the start.
    async fn report_of_replica(&self) -> Value {
        eventually("a replica answers the report", || async {
            let report = self.report().await;
            if report["freshness"]["source"] == "REPLICA" { Ok(report) } else { Err(report) }
        })
        .await
    }

    /// Runs a document over new connections, and gives how often it made each server scan a table, or any: primary, replica.
    async fn scanned_by(&self, document: &str, table: Option<&str>) -> (Answer, i64, i64) {
        let World { sql, replica_sql, .. } = &self.world;
        self.world.flush_statistics(sql).await;
        self.world.flush_statistics(replica_sql).await;
        let before = (scans(sql, table).await, scans(replica_sql, table).await);
        let answer = self.ask(document).await;
        self.world.flush_statistics(sql).await;
        self.world.flush_statistics(replica_sql).await;
        (answer, scans(sql, table).await - before.0, scans(replica_sql, table).await - before.1)
    }
}

#[tokio::test]
async fn the_rows_of_a_query_are_read_on_the_primary_alone() {
    let scene = Scene::new().await;
    let (answer, primary, replica) = scene.scanned_by(ROWS, None).await;
    assert_eq!(answer.data()["project"]["tasks"]["totalCount"], 2);
    assert!(answer.statements_on("primary") >= 6, "{:?}", answer.statements());
    assert_eq!(answer.statements_on("replica"), 0);
    assert!(primary > 0, "PostgreSQL counted too");
    assert_eq!(replica, 0);
}

#[tokio::test]
async fn a_report_is_computed_on_the_replica_alone() {
    let scene = Scene::new().await;
    // A busy machine may take the replica for silent, and have the report computed elsewhere too.
    let answer = eventually("a replica alone answers the report", async || {
        let answer = scene.ask(REPORT).await;
        let statements = (answer.statements_on("primary"), answer.statements_on("replica"));
        if statements == (1, 1) { Ok(answer) } else { Err(answer.text) }
    })
    .await;
    assert_eq!(answer.statements(), ["project_by_id", "tally_of_project"]);
    let report = &answer.data()["project"]["report"];
    assert_eq!(report["totals"]["total"], 2);
    assert_eq!(report["freshness"]["source"], "REPLICA");
    assert_eq!(report["freshness"]["replica"], "replica-1");
    assert_eq!(report["freshness"]["fellBack"], false);
    eventually("PostgreSQL counted so too", async || {
        let (answer, primary, replica) = scene.scanned_by(REPORT, Some("tasks")).await;
        // The primary did not touch a task.
        if primary == 0 && replica > 0 { Ok(()) } else { Err((primary, replica, answer.text)) }
    })
    .await;
}

#[tokio::test]
async fn a_mutation_and_all_that_is_selected_under_it_run_on_the_primary_alone() {
    let scene = Scene::new().await;
    let (answer, primary, replica) = scene.scanned_by(CREATE, None).await;
    let project = &answer.data()["taskCreate"]["task"]["project"];
    assert_eq!(project["tasks"]["totalCount"], 3, "it reads what it wrote");
    for report in [&project["report"], &project["workspace"]["report"]] {
        assert_eq!(report["totals"]["total"], 3, "its reports too");
        assert_eq!(report["freshness"]["source"], "PRIMARY");
        assert_eq!(report["freshness"]["fellBack"], false, "the primary is where they belong");
    }
    assert_eq!(project["report"]["freshness"]["replica"], Value::Null);
    let names = answer.statements();
    for name in ["begin", "commit", "tally_of_project", "tally_of_workspace"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert_eq!(answer.statements_on("primary"), u64::try_from(names.len()).unwrap());
    assert_eq!(answer.statements_on("replica"), 0);
    assert!(primary > 0);
    assert_eq!(replica, 0);
}

#[tokio::test]
async fn a_write_through_the_doors_of_reports_fails_even_where_they_lead_to_the_primary() {
    let world = World::without_replica().await;
    let primary = world.addresses.primary.clone();
    let pools = settings(&[]).pools;
    for (replicas, source) in [(vec![primary.clone()], Target::Replica), (Vec::new(), Target::Primary)] {
        let database =
            Database::connect(&Addresses { primary: primary.clone(), replicas }, &pools, SECRET, &Metrics::default())
                .await
                .unwrap();
        for operation in [Operation::Query, Operation::Mutation] {
            let route = database.route(operation, &Meter::default(), Needs::default()).await.unwrap();
            let expected = if operation == Operation::Query { source } else { Target::Primary };
            assert_eq!(route.reports.source, expected);
            assert_eq!(route.writer.is_some(), operation == Operation::Mutation);
            let insert = "INSERT INTO users (id, email, name) VALUES (gen_random_uuid(), 'eve@x', 'Eve') RETURNING id";
            let refused = route.reports.reader.rows(NamedStatement::new("write", insert, [])).await.unwrap_err();
            assert!(format!("{refused:?}").contains("read-only transaction"), "{refused:?}");
        }
        database.close().await;
    }
    let users: i64 = one(&world.sql, "SELECT count(*) FROM users").await.try_get_by_index(0).unwrap();
    assert_eq!(users, 0);
}

#[tokio::test]
async fn where_the_replica_is_the_primary_itself_reports_and_writes_work() {
    let real = World::new().await.addresses;
    let told = Addresses { replicas: vec![real.primary.clone()], ..real.clone() };
    let scene = Scene::of(World::on(real, told, &[]).await).await;
    assert_eq!(scene.ask(CREATE).await.data()["taskCreate"]["task"]["title"], "New");
    assert_eq!(scene.report_of_replica().await["totals"]["total"], 3);
}

#[tokio::test]
async fn without_a_replica_reports_read_the_primary_and_say_so() {
    let scene = Scene::of(World::without_replica().await).await;
    let answer = scene.ask(REPORT).await;
    let report = &answer.data()["project"]["report"];
    assert_eq!(report["totals"]["total"], 2);
    assert_eq!(report["freshness"]["source"], "PRIMARY");
    assert_eq!(report["freshness"]["replica"], Value::Null);
    assert_eq!(report["freshness"]["fellBack"], false, "nothing was passed over");
    assert_eq!((answer.statements_on("primary"), answer.statements_on("replica")), (2, 0));
    assert_eq!(
        scene.world.readiness().await,
        json!({ "status": "ready", "primary": true, "degraded": [], "replicas": [] })
    );
}

#[tokio::test]
async fn a_replica_that_does_not_answer_stops_neither_the_start_nor_a_report() {
    let real = World::new().await.addresses;
    let nowhere = new_path("nowhere");
    let dead = format!("postgres://trellis@localhost:5433/trellis?host={}", nowhere.display());
    let told = Addresses { replicas: vec![dead], ..real.clone() };
    let scene = Scene::of(World::on(real, told, &[]).await).await;
    let answer = scene.ask(REPORT).await;
    let report = &answer.data()["project"]["report"];
    assert_eq!(report["totals"]["total"], 2);
    assert_eq!(report["freshness"]["source"], "PRIMARY");
    assert_eq!(report["freshness"]["fellBack"], true);
    assert_eq!((answer.statements_on("primary"), answer.statements_on("replica")), (2, 0));
    let expected = json!({ "status": "degraded", "primary": true, "degraded": ["replica-1 does not answer"],
            "replicas": [{ "name": "replica-1", "lagMs": null }] });
    assert_eq!(scene.world.readiness().await, expected, "degraded is no reason to send requests elsewhere");
}

#[tokio::test]
async fn a_replica_that_does_not_answer_is_passed_over_for_the_next() {
    let real = World::new().await.addresses;
    let dead = format!("postgres://trellis@localhost:5433/trellis?host={}", new_path("nowhere").display());
    let told = Addresses { replicas: vec![dead, real.replicas[0].clone()], ..real.clone() };
    let scene = Scene::of(World::on(real, told, &[]).await).await;
    let report = scene.report_of_replica().await;
    assert_eq!(report["totals"]["total"], 2);
    assert_eq!(report["freshness"]["replica"], "replica-2");
    assert_eq!(report["freshness"]["fellBack"], false, "the primary was spared");
    let ready = scene.world.readiness().await;
    assert_eq!((&ready["status"], &ready["degraded"]), (&json!("degraded"), &json!(["replica-1 does not answer"])));
    assert!(ready["replicas"][1]["lagMs"].is_u64(), "{ready}");
}

#[tokio::test]
async fn a_report_counts_all_that_was_written_before_its_as_of() {
    let scene = Scene::new().await;
    assert_as_of_is_true(&scene).await;
}

#[tokio::test]
async fn as_of_is_true_also_where_commits_do_not_wait_for_the_disk() {
    let first = World::new().await;
    let name: String = one(&first.sql, "SELECT current_database()::text").await.try_get_by_index(0).unwrap();
    first.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    let scene = Scene::of(World::on(first.addresses.clone(), first.addresses, &[]).await).await;
    assert_as_of_is_true(&scene).await;
}

/// Writes and reads in turn, over eight looks at the replica.
async fn assert_as_of_is_true(scene: &Scene) {
    let (mut written, mut seen) = (Vec::new(), BTreeSet::new());
    let deadline = Instant::now() + Duration::from_secs(30);
    // Eight looks at the replica, each somewhere between two of many writes.
    while seen.len() < 8 {
        assert!(Instant::now() < deadline, "the replica keeps up: {seen:?}");
        scene.world.task(scene.project, "Another").await;
        written.push(clock::now());
        let report = scene.report_of_replica().await;
        let as_of = DateTime::parse_from_rfc3339(report["freshness"]["asOf"].as_str().unwrap()).unwrap();
        assert!(as_of <= clock::now(), "{as_of}");
        let owed = written.iter().filter(|instant| **instant <= as_of).count();
        let counted = usize::try_from(report["totals"]["total"].as_u64().unwrap()).unwrap();
        // The scene's two are older than all of these.
        let least = if owed == 0 { 0 } else { owed + 2 };
        assert!((least..=written.len() + 2).contains(&counted), "owed {owed}, counted {counted} of {}", written.len());
        if owed > 0 {
            seen.insert(as_of);
        }
    }
}

#[tokio::test]
async fn health_names_the_replica_with_its_lag() {
    let scene = Scene::new().await;
    scene.report_of_replica().await;
    let ready = scene.world.readiness().await;
    assert_eq!((&ready["status"], &ready["primary"]), (&"ready".into(), &true.into()));
    let replicas = ready["replicas"].as_array().unwrap();
    assert_eq!(replicas.len(), 1);
    assert_eq!(replicas[0]["name"], "replica-1");
    assert!(replicas[0]["lagMs"].as_u64().unwrap() < 10_000, "{ready}");

    let live = scene.world.http().get(scene.world.url("/livez")).send().await.unwrap();
    assert_eq!((live.status().as_u16(), live.text().await.unwrap().as_str()), (200, "ok\n"));
}

#[tokio::test]
async fn reports_leave_a_replica_that_falls_behind_and_return_to_it_and_leave_it_when_it_dies() {
    let fragile = Fragile::new().await;
    let scene = Scene::of(fragile.world(&["--max-staleness-ms", "700"]).await).await;
    assert_eq!(scene.report_of_replica().await["totals"]["total"], 2);

    fragile.pause_replay(&scene.world).await;
    let written_after = clock::now();
    scene.world.task(scene.project, "Unseen").await;
    let fallen_back = eventually("the staleness passes what is allowed", || async {
        let report = scene.report().await;
        let freshness = &report["freshness"];
        // By its lag: a busy machine may take it for silent before.
        let ready = scene.world.readiness().await;
        if freshness["source"] == "PRIMARY" {
            let is_late = ready["replicas"][0]["lagMs"].as_u64().is_some_and(|lag_ms| lag_ms >= 700);
            return if is_late { Ok(report) } else { Err(report) };
        }
        assert_eq!(report["totals"]["total"], 2, "the replica cannot know the new task");
        let as_of = DateTime::parse_from_rfc3339(freshness["asOf"].as_str().unwrap()).unwrap();
        assert!(as_of <= written_after, "and does not claim to: {as_of} {written_after}");
        assert!(freshness["lagMs"].as_i64().unwrap() < 5_000, "{freshness}");
        Err(report)
    })
    .await;
    assert_eq!(fallen_back["freshness"]["fellBack"], true);
    assert_eq!(fallen_back["totals"]["total"], 3);

    one(&scene.world.replica_sql, "SELECT pg_wal_replay_resume()::text").await;
    assert_eq!(scene.report_of_replica().await["totals"]["total"], 3);

    fragile.signal("replica", Signal::SIGKILL);
    let fallen_back = eventually("the death is noticed", || async {
        let rows = scene.ask(ROWS).await;
        assert_eq!(rows.data()["project"]["tasks"]["totalCount"], 3, "rows do not suffer");
        let answer = scene.ask(REPORT).await;
        let report = answer.body["data"]["project"]["report"].clone();
        if report["freshness"]["source"] == "PRIMARY" { Ok(report) } else { Err(answer.text) }
    })
    .await;
    assert_eq!(fallen_back["freshness"]["fellBack"], true);
    assert_eq!(fallen_back["totals"]["total"], 3);
    eventually("health says so", || async {
        let ready = scene.world.readiness().await;
        if ready["status"] == "degraded" { Ok(()) } else { Err(ready) }
    })
    .await;
}

#[tokio::test]
async fn health_names_a_replica_that_is_too_far_behind_to_be_read() {
    let fragile = Fragile::new().await;
    let scene = Scene::of(fragile.world(&["--max-staleness-ms", "1500"]).await).await;
    scene.report_of_replica().await;
    fragile.pause_replay(&scene.world).await;
    scene.world.task(scene.project, "Unseen").await;
    let until = async |degraded: Value| {
        eventually("health says so", || async {
            let ready = scene.world.readiness().await;
            if ready["degraded"] == degraded { Ok(ready) } else { Err(ready) }
        })
        .await
    };
    let ready = until(json!(["replica-1 is too far behind to be read"])).await;
    assert_eq!((&ready["status"], &ready["primary"]), (&json!("degraded"), &json!(true)));
    assert!(ready["replicas"][0]["lagMs"].as_u64().unwrap() >= 1_500, "{ready}");
    assert_eq!(scene.report().await["freshness"]["source"], "PRIMARY");

    one(&scene.world.replica_sql, "SELECT pg_wal_replay_resume()::text").await;
    assert_eq!(until(json!([])).await["status"], "ready");
    scene.report_of_replica().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_too_old_for_a_report_is_passed_over_for_the_next_one_and_then_for_the_primary() {
    let fragile = Fragile::new().await;
    let mut told = fragile.addresses.clone();
    // The other one is the primary by another address: as fresh as can be.
    told.replicas.push(told.primary.clone());
    let patient = ["--lock-timeout-ms", "600000", "--report-timeout-ms", "600000", "--request-timeout-ms", "600000"];
    let scene = Scene::of(World::on(fragile.addresses.clone(), told, &patient).await).await;
    let report =
        |max_staleness_ms: i32| REPORT.replace("report {", &format!("report(maxStalenessMs: {max_staleness_ms}) {{"));
    fragile.pause_replay(&scene.world).await;
    scene.world.task(scene.project, "Unseen").await;
    eventually("the first replica is five seconds behind", || async {
        let ready = scene.world.readiness().await;
        if ready["replicas"][0]["lagMs"].as_u64() > Some(5_000) { Ok(()) } else { Err(ready) }
    })
    .await;
    let beside = beside(&scene.world).await;
    let waiting = async |count: i64| {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trellis replica-2' \
                   AND wait_event_type = 'Lock'";
        eventually("reports wait on the other one", || async {
            let waiting: i64 = one(&beside, sql).await.try_get_by_index(0).unwrap();
            if waiting == count { Ok(()) } else { Err(waiting) }
        })
        .await;
    };
    let lock = lock(&scene.world, "tasks").await;
    let (any, recent) = (report(30_000), report(4_000));
    let release = async {
        waiting(1).await;
        // Its connection is in use, so the next one goes to the first.
        eventually("the first replica has the fewest borrowers", || async {
            let samples = scrape(&scene.world).await;
            let in_use = ["replica-1", "replica-2"]
                .map(|door| samples[&format!("trellis_pool_connections{{door=\"{door}\",state=\"in_use\"}}")]);
            if in_use[0] < in_use[1] { Ok(()) } else { Err(in_use) }
        })
        .await;
        let recent = async {
            let recent = scene.ask(&recent).await;
            recent.data()["project"]["report"].clone()
        };
        let release = async {
            waiting(2).await;
            lock.rollback().await.unwrap();
        };
        tokio::join!(recent, release).0
    };
    let (first, recent) = tokio::join!(scene.ask(&any), release);
    assert_eq!(first.data()["project"]["report"]["freshness"]["replica"], "replica-2");
    assert_eq!(recent["totals"]["total"], 3);
    let freshness = &recent["freshness"];
    assert_eq!((&freshness["replica"], &freshness["fellBack"]), (&json!("replica-2"), &json!(false)));

    let name = "trellis_fallbacks_total{reason=\"late\"}";
    let fallbacks = async || scrape(&scene.world).await.get(name).copied().unwrap_or_default();
    let before = fallbacks().await;
    let twice = report(0).replace("report(", "once: report(maxStalenessMs: 0) { totals { total } } report(");
    let newest = scene.ask(&twice).await;
    let freshness = &newest.data()["project"]["report"]["freshness"];
    assert_eq!((&freshness["source"], &freshness["fellBack"]), (&json!("PRIMARY"), &json!(true)));
    assert_eq!(Some(fallbacks().await), Some(before + 1.0), "a request counts once");
}
