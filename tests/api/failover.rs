//! Primary and replica that fail under a server, come back, or change places; and what a client with a consistency token
//! sees of it.

use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::{Value, json};
use trellis::database::administration;
use uuid::Uuid;

use crate::errors::beside;
use crate::fragile::Fragile;
use crate::harness::{Answer, SECRET, World, eventually, one};
use crate::instance::{Instance, trellis};
use crate::silence::{asleep, create, delay_reports, delay_writes, struck_on_replica};

pub const ROWS: &str = "query($id: ID!) { project(id: $id) { name tasks { totalCount nodes { title } } } }";
pub const REPORT: &str =
    "query($id: ID!) { project(id: $id) { report { totals { total } freshness { source replica fellBack } } } }";
pub const CREATE: &str =
    "mutation($id: ID!) { taskCreate(input: { projectId: $id, title: \"New\" }) { consistencyToken task { id } } }";

pub struct Scene {
    pub fragile: Fragile,
    pub world: World,
    pub ada: Uuid,
    pub project: Uuid,
}

impl Scene {
    /// A project of two tasks, of which the replica knows.
    pub async fn new(words: &[&str]) -> Self {
        let fragile = Fragile::new().await;
        let world = fragile.world(words).await;
        let ada = world.user("ada").await;
        let home = world.workspace("home", ada).await;
        let project = world.project(home, "Boat").await;
        world.task(project, "Paint").await;
        world.task(project, "Sail").await;
        world.replicated().await;
        let scene = Self { fragile, world, ada, project };
        scene.ready("ready").await;
        scene
    }

    pub async fn ask(&self, document: &str, token: Option<&str>) -> Answer {
        self.ask_at(&self.world.url(""), document, token).await
    }

    /// Asks until the replica serves it: a busy machine may take it for silent now and then.
    pub async fn ask_of_replica(&self, document: &str, token: Option<&str>) -> Answer {
        eventually("the replica serves it", async || {
            let answer = self.ask(document, token).await;
            if served_by(&answer) == "replica-1" { Ok(answer) } else { Err(answer.text) }
        })
        .await
    }

    /// Asks another server.
    pub async fn ask_at(&self, url: &str, document: &str, token: Option<&str>) -> Answer {
        let body = json!({ "query": document, "variables": { "id": self.project } });
        let request = self.world.http().post(format!("{url}/graphql")).bearer_auth(self.world.token(self.ada));
        let request = token.into_iter().fold(request, |request, token| request.header("x-consistency-token", token));
        Answer::of(request.header("x-debug", "sql").json(&body).send().await.unwrap()).await
    }

    /// Another process, with the settings of the beginning.
    pub fn instance(&self, words: &[&str]) -> Instance {
        let mut command = trellis();
        let [primary, replica] = [&self.fragile.addresses.primary, &self.fragile.addresses.replicas[0]];
        command.args(["--database-url", primary, "--replica-urls", replica, "--jwt-secret", SECRET]);
        Instance::spawn(command.args(["--listen", "127.0.0.1:0", "--debug-sql", "true"]).args(words))
    }

    /// Waits until the server's own view of its servers is this, and gives it.
    pub async fn ready(&self, status: &str) -> Value {
        eventually(status, || async {
            let ready = self.world.readiness().await;
            if ready["status"] == status { Ok(ready) } else { Err(ready) }
        })
        .await
    }

    /// Waits until there is a primary again, and a task more.
    async fn written_to(&self) {
        eventually("a primary is written to", || async {
            let answer = self.ask(CREATE, None).await;
            if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.text) }
        })
        .await;
    }

    /// Waits until the server tells this of its servers, among other things.
    pub async fn degraded(&self, what: &str) {
        eventually(what, || async {
            let ready = self.world.readiness().await;
            if ready["degraded"].as_array().unwrap().iter().any(|told| told == what) { Ok(()) } else { Err(ready) }
        })
        .await;
    }

    /// Creates a task, and gives the token from each place.
    async fn create(&self) -> String {
        let answer = self.ask(CREATE, None).await;
        let token = answer.data()["taskCreate"]["consistencyToken"].as_str().unwrap().to_owned();
        assert_eq!(answer.headers["x-consistency-token"], token.as_str());
        assert_eq!(answer.body["extensions"]["consistency"]["token"], token);
        token
    }
}

