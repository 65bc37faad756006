//! Everything runs, and there is too little of something, or statements are in each other's way.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use sea_orm::ConnectionTrait;
use serde_json::json;
use trellis::database::administration;
use uuid::Uuid;

use super::primary::DOWN;
use super::{INVISIBLE, NOTHING};
use crate::client::{Caller, Event, Kind, OK};
use crate::cluster::{DATABASE, until};
use crate::ledger::{Outcome, Write};
use crate::proxy::Mode;
use crate::scenario::{Promise, Scenario};
use crate::stage::Stage;

const COMMENTS: &str = "query FaultComments($id: ID!) { task(id: $id) { comments(first: 1) { nodes { body } } } }";
const UPDATE: &str = "mutation FaultUpdate($input: TasksUpdateInput!) {
  tasksUpdate(input: $input) { tasks { id } userErrors { code } }
}";

/// How long a fault that comes about by chance is waited for. How soon it does depends on how busy the machine is.
const EFFECT: Duration = Duration::from_secs(20);

pub fn scenarios() -> [Scenario; 6] {
    [
        Scenario {
            name: "pool-exhausted",
            about: "eight clients, two connections to the primary, 200 ms on each way to it",
            words: &["--primary-connections", "2", "--acquire-timeout-ms", "1000"],
            updates: true,
            promise: Promise {
                writes: &["OVERLOADED"],
                reads: &["OVERLOADED"],
                write_within: Duration::from_secs(5),
                read_within: Duration::from_secs(5),
                ..INVISIBLE
            },
            // A look at the server may take 500 ms.
            wire: Some((0, Mode::Delay(Duration::from_millis(200)))),
            lasts: |_| Duration::from_secs(5),
            strike: |stage| Box::pin(async { stage.write_fails().await }),
            heal: |stage| {
                Box::pin(async {
                    let events = stage.events();
                    let is_refused =
                        |event: &&Event| event.kind == Kind::Write && event.code == "OVERLOADED" && !event.done;
                    let refused = events.iter().filter(is_refused);
                    let worst = refused.map(|event| event.took).max().unwrap_or_default();
                    stage.notes.push(format!("writes were refused after {} ms at most", worst.as_millis()));
                    stage.require_within(Duration::from_millis(1_500), worst, "a refusal");
                    Ok(())
                })
            },
            ..NOTHING
        },
        Scenario {
            name: "statement-slow",
            about: "every look at comments takes 30 s; clients wait for it, or go away",
            prepare: |stage| Box::pin(async { comment(stage).await.map(|()| None) }),
            strike: |stage| Box::pin(async { slow_statements(stage).await }),
            heal: |stage| {
                Box::pin(async {
                    let primary = stage.primary();
                    let asleep =
                        "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
                    primary.rows(asleep).await?;
                    primary.execute("DROP VIEW comments; ALTER TABLE comments_in_earnest RENAME TO comments").await
                })
            },
            ..NOTHING
        },
        Scenario {
            name: "deadlocks",
            about: "another program locks the same rows the other way round, and never gives in",
            strike: |stage| Box::pin(async { deadlocks(stage).await }),
            heal: |stage| Box::pin(async { stage.primary().set("deadlock_timeout", None).await }),
            ..NOTHING
        },
        Scenario {
            name: "recovery-conflicts",
            about: "the primary vacuums what reports on slow wires to both replicas still see",
            promise: Promise { read_within: Duration::from_secs(2), ..INVISIBLE },
            strike: |stage| Box::pin(async { recovery_conflicts(stage).await }),
            heal: |stage| {
                Box::pin(async {
                    for (replica, proxy) in stage.replicas().iter().zip(&stage.proxies[1..]) {
                        proxy.set(Mode::Pass);
                        replica.set("max_standby_streaming_delay", None).await?;
                        replica.set("hot_standby_feedback", None).await?;
                    }
                    Ok(())
                })
            },
            ..NOTHING
        },
        Scenario {
            name: "disk-full",
            about: "no room for the primary's tables, on a disk of their own",
            promise: Promise { writes: &["UNAVAILABLE"], write_within: Duration::from_secs(1), ..INVISIBLE },
            prepare: |stage| Box::pin(async { small_disk(stage, Part::Tables).await }),
            strike: |stage| {
                Box::pin(async {
                    let project = stage.new_project().await?;
                    fill(&Part::Tables.ballast(stage))?;
                    // What room there is in the pages of the tables is taken by rows that are rolled back.
                    let rows = format!(
                        "INSERT INTO tasks (id, project_id, title, status, priority) \
                         SELECT gen_random_uuid(), '{project}', 'In the way', 'todo', 'low' FROM generate_series(1, 100000)"
                    );
                    let inserted = stage.primary().execute(&rows).await;
                    anyhow::ensure!(inserted.is_err(), "the tables do not get full");
                    Ok(())
                })
            },
            heal: |stage| {
                Box::pin(async {
                    stage.write_fails().await?;
                    Ok(fs::remove_file(Part::Tables.ballast(stage))?)
                })
            },
            ..NOTHING
        },
        Scenario {
            name: "log-disk-full",
            about: "no room for the primary's log, so that it ends; room is made, and it is started again",
            promise: DOWN,
            prepare: |stage| Box::pin(async { small_disk(stage, Part::Log).await }),
            strike: |stage| {
                Box::pin(async {
                    fill(&Part::Log.ballast(stage))?;
                    // Each begins a new file, until one cannot be made.
                    let mut files = 0;
                    while stage.primary().rows("SELECT pg_switch_wal()::text").await.is_ok() {
                        files += 1;
                        anyhow::ensure!(files < 20, "the log does not get full");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    Ok(())
                })
            },
            heal: |stage| {
                Box::pin(async {
                    stage.write_fails().await?;
                    fs::remove_file(Part::Log.ballast(stage))?;
                    stage.primary().start().await
                })
            },
            ..NOTHING
        },
    ]
}

/// A task with a comment. Its id is the user's, too.
async fn comment(stage: &Stage) -> Result<()> {
    let (user, project) = (stage.user, stage.projects[0]);
    stage
        .primary()
        .execute(&format!(
            "INSERT INTO tasks (id, project_id, title, status, priority)
             VALUES ('{user}', '{project}', 'Commented', 'todo', 'medium');
             INSERT INTO comments (id, task_id, author_id, body) VALUES ('{user}', '{user}', '{user}', 'Slow')"
        ))
        .await
}

async fn slow_statements(stage: &mut Stage) -> Result<()> {
    stage
        .primary()
        .execute(
            "ALTER TABLE comments RENAME TO comments_in_earnest;
             CREATE VIEW comments AS SELECT * FROM comments_in_earnest WHERE pg_sleep(30) IS NOT NULL",
        )
        .await?;
    let asleep = "SELECT count(*) = 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let caller = stage.caller()?;
    let ask = || caller.ask(COMMENTS, json!({ "id": stage.user }), None);
    for _ in 0..3 {
        let answered = tokio::time::timeout(Duration::from_millis(500), ask()).await;
        let code = answered.map_or_else(|_| "nothing".to_owned(), |reply| reply.code);
        anyhow::ensure!(code == "nothing", "the statement is not slow: {code}");
    }
    let gone = Instant::now();
    until("nobody sleeps any more", || stage.primary().one::<bool>(asleep)).await?;
    let took = gone.elapsed();
    let began = Instant::now();
    let reply = ask().await;
    let waited = began.elapsed();
    stage.notes.push(format!(
        "statements of clients that had gone ended after {} ms, one waited for after {} ms",
        took.as_millis(),
        waited.as_millis()
    ));
    stage.require_within(Duration::from_secs(1), took, "the end of statements of clients that had gone");
    stage.require_within(Duration::from_secs(6), waited, "the answer to a slow statement");
    stage.require(reply.code == "TIMEOUT", format!("a slow statement was answered by {}", reply.code));
    Ok(())
}

async fn deadlocks(stage: &mut Stage) -> Result<()> {
    let primary = stage.primary();
    primary.set("deadlock_timeout", Some("50ms")).await?;
    let caller = stage.caller()?;
    let mut ids = [task(&caller, stage, "first").await?, task(&caller, stage, "second").await?];
    // Trellis locks in the order of the ids.
    ids.sort_unstable();
    let counted = format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{DATABASE}'");
    let before: i64 = primary.one(&counted).await?;
    let [first, second] = ids;
    let other = administration::connect(&primary.url(DATABASE)).await?;
    let lock = |id: Uuid| format!("UPDATE tasks SET priority = priority WHERE id = '{id}'");
    let there_and_back =
        format!("SET deadlock_timeout = '10s'; {}; SELECT pg_sleep(0.03); {}", lock(second), lock(first));
    let (end, limit) = (Instant::now() + stage.length.fault, Instant::now() + EFFECT);
    let seen = AtomicBool::new(false);
    let goes_on = || Instant::now() < if seen.load(Ordering::Relaxed) { end } else { limit };
    let others = async {
        while goes_on() {
            let _ = other.execute_unprepared(&there_and_back).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    };
    let updates = async {
        let (mut done, mut failed) = (0, Vec::new());
        while goes_on() {
            let priority = ["LOW", "HIGH"][done % 2];
            let reply = caller.ask(UPDATE, json!({ "input": { "ids": ids, "priority": priority } }), None).await;
            let is_done = reply.code == OK && reply.body["data"]["tasksUpdate"]["userErrors"] == json!([]);
            if is_done { done += 1 } else { failed.push(reply.code) }
        }
        (done, failed)
    };
    // A session hands its statistics over a moment later.
    let counting = async {
        while !seen.load(Ordering::Relaxed) && goes_on() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            seen.store(primary.one::<i64>(&counted).await? > before, Ordering::Relaxed);
        }
        anyhow::Ok(())
    };
    let ((), (done, failed), counting) = tokio::join!(others, updates, counting);
    counting?;
    let deadlocks = primary.one::<i64>(&counted).await? - before;
    stage.notes.push(format!("{done} updates were done through {deadlocks} deadlocks"));
    stage.require(deadlocks > 0, "there was no deadlock, so nothing was shown");
    stage.require(failed.is_empty(), format!("{} updates failed: {failed:?}", failed.len()));
    Ok(())
}

/// A task that is written through Trellis.
async fn task(caller: &Caller, stage: &Stage, name: &str) -> Result<Uuid> {
    let write = Write::with_key(stage.projects[0], format!("{name} of {}", stage.user));
    match caller.write(&write, None).await {
        (_, Outcome::Acknowledged { id, .. }) => Ok(id),
        (reply, _) => anyhow::bail!("a task could not be written: {}", reply.code),
    }
}

async fn recovery_conflicts(stage: &mut Stage) -> Result<()> {
    for (replica, proxy) in stage.replicas().iter().zip(&stage.proxies[1..]) {
        replica.set("max_standby_streaming_delay", Some("0")).await?;
        replica.set("hot_standby_feedback", Some("off")).await?;
        // A report's transaction is open for a few round trips.
        proxy.set(Mode::Delay(Duration::from_millis(15)));
    }
    let before = counted_conflicts(stage).await?;
    let (end, limit) = (Instant::now() + stage.length.fault, Instant::now() + EFFECT);
    let mut conflicts = 0;
    while Instant::now() < if conflicts > 0 { end } else { limit } {
        stage.primary().execute("UPDATE tasks SET priority = priority").await?;
        stage.primary().execute("VACUUM tasks").await?;
        conflicts = counted_conflicts(stage).await? - before;
    }
    stage.notes.push(format!("{conflicts} statements or sessions of replicas were cancelled"));
    stage.require(conflicts > 0, "there was no conflict, so nothing was shown");
    Ok(())
}

async fn counted_conflicts(stage: &Stage) -> Result<i64> {
    let counted = format!(
        "SELECT confl_snapshot + confl_lock + confl_bufferpin FROM pg_stat_database_conflicts WHERE datname = '{DATABASE}'"
    );
    let mut all = 0;
    for replica in stage.replicas() {
        all += replica.one::<i64>(&counted).await?;
    }
    Ok(all)
}

/// What of the primary gets a disk of its own.
#[derive(Clone, Copy)]
enum Part {
    Tables,
    Log,
}

impl Part {
    /// Where its disk is mounted.
    fn disk(self, stage: &Stage) -> PathBuf {
        let name = match self {
            Self::Tables => "disk-of-tables",
            Self::Log => "disk-of-log",
        };
        stage.cluster.directory.join(name)
    }

    /// What fills that disk.
    fn ballast(self, stage: &Stage) -> PathBuf {
        self.disk(stage).join("ballast")
    }
}

const SMALL_DISK_BYTES: u64 = 192 << 20;

/// Moves a part of the primary to a small disk, where one can be had and it is not on one.
async fn small_disk(stage: &mut Stage, part: Part) -> Result<Option<String>> {
    let (primary, disk) = (stage.primary().clone(), part.disk(stage));
    if stage.cluster.disks.contains(&disk) {
        return Ok(None);
    }
    let name = match part {
        Part::Tables => {
            let oid = format!("SELECT oid::text FROM pg_database WHERE datname = '{DATABASE}'");
            format!("base/{}", primary.one::<String>(&oid).await?)
        }
        Part::Log => "pg_wal".to_owned(),
    };
    if let Err(error) = stage.cluster.mount(&disk, SMALL_DISK_BYTES) {
        return Ok(Some(format!("no small disk can be mounted: {error:#}")));
    }
    primary.stop("fast").await?;
    primary.move_to(Path::new(&name), &disk)?;
    primary.start().await?;
    stage.trellis.ready().await?;
    stage.cluster.replicated().await?;
    Ok(None)
}

/// Makes a file that leaves no byte on its disk.
fn fill(ballast: &Path) -> Result<()> {
    let mut file = File::create(ballast)?;
    let mut piece = vec![0; 1 << 20];
    // Smaller and smaller pieces, until none fits.
    while !piece.is_empty() {
        if file.write_all(&piece).is_err() {
            piece.truncate(piece.len() / 2);
        }
    }
    Ok(())
}
