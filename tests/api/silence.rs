//! Servers that fall silent while they are asked, and servers that are merely slow.

use std::pin::pin;
use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::StatusCode;
use sea_orm::DatabaseConnection;
use serde_json::json;

use crate::errors::beside;
use crate::failover::{CREATE, REPORT, ROWS, Scene, served_by, tasks};
use crate::harness::{Answer, eventually, one};
use crate::metrics::scrape;

/// Waits until so many statements of a server sleep.
pub async fn asleep(connection: &DatabaseConnection, count: i64) {
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    eventually("statements sleep", async || {
        let asleep: i64 = one(connection, asleep).await.try_get_by_index(0).unwrap();
        if asleep == count { Ok(()) } else { Err(asleep) }
    })
    .await;
}

/// Has every look at tasks on a replica take so long.
pub async fn delay_reports(scene: &Scene, seconds: f32) {
    let sleep = format!("CASE WHEN pg_is_in_recovery() THEN (SELECT pg_sleep({seconds})) IS NOT NULL ELSE true END");
    scene.world.execute("ALTER TABLE tasks RENAME TO real_tasks").await;
    scene.world.execute(&format!("CREATE VIEW tasks AS SELECT * FROM real_tasks WHERE {sleep}")).await;
    scene.world.replicated().await;
}

/// The answer to a report while which something was done to the replica that computed it. A busy machine may take the
/// replica for silent before that, and ask elsewhere: then it is asked for again.
pub async fn struck_on_replica(scene: &Scene, ask: impl AsyncFn() -> Answer, strike: impl AsyncFn()) -> Answer {
    let replica = &scene.world.replica_sql;
    eventually("the replica computes the report", async || {
        asleep(replica, 0).await;
        let mut answer = pin!(ask());
        tokio::select! {
            answer = &mut answer => Err(answer.text),
            () = asleep(replica, 1) => Ok(tokio::join!(answer, strike()).0),
        }
    })
    .await
}

/// Has the statement that creates a task `Early` take ten minutes, and the commit of one that is called `Late`.
pub async fn delay_writes(scene: &Scene) {
    let delay = "BEGIN PERFORM pg_sleep(600); RETURN NEW; END";
    scene
        .world
        .execute(&format!(
            "CREATE FUNCTION delay() RETURNS trigger LANGUAGE plpgsql AS $$ {delay} $$;
             CREATE TRIGGER early BEFORE INSERT ON tasks FOR EACH ROW WHEN (NEW.title = 'Early') EXECUTE FUNCTION delay();
             CREATE CONSTRAINT TRIGGER late AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW WHEN (NEW.title = 'Late') EXECUTE FUNCTION delay()"
        ))
        .await;
}

/// Creates a task of a title.
pub fn create(title: &str) -> String {
    CREATE.replace("New", title)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_is_under_way_on_a_replica_that_falls_silent_is_computed_elsewhere() {
    let scene = Scene::new(&[]).await;
    delay_reports(&scene, 600.0).await;
    let mut server = scene.instance(&["--report-timeout-ms", "600000", "--request-timeout-ms", "600000"]);
    let url = server.url().await;
    let ask = async || scene.ask_at(&url, REPORT, None).await;
    let freeze = async || scene.fragile.signal_all("replica", Signal::SIGSTOP);
    // Not by what takes longer, that the replica counts as away; or by both at once, where a busy machine looks slowly.
    eventually("it is given up for its silence", async || {
        let answer = struck_on_replica(&scene, ask, freeze).await;
        let report = &answer.data()["project"]["report"];
        let freshness = json!({ "source": "PRIMARY", "replica": null, "fellBack": true });
        assert_eq!((&report["totals"]["total"], &report["freshness"]), (&json!(2), &freshness));
        let statements = (answer.statements_on("primary"), answer.statements_on("replica"));
        assert!(statements.0 >= 3 && statements.1 >= 1, "{}", answer.text);
        if server.has_logged("gives no sign of life; others are asked instead") {
            return Ok(());
        }
        scene.fragile.signal_all("replica", Signal::SIGCONT);
        Err(answer.text)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_takes_long_on_a_replica_that_is_well_is_waited_for() {
    let scene = Scene::new(&[]).await;
    delay_reports(&scene, 0.5).await;
    // A machine that is busy may be silent once.
    let answer = eventually("the replica answers", async || {
        let answer = scene.ask(REPORT, None).await;
        let source = &answer.data()["project"]["report"]["freshness"]["source"];
        let is_waited_for = (answer.statements_on("primary"), answer.statements_on("replica")) == (1, 1);
        if source == "REPLICA" && is_waited_for { Ok(answer) } else { Err(answer.text) }
    })
    .await;
    let report = &answer.data()["project"]["report"];
    assert_eq!((&report["totals"]["total"], &report["freshness"]["fellBack"]), (&json!(2), &json!(false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_to_a_primary_that_falls_silent_are_given_up_and_one_that_was_being_committed_has_an_unknown_outcome() {
    let scene = Scene::new(&["--statement-timeout-ms", "600000", "--request-timeout-ms", "600000"]).await;
    delay_writes(&scene).await;
    let beside = beside(&scene.world).await;
    let freeze = async {
        asleep(&beside, 2).await;
        scene.fragile.signal_all("primary", Signal::SIGSTOP);
        scene.ask(CREATE, None).await
    };
    let (early, late) = (create("Early"), create("Late"));
    let writes = async { tokio::join!(scene.ask(&early, None), scene.ask(&late, None), freeze) };
    let answers = tokio::time::timeout(Duration::from_mins(1), writes).await;
    let (early, late, begun_later) = answers.expect("they are given up long before their deadline");
    for refused in [&early, &begun_later] {
        assert_eq!((refused.status, refused.codes()), (StatusCode::SERVICE_UNAVAILABLE, vec!["UNAVAILABLE"]));
        assert_eq!(refused.headers["retry-after"], "1");
    }
    assert_eq!((late.status, late.codes()), (StatusCode::OK, vec!["OUTCOME_UNKNOWN"]), "{}", late.text);
    assert_eq!(tasks(&scene.ask_of_replica(ROWS, None).await), 2);

    scene.fragile.signal_all("primary", Signal::SIGCONT);
    eventually("it is written to again", async || {
        let answer = scene.ask(CREATE, None).await;
        if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.text) }
    })
    .await;
    asleep(&beside, 0).await;
    assert_eq!(tasks(&scene.ask(ROWS, None).await), 3, "nothing is left of what was given up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_primary_is_away_a_read_outlasts_a_moment_in_which_the_replica_is_silent() {
    let scene = Scene::new(&[]).await;
    scene.fragile.crash("primary").await;
    let in_flight = || async {
        eventually("the read is under way", async || {
            let count = scrape(&scene.world).await["trellis_requests_in_flight"];
            if count > 0.0 { Ok(()) } else { Err(count) }
        })
        .await;
    };
    // A machine that is busy may be silent for longer than a moment.
    let answer = eventually("it is answered", async || {
        scene.fragile.signal_all("replica", Signal::SIGSTOP);
        scene.degraded("replica-1 does not answer").await;
        let mut read = pin!(scene.ask(ROWS, None));
        let early = tokio::select! {
            answer = &mut read => Some(answer),
            () = in_flight() => None,
        };
        scene.fragile.signal_all("replica", Signal::SIGCONT);
        let answer = match early {
            Some(answer) => answer,
            None => read.await,
        };
        if answer.status == StatusCode::OK { Ok(answer) } else { Err(answer.text) }
    })
    .await;
    assert_eq!((tasks(&answer), served_by(&answer)), (2, &json!("replica-1")));
}
