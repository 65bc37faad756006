//! Whether the replicas follow the primary, how closely, and how much of the log the primary keeps for them.

use std::time::{Duration, Instant};

use sea_orm::{DbErr, FromQueryResult};

use super::finding::{Area, Check, Finding, Judgement};
use super::report::{duration, size};
use super::server::Server;
use crate::config::PoolSettings;

const SENDERS: Check = Check { area: Area::Replication, name: "streams out" };
const SLOTS: Check = Check { area: Area::Replication, name: "slots" };
const SLOT_LIMIT: Check = Check { area: Area::Replication, name: "slot limit" };
const STREAMING: Check = Check { area: Area::Replication, name: "streaming" };
const REPLAY: Check = Check { area: Area::Replication, name: "replay" };
const LAG: Check = Check { area: Area::Replication, name: "lag" };
const CONFLICTS: Check = Check { area: Area::Replication, name: "conflicts" };

/// How long a replica is given to reach where the primary was at the beginning: 150 MB of log, as measured.
const CATCH_UP: Duration = Duration::from_secs(1);
const CATCH_UP_INTERVAL: Duration = Duration::from_millis(20);

/// What concerns the primary.
pub(super) async fn of_primary(primary: &Server, replicas: usize) -> Vec<Finding> {
    vec![
        primary.check(SENDERS, SENDERS_SQL, |senders| judge_senders(primary, senders, replicas)).await,
        primary.check(SLOTS, SLOTS_SQL, judge_slots).await,
        primary.check(SLOT_LIMIT, SLOT_LIMIT_SQL, judge_slot_limit).await,
    ]
}

/// What concerns a replica.
pub(super) async fn of_replica(replica: &Server, primary: Option<&Server>, pools: &PoolSettings) -> Vec<Finding> {
    let lag = match primary {
        Some(primary) => lag(replica, primary, pools).await,
        None => Judgement::warn("cannot tell: the primary does not answer", "there is nothing to compare with")
            .of(&replica.name, LAG),
    };
    vec![
        replica.check(STREAMING, STREAMING_SQL, |rows| judge_streaming(replica, rows)).await,
        replica.check(REPLAY, REPLAY_SQL, judge_replay).await,
        lag,
        replica.check(CONFLICTS, CONFLICTS_SQL, |rows| judge_conflicts(rows, pools)).await,
    ]
}

#[derive(FromQueryResult)]
struct Sender {
    name: String,
    /// None where the role may not see it.
    state: Option<String>,
    behind: Option<i64>,
}

const SENDERS_SQL: &str = "
SELECT coalesce(nullif(application_name, ''), pid::text) AS name, state,
       pg_wal_lsn_diff(pg_current_wal_flush_lsn(), replay_lsn)::bigint AS behind
FROM pg_stat_replication ORDER BY 1";

fn judge_senders(primary: &Server, senders: &[Sender], replicas: usize) -> Judgement {
    if senders.iter().any(|sender| sender.state.is_none()) {
        return primary.hidden(format!("cannot tell: {} connected, their state is hidden", senders.len()));
    }
    let streaming: Vec<&Sender> =
        senders.iter().filter(|sender| sender.state.as_deref() == Some("streaming")).collect();
    let listed: Vec<String> = streaming
        .iter()
        .map(|sender| format!("{} ({} behind)", sender.name, size(sender.behind.unwrap_or_default().max(0))))
        .collect();
    let list = if listed.is_empty() { "to nobody".to_owned() } else { format!("to {}", listed.join(", ")) };
    if streaming.len() >= replicas {
        let none = if replicas == 0 { "; no replica is configured, so reports read the primary" } else { "" };
        return Judgement::ok(list + none);
    }
    let meaning =
        "a replica that the primary does not feed shows older and older data, unless another replica feeds it";
    Judgement::warn(format!("{list}; {replicas} configured"), meaning)
        .remedy("look into the log of the replica that is missing here")
}

#[derive(FromQueryResult)]
struct Slot {
    name: String,
    active: bool,
    wal_status: Option<String>,
    kept: Option<i64>,
}

const SLOTS_SQL: &str = "
SELECT slot_name::text AS name, active, wal_status,
       pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn)::bigint AS kept
FROM pg_replication_slots WHERE NOT temporary ORDER BY 1";