pub fn served_by(answer: &Answer) -> &Value {
    &answer.body["extensions"]["consistency"]["servedBy"]
}

pub fn tasks(answer: &Answer) -> u64 {
    answer.data()["project"]["tasks"]["totalCount"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_primary_is_away_replicas_are_read_and_nothing_is_written_and_it_is_found_again() {
    let scene = Scene::new(&[]).await;
    let answer = scene.ask(ROWS, None).await;
    assert_eq!((tasks(&answer), served_by(&answer)), (2, &Value::Null), "the usual is not worth a word");
    let token = scene.create().await;
    scene.world.replicated().await;

    scene.fragile.crash("primary").await;
    for round in 0..10 {
        // From the first request on, whatever the server has noticed.
        let answer = scene.ask(ROWS, None).await;
        assert_eq!((tasks(&answer), served_by(&answer)), (3, &json!("replica-1")));
        assert!(round == 0 || answer.statements_on("primary") == 0, "{:?}", answer.statements());
        let answer = scene.ask(ROWS, Some(&token)).await;
        assert_eq!((tasks(&answer), served_by(&answer)), (3, &json!("replica-1")));
        let report = scene.ask(REPORT, None).await;
        assert_eq!(report.data()["project"]["report"]["totals"]["total"], 3);
        assert_eq!(report.data()["project"]["report"]["freshness"]["source"], "REPLICA");
        let refused = scene.ask(CREATE, None).await;
        assert_eq!((refused.status, refused.codes()), (StatusCode::SERVICE_UNAVAILABLE, vec!["UNAVAILABLE"]));
        assert_eq!(refused.headers["retry-after"], "1");
    }
    let fresh = "query($id: ID!) { project(id: $id) { name report(maxStalenessMs: 0) { totals { total } } } }";
    let answer = scene.ask(fresh, None).await;
    assert_eq!((answer.status, answer.codes()), (StatusCode::OK, vec!["UNAVAILABLE"]), "it asked for news");
    assert_eq!(answer.body["data"]["project"], json!({ "name": "Boat", "report": null }));
    let ready = scene.ready("degraded").await;
    assert_eq!(ready["primary"], false);
    assert_eq!(ready["degraded"], json!(["primary does not answer", "no server takes writes"]));

    scene.fragile.start("primary");
    scene.written_to().await;
    let answer = scene.ask(ROWS, None).await;
    assert_eq!((tasks(&answer), served_by(&answer)), (4, &Value::Null));
    scene.ready("ready").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_primary_what_the_replica_does_not_have_yet_is_not_passed_over_in_silence() {
    let scene = Scene::new(&[]).await;
    let old = scene.create().await;
    scene.world.replicated().await;
    scene.fragile.pause_replay(&scene.world).await;
    let token = scene.create().await;
    scene.fragile.received(&scene.world).await;
    scene.fragile.crash("primary").await;
    scene.degraded("primary does not answer").await;
    let answer = scene.ask("{ __typename }", Some(&old)).await;
    assert_eq!((answer.data(), served_by(&answer)), (&json!({ "__typename": "Query" }), &Value::Null));
    let refused = scene.ask(ROWS, Some(&token)).await;
    assert_eq!((refused.status, refused.codes()), (StatusCode::SERVICE_UNAVAILABLE, vec!["UNAVAILABLE"]));
    assert_eq!(tasks(&scene.ask_of_replica(ROWS, None).await), 3);
    one(&scene.world.replica_sql, "SELECT pg_wal_replay_resume()::text").await;
    let seen = eventually("the replica has it", || async {
        let answer = scene.ask(ROWS, Some(&token)).await;
        if answer.status == StatusCode::OK { Ok(tasks(&answer)) } else { Err(answer.text) }
    })
    .await;
    assert_eq!(seen, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_queries_on_replicas_a_client_with_its_token_sees_every_write_of_its_own() {
    let scene = Scene::new(&["--read-from-replicas"]).await;
    let answer = scene.ask_of_replica(ROWS, None).await;
    assert_eq!((tasks(&answer), answer.statements_on("primary")), (2, 0));
    assert!(answer.statements_on("replica") >= 3, "{:?}", answer.statements());
    let mut read = answer.headers["x-consistency-token"].to_str().unwrap().to_owned();
    for round in 1..=30 {
        let token = scene.create().await;
        assert_eq!(tasks(&scene.ask(ROWS, Some(&token)).await), 2 + round);
        let answer = scene.ask(ROWS, Some(&token)).await;
        read = answer.headers["x-consistency-token"].to_str().unwrap().to_owned();
        assert_eq!(tasks(&answer), 2 + round);
    }
    scene.world.replicated().await;
    scene.fragile.pause_replay(&scene.world).await;
    let token = scene.create().await;
    assert_eq!(tasks(&scene.ask_of_replica(ROWS, None).await), 32, "nothing was promised");
    assert_eq!(tasks(&scene.ask_of_replica(ROWS, Some(&read)).await), 32, "it has what was read before");
    let answer = scene.ask(ROWS, Some(&token)).await;
    assert_eq!((tasks(&answer), served_by(&answer)), (33, &json!("primary")));
    let seen = answer.headers["x-consistency-token"].to_str().unwrap();
    let report = scene.ask(REPORT, Some(seen)).await;
    let report = &report.data()["project"]["report"];
    assert_eq!((&report["totals"]["total"], &report["freshness"]["fellBack"]), (&json!(33), &json!(true)));
    one(&scene.world.replica_sql, "SELECT pg_wal_replay_resume()::text").await;
    eventually("the replica serves it", || async {
        let answer = scene.ask(ROWS, Some(&token)).await;
        assert_eq!(tasks(&answer), 33);
        if served_by(&answer) == "replica-1" { Ok(()) } else { Err(answer.text) }
    })
    .await;

    // A token of another cluster says nothing about this one.
    let elsewhere = World::new().await;
    let grace = elsewhere.user("grace").await;
    let create = "mutation { workspaceCreate(input: { name: \"X\", slug: \"xx\" }) { consistencyToken } }";
    let foreign = elsewhere.ask(grace, create, json!({})).await;
    let foreign = foreign.data()["workspaceCreate"]["consistencyToken"].as_str().unwrap();
    let answer = scene.ask(ROWS, Some(foreign)).await;
    assert_eq!((tasks(&answer), served_by(&answer)), (33, &json!("primary")));
    let renewed = answer.headers["x-consistency-token"].to_str().unwrap();
    assert_ne!(renewed, foreign);
    assert_eq!(answer.body["extensions"]["consistency"]["code"], Value::Null);
    assert_eq!(tasks(&scene.ask(ROWS, Some(renewed)).await), 33);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stands_still_is_left_at_once_and_returned_to() {
    let scene = Scene::new(&["--read-from-replicas"]).await;
    scene.ask_of_replica(ROWS, None).await;
    scene.fragile.signal_all("replica", Signal::SIGSTOP);
    for _ in 0..5 {
        let answer = scene.ask(ROWS, None).await;
        assert_eq!((tasks(&answer), served_by(&answer)), (2, &Value::Null), "{}", answer.text);
        let report = scene.ask(REPORT, None).await;
        assert_eq!(report.data()["project"]["report"]["freshness"]["fellBack"], true);
    }
    assert_eq!(scene.ready("degraded").await["primary"], true);
    scene.fragile.signal_all("replica", Signal::SIGCONT);
    scene.ask_of_replica(ROWS, None).await;
}

/// How many tasks a server has.
pub async fn count(connection: &DatabaseConnection) -> i64 {
    one(connection, "SELECT count(*) FROM tasks").await.try_get_by_index(0).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_is_written_to_and_the_former_primary_is_not_when_it_returns() {
    let scene = Scene::new(&[]).await;
    let before = scene.create().await;
    scene.world.replicated().await;
    scene.fragile.cut_replication(&scene.world).await;
    let lost = scene.create().await;
    scene.fragile.crash("primary").await;
    scene.fragile.promote(&scene.world).await;
    scene.written_to().await;
    let answer = scene.ask(ROWS, Some(&before)).await;
    assert_eq!((tasks(&answer), served_by(&answer)), (4, &json!("replica-1")), "two, one before and one after");
    let fresh = answer.headers["x-consistency-token"].to_str().unwrap().to_owned();
    assert_ne!(fresh, before);
    assert_eq!(answer.body["extensions"]["consistency"]["code"], Value::Null);
    let answer = scene.ask(ROWS, Some(&lost)).await;
    assert_eq!(tasks(&answer), 4);
    assert_eq!(answer.body["extensions"]["consistency"]["code"], "WRITE_LOST_IN_FAILOVER", "{}", answer.text);
    assert_ne!(answer.headers["x-consistency-token"], lost.as_str());
    assert_eq!(tasks(&scene.ask(ROWS, Some(&fresh)).await), 4);

    scene.fragile.start("primary");
    let ready = eventually("its return is seen", || async {
        let ready = scene.world.readiness().await;
        let seen = json!(["primary is not a replica of the primary any more"]);
        if ready["degraded"] == seen { Ok(ready) } else { Err(ready) }
    })
    .await;
    assert_eq!(ready["primary"], true);
    for _ in 0..20 {
        scene.create().await;
    }
    let former = administration::connect(&scene.fragile.addresses.primary).await.unwrap();
    assert_eq!(count(&former).await, 4, "two, one before, and the lost one");
    assert_eq!(count(&scene.world.replica_sql).await, 24);
    assert_eq!(tasks(&scene.ask(ROWS, None).await), 24, "nor is it read");

    // So does a server that starts now, whose settings are still those of before.
    let mut server = scene.instance(&[]);
    server.logs("in place 1 is the primary now").await;
    scene.ask_at(&server.url().await, CREATE, None).await.data();
    assert_eq!((count(&former).await, count(&scene.world.replica_sql).await), (4, 25));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_on_a_primary_is_given_up_when_another_is_promoted_though_it_lives() {
    let scene = Scene::new(&["--statement-timeout-ms", "600000", "--request-timeout-ms", "600000"]).await;
    delay_writes(&scene).await;
    let former = beside(&scene.world).await;
    let promotion = async {
        asleep(&former, 1).await;
        scene.fragile.promote(&scene.world).await;
    };
    let write = async {
        let answer = tokio::time::timeout(Duration::from_mins(1), scene.ask(&create("Early"), None)).await;
        answer.expect("it is given up long before its deadline")
    };
    let (answer, ()) = tokio::join!(write, promotion);
    assert_eq!((answer.status, answer.codes()), (StatusCode::SERVICE_UNAVAILABLE, vec!["UNAVAILABLE"]));
    let ready = scene.ready("degraded").await;
    assert_eq!(ready["primary"], true);
    assert_eq!(ready["degraded"], json!(["primary is not a replica of the primary any more"]));
    for _ in 0..20 {
        scene.create().await;
    }
    assert_eq!((count(&former).await, count(&scene.world.replica_sql).await), (2, 22));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_primaries_on_one_timeline_the_one_that_was_written_to_is_kept_and_no_start_chooses_one() {
    let scene = Scene::new(&[]).await;
    scene.fragile.sever().await;
    let other = eventually("the other one is a primary", async || {
        let other =
            administration::connect(&scene.fragile.addresses.replicas[0]).await.map_err(|error| error.to_string())?;
        if one(&other, "SELECT pg_is_in_recovery()").await.try_get_by_index(0).unwrap() {
            Err("not yet".to_owned())
        } else {
            Ok(other)
        }
    })
    .await;
    scene.degraded("replica-1 is not a replica of the primary any more").await;
    scene.create().await;
    let ended = scene.instance(&[]).ended().await;
    ended.assert_refused(&["DATABASE_URL and of REPLICA_URLS in place 1 both take writes on timeline 1"]);

    scene.fragile.crash("primary").await;
    scene.degraded("primary does not answer").await;
    for _ in 0..20 {
        let refused = scene.ask(CREATE, None).await;
        assert_eq!((refused.status, refused.codes()), (StatusCode::SERVICE_UNAVAILABLE, vec!["UNAVAILABLE"]));
    }
    assert_eq!(count(&other).await, 2);
    scene.fragile.start("primary");
    scene.written_to().await;
    assert_eq!((count(&other).await, tasks(&scene.ask(ROWS, None).await)), (2, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_what_is_replayed_gets_in_the_way_of_is_asked_elsewhere() {
    let scene = Scene::new(&[]).await;
    let replica_sql = &scene.world.replica_sql;
    delay_reports(&scene, 5.0).await;
    replica_sql.execute_unprepared("ALTER SYSTEM SET max_standby_streaming_delay = 0").await.unwrap();
    one(replica_sql, "SELECT pg_reload_conf()").await;
    let ask = async || scene.ask(REPORT, None).await;
    let conflict = async || scene.world.execute("ALTER TABLE real_tasks ADD COLUMN another int").await;
    let answer = struck_on_replica(&scene, ask, conflict).await;
    assert_eq!(answer.data()["project"]["report"]["totals"]["total"], 2, "{}", answer.text);
    let conflicts = "SELECT sum(confl_lock)::bigint FROM pg_stat_database_conflicts";
    eventually("the replica has ended the first try", async || {
        let conflicts: i64 = one(replica_sql, conflicts).await.try_get_by_index(0).unwrap();
        if conflicts > 0 { Ok(()) } else { Err("not yet") }
    })
    .await;
    assert!(answer.statements().len() >= 3, "{:?}", answer.statements());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_write_is_told_also_where_the_new_primary_could_not_be_asked_for_its_history_at_first() {
    let scene = Scene::new(&[]).await;
    // The first two who ask are not answered: the watcher over the connection that it has, and over a second one.
    scene
        .world
        .execute(
            "CREATE SEQUENCE asked;
             CREATE FUNCTION pg_read_file(text, bigint, bigint, boolean) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('public.asked') <= 2 THEN PERFORM pg_sleep(600); END IF;
             RETURN pg_catalog.pg_read_file($1, $2, $3, $4); END $$;
             ALTER DATABASE trellis SET search_path = public, pg_catalog",
        )
        .await;
    scene.world.replicated().await;
    scene.world.flush_statistics(&scene.world.replica_sql).await;
    scene.ready("ready").await;
    scene.fragile.cut_replication(&scene.world).await;
    let lost = scene.create().await;
    scene.fragile.crash("primary").await;
    scene.fragile.promote(&scene.world).await;
    scene.written_to().await;
    let asked: i64 = one(&scene.world.replica_sql, "SELECT last_value FROM asked").await.try_get_by_index(0).unwrap();
    assert!(asked >= 2, "{asked}");
    let answer = scene.ask(ROWS, Some(&lost)).await;
    assert_eq!(answer.body["extensions"]["consistency"]["code"], "WRITE_LOST_IN_FAILOVER", "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_has_followed_a_promoted_server_is_read_when_that_one_dies() {
    let scene = Scene::new(&[]).await;
    let token = scene.create().await;
    scene.fragile.switch_over(&scene.world).await;
    scene.ready("ready").await;
    eventually("the promoted one is written to", || async {
        let answer = scene.ask(CREATE, None).await;
        if served_by(&answer) == "replica-1" { Ok(()) } else { Err(answer.text) }
    })
    .await;
    let count = one(&scene.world.replica_sql, "SELECT count(*) FROM tasks").await;
    let count = u64::try_from(count.try_get_by_index::<i64>(0).unwrap()).unwrap();
    assert!(count >= 4, "{count}");
    eventually("the former primary has it", || async {
        let answer = scene.ask(REPORT, None).await;
        let report = &answer.body["data"]["project"]["report"];
        let shown = json!([report["totals"]["total"], report["freshness"]["replica"]]);
        if shown == json!([count, "primary"]) { Ok(()) } else { Err(answer.text) }
    })
    .await;

    scene.fragile.crash("replica").await;
    scene.degraded("replica-1 does not answer").await;
    for _ in 0..20 {
        for token in [None, Some(token.as_str())] {
            let answer = scene.ask(ROWS, token).await;
            if token.is_none() {
                assert_eq!((tasks(&answer), served_by(&answer)), (count, &json!("primary")));
            } else {
                assert_eq!(answer.codes(), ["UNAVAILABLE"], "nothing can be said of another timeline");
            }
        }
    }
}