fn judge_slots(slots: &[Slot]) -> Judgement {
    let drop = |slot: &Slot| format!("SELECT pg_drop_replication_slot('{}');", slot.name.replace('\'', "''"));
    let sizes = |slots: &[&Slot]| {
        let kept = |slot: &&Slot| format!("{} keeps {}", slot.name, size(slot.kept.unwrap_or_default().max(0)));
        slots.iter().map(kept).collect::<Vec<_>>().join(", ")
    };
    let lost: Vec<&Slot> = slots.iter().filter(|slot| slot.wal_status.as_deref() == Some("lost")).collect();
    if !lost.is_empty() {
        let names: Vec<&str> = lost.iter().map(|slot| slot.name.as_str()).collect();
        let meaning =
            "the primary no longer keeps the log that the replica of the slot has yet to read: it cannot go on";
        return Judgement::fail(format!("out of reach: {}", names.join(", ")), meaning)
            .remedies(lost.into_iter().map(drop))
            .remedy("then make the replica anew: pg_basebackup --create-slot");
    }
    let idle: Vec<&Slot> = slots.iter().filter(|slot| !slot.active && slot.kept.is_some()).collect();
    if !idle.is_empty() {
        let meaning = "nobody reads it, so the log that it keeps grows with every write";
        return Judgement::warn(format!("idle: {}", sizes(&idle)), meaning)
            .remedy("start the replica that reads it; where there is none any more:")
            .remedies(idle.into_iter().map(drop));
    }
    let all: Vec<&Slot> = slots.iter().collect();
    Judgement::ok(if all.is_empty() { "none".to_owned() } else { sizes(&all) })
}

#[derive(FromQueryResult)]
struct SlotLimit {
    limit_mb: i64,
    slots: i64,
}

const SLOT_LIMIT_SQL: &str = "
SELECT setting::bigint AS limit_mb, (SELECT count(*) FROM pg_replication_slots) AS slots
FROM pg_settings WHERE name = 'max_slot_wal_keep_size'";

fn judge_slot_limit(rows: &[SlotLimit]) -> Judgement {
    match rows.first() {
        Some(SlotLimit { limit_mb: -1, slots: 1.. }) => {
            let meaning = "a replica that stays away lets the log fill the primary's disk, which stops every write";
            Judgement::warn("max_slot_wal_keep_size is unlimited", meaning)
                .remedy("ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; -- what the disk can spare")
                .remedy("SELECT pg_reload_conf();")
        }
        Some(SlotLimit { limit_mb: -1, .. }) => Judgement::ok("unlimited, and there are no slots"),
        Some(SlotLimit { limit_mb, .. }) => {
            Judgement::ok(format!("max_slot_wal_keep_size is {}", size(limit_mb << 20)))
        }
        None => Judgement::warn("cannot tell: there is no such setting", "the server is older than PostgreSQL 13"),
    }
}

#[derive(FromQueryResult)]
struct Receiver {
    status: Option<String>,
    slot: Option<String>,
}

const STREAMING_SQL: &str = "SELECT status, nullif(slot_name, '') AS slot FROM pg_stat_wal_receiver";

fn judge_streaming(replica: &Server, rows: &[Receiver]) -> Judgement {
    let meaning = "its data grows older with every write on the primary; reports pass it over once it is too old";
    let remedy =
        "look into its log: the address in primary_conninfo, the password, the slot, log that is no longer kept";
    match rows.first() {
        None => Judgement::fail("is not connected to the primary", meaning).remedy(remedy),
        Some(Receiver { status: None, .. }) => replica.hidden("cannot tell: it is connected, its state is hidden"),
        Some(Receiver { status: Some(status), slot }) if status == "streaming" => {
            let slot =
                slot.as_ref().map_or_else(|| "without a slot".to_owned(), |slot| format!("through the slot {slot}"));
            Judgement::ok(format!("streams {slot}"))
        }
        Some(Receiver { status: Some(status), .. }) => {
            Judgement::fail(format!("is {status}, not streaming"), meaning).remedy(remedy)
        }
    }
}

#[derive(FromQueryResult)]
struct Replay {
    state: String,
}

const REPLAY_SQL: &str = "SELECT pg_get_wal_replay_pause_state() AS state";

fn judge_replay(rows: &[Replay]) -> Judgement {
    match rows.first() {
        Some(Replay { state }) if state == "not paused" => Judgement::ok("runs"),
        _ => Judgement::fail("is paused", "it receives the log and does not apply it: its data stands still")
            .remedy("SELECT pg_wal_replay_resume(); -- on the replica"),
    }
}

#[derive(FromQueryResult)]
struct Position {
    bytes: i64,
    /// Since the replica replayed a commit.
    seconds: Option<f64>,
}

const PRIMARY_POSITION: &str =
    "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS bytes, NULL::float8 AS seconds";

const REPLICA_POSITION: &str = "
SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint AS bytes,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS seconds";

/// How far the replica is behind where the primary was at the beginning of the look. The replica's own figures would not
/// say it: they do not know of log that has not arrived, and they grow while nothing is written.
async fn lag(replica: &Server, primary: &Server, pools: &PoolSettings) -> Finding {
    let judgement = match measure(replica, primary).await {
        Ok(Ok(reached)) => {
            Judgement::ok(format!("none: reached the primary's position within {} ms", reached.as_millis()))
        }
        Ok(Err((bytes, seconds))) => {
            let limit = Duration::from_millis(pools.max_staleness_ms).as_secs_f64();
            let age =
                seconds.map_or_else(|| "of unknown age".to_owned(), |seconds| format!("{} at most", duration(seconds)));
            let found = format!("{} behind, {age}", size(bytes));
            let remedy =
                "see what it waits for: long reports on it (max_standby_streaming_delay), its disk, the network";
            if seconds.is_none_or(|seconds| seconds > limit) {
                let meaning =
                    format!("older than TRELLIS_MAX_STALENESS_MS ({}): reports go elsewhere", duration(limit));
                Judgement::fail(found, meaning).remedy(remedy)
            } else {
                Judgement::warn(found, "reports that it answers are that old").remedy(remedy)
            }
        }
        Err(error) => Judgement::warn(format!("cannot tell: {error}"), "the positions cannot be compared"),
    };
    judgement.of(&replica.name, LAG)
}

/// How long the replica took to reach the primary's position; else how many bytes and seconds it is behind.
async fn measure(replica: &Server, primary: &Server) -> Result<Result<Duration, (i64, Option<f64>)>, DbErr> {
    let position = async |server: &Server, sql: &str| {
        let row = server.ask::<Position>(sql).await?.into_iter().next();
        row.ok_or_else(|| DbErr::RecordNotFound("no position".to_owned()))
    };
    let target = position(primary, PRIMARY_POSITION).await?.bytes;
    let began = Instant::now();
    loop {
        let replayed = position(replica, REPLICA_POSITION).await?;
        if replayed.bytes >= target {
            return Ok(Ok(began.elapsed()));
        }
        if began.elapsed() > CATCH_UP {
            return Ok(Err((target - replayed.bytes, replayed.seconds)));
        }
        tokio::time::sleep(CATCH_UP_INTERVAL).await;
    }
}

#[derive(FromQueryResult)]
struct Conflicts {
    feedback: bool,
    delay_ms: i64,
    cancelled: i64,
}

const CONFLICTS_SQL: &str = "
SELECT current_setting('hot_standby_feedback')::bool AS feedback,
       (SELECT setting::bigint FROM pg_settings WHERE name = 'max_standby_streaming_delay') AS delay_ms,
       conflicts AS cancelled
FROM pg_stat_database WHERE datname = current_database()";

fn judge_conflicts(rows: &[Conflicts], pools: &PoolSettings) -> Judgement {
    let Some(Conflicts { feedback, delay_ms, cancelled }) = rows.first() else {
        return Judgement::warn("cannot tell: no statistics of this database", "the server has just been made");
    };
    let found = format!(
        "hot_standby_feedback {}, max_standby_streaming_delay {}, {cancelled} statements cancelled so far",
        if *feedback { "on" } else { "off" },
        if *delay_ms < 0 { "unlimited".to_owned() } else { format!("{delay_ms} ms") },
    );
    let is_short = u64::try_from(*delay_ms).is_ok_and(|delay_ms| delay_ms < pools.report_timeout_ms);
    if *feedback || !is_short {
        return Judgement::ok(found);
    }
    let meaning = format!(
        "a report may take TRELLIS_REPORT_TIMEOUT_MS ({} ms), and vacuum on the primary cancels it before that",
        pools.report_timeout_ms
    );
    Judgement::warn(found, meaning)
        .remedy("ALTER SYSTEM SET hot_standby_feedback = on; -- on the replica")
        .remedy("SELECT pg_reload_conf();")
}
