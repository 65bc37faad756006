//! Settings that decide between safe and lost, fast and slow. What the server's own sessions set for themselves (jit,
//! timeouts, read-only) is not asked.

use std::collections::BTreeMap;

use sea_orm::FromQueryResult;

use super::finding::{Area, Check, Finding, Judgement};
use super::report::size;
use super::server::Server;
use crate::database::Target;

const FSYNC: Check = Check { area: Area::Setting, name: "fsync" };
const FULL_PAGE_WRITES: Check = Check { area: Area::Setting, name: "full_page_writes" };
const SYNCHRONOUS_COMMIT: Check = Check { area: Area::Setting, name: "synchronous_commit" };
const SHARED_BUFFERS: Check = Check { area: Area::Setting, name: "shared_buffers" };
const EFFECTIVE_CACHE_SIZE: Check = Check { area: Area::Setting, name: "effective_cache_size" };
const RANDOM_PAGE_COST: Check = Check { area: Area::Setting, name: "random_page_cost" };
const STATEMENT_TIMEOUT: Check = Check { area: Area::Setting, name: "statement_timeout" };
const TRACK_IO_TIMING: Check = Check { area: Area::Setting, name: "track_io_timing" };
const CHECKPOINTS: Check = Check { area: Area::Setting, name: "checkpoints" };
const ENCODING: Check = Check { area: Area::Setting, name: "encoding" };
const COLLATION: Check = Check { area: Area::Setting, name: "collation" };

/// PostgreSQL's default of `shared_buffers`, made to start on any machine.
const DEFAULT_SHARED_BUFFERS: i64 = 128 << 20;

/// PostgreSQL's default of `random_page_cost`, for disks that turn; 1.1 is what solid ones are given.
const TURNING_DISK_COST: f64 = 4.0;

/// Checkpoints that were forced by the amount of log, before they say anything.
const ENOUGH_CHECKPOINTS: i64 = 10;

/// A page of PostgreSQL's, the unit of its memory settings.
const PAGE_BYTES: i64 = 8_192;

/// Every check of a server's settings.
pub(super) async fn of(server: &Server) -> Vec<Finding> {
    let settings = server.ask::<Setting>(SETTINGS).await.map(|rows| Settings::of(&rows));
    let judge = |check, judge: fn(&Settings) -> Judgement| server.judge(check, settings.as_ref(), judge);
    let mut findings = vec![
        judge(FSYNC, |settings| {
            safe(settings, "fsync", "a crash of the machine leaves a database that cannot be read")
        }),
        judge(FULL_PAGE_WRITES, |settings| {
            safe(settings, "full_page_writes", "a crash of the machine leaves pages that are half old, half new")
        }),
        judge(SHARED_BUFFERS, judge_shared_buffers),
        judge(EFFECTIVE_CACHE_SIZE, judge_cache_size),
        judge(RANDOM_PAGE_COST, judge_page_cost),
        judge(TRACK_IO_TIMING, |settings| match settings.text("track_io_timing") {
            "on" => Judgement::ok("on"),
            _ => Judgement::ok("off: plans and statistics do not show time spent on reading"),
        }),
    ];
    if server.target == Target::Primary {
        findings.extend([
            judge(SYNCHRONOUS_COMMIT, |settings| {
                safe(
                    settings,
                    "synchronous_commit",
                    "writes that were acknowledged are lost in a crash; no proof of one can be given",
                )
            }),
            judge(STATEMENT_TIMEOUT, judge_statement_timeout),
            server.check(CHECKPOINTS, checkpoints_sql(server), judge_checkpoints).await,
        ]);
        findings.extend(of_text(server).await);
    }
    findings
}

#[derive(FromQueryResult)]
struct Setting {
    name: String,
    /// As a new session of this role in this database gets it.
    value: String,
}

const SETTINGS: &str = "
SELECT name, coalesce(reset_val, '') AS value FROM pg_settings
UNION ALL SELECT 'database size', pg_database_size(current_database())::text";

struct Settings(BTreeMap<String, String>);

impl Settings {
    fn of(rows: &[Setting]) -> Self {
        Self(rows.iter().map(|row| (row.name.clone(), row.value.clone())).collect())
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }
}

/// A setting that nobody turns off who wants to keep the data.
fn safe(settings: &Settings, name: &str, meaning: &str) -> Judgement {
    match settings.text(name) {
        "off" => Judgement::fail("off", meaning)
            .remedy(format!(
                "ALTER SYSTEM SET {name} = on; -- and look for it in the role's and the database's settings"
            ))
            .remedy("SELECT pg_reload_conf();"),
        value => Judgement::ok(value),
    }
}

fn judge_shared_buffers(settings: &Settings) -> Judgement {
    let (bytes, database) = (settings.number("shared_buffers") * PAGE_BYTES, settings.number("database size"));
    let found = format!("{}, the database has {}", size(bytes), size(database));
    if bytes > DEFAULT_SHARED_BUFFERS || database <= bytes {
        return Judgement::ok(found);
    }
    Judgement::warn(found, "PostgreSQL's small default: pages are copied in and out that could stay")
        .remedy("ALTER SYSTEM SET shared_buffers = '…'; -- a quarter of the memory is usual; then restart")
}

fn judge_cache_size(settings: &Settings) -> Judgement {
    let (cache, buffers) = (settings.number("effective_cache_size"), settings.number("shared_buffers"));
    let found = size(cache * PAGE_BYTES);
    if cache >= buffers {
        return Judgement::ok(found);
    }
    let found = format!("{found}, less than shared_buffers ({})", size(buffers * PAGE_BYTES));
    Judgement::warn(found, "the planner takes pages for far away that are in memory, and avoids indexes")
        .remedy("ALTER SYSTEM SET effective_cache_size = '…'; -- what PostgreSQL and the system can cache together")
        .remedy("SELECT pg_reload_conf();")
}

fn judge_page_cost(settings: &Settings) -> Judgement {
    let value = settings.text("random_page_cost");
    if value.parse::<f64>().is_ok_and(|cost| cost < TURNING_DISK_COST) {
        return Judgement::ok(value);
    }
    Judgement::warn(value, "right for disks that turn; on others the planner avoids indexes that would be quicker")
        .remedy("ALTER SYSTEM SET random_page_cost = 1.1;")
        .remedy("SELECT pg_reload_conf();")
}

fn judge_statement_timeout(settings: &Settings) -> Judgement {
    match settings.number("statement_timeout") {
        0 => Judgement::ok("none for this role; the server sets its own"),
        milliseconds => Judgement::warn(
            format!("{milliseconds} ms for this role"),
            "the server sets its own; migrations and seeds do not, and their index builds are cancelled by it",
        )
        .remedy("ALTER ROLE … RESET statement_timeout; or ALTER DATABASE … RESET statement_timeout; where it was set"),
    }
}

#[derive(FromQueryResult)]
struct Checkpoints {
    timed: i64,
    requested: i64,
    largest_mb: i64,
}

/// From PostgreSQL 17 on, checkpoints have a view of their own.
fn checkpoints_sql(server: &Server) -> &'static str {
    if server.identity.version_number >= 170_000 {
        "SELECT num_timed AS timed, num_requested AS requested, setting::bigint AS largest_mb
         FROM pg_stat_checkpointer, pg_settings WHERE name = 'max_wal_size'"
    } else {
        "SELECT checkpoints_timed AS timed, checkpoints_req AS requested, setting::bigint AS largest_mb
         FROM pg_stat_bgwriter, pg_settings WHERE name = 'max_wal_size'"
    }
}

fn judge_checkpoints(rows: &[Checkpoints]) -> Judgement {
    let Some(Checkpoints { timed, requested, largest_mb }) = rows.first() else {
        return Judgement::ok("none");
    };
    let found = format!("{requested} forced, {timed} by time; max_wal_size is {}", size(largest_mb << 20));
    if *requested < ENOUGH_CHECKPOINTS || requested <= timed {
        return Judgement::ok(found);
    }
    Judgement::warn(found, "after each checkpoint pages are logged whole: more checkpoints, more log, slower writes")
        .remedy(format!("ALTER SYSTEM SET max_wal_size = '{}MB';", largest_mb * 4))
        .remedy("SELECT pg_reload_conf();")
}

#[derive(FromQueryResult)]
struct Text {
    encoding: String,
    database: String,
    recorded: Option<String>,
    actual: Option<String>,
}

const TEXT: &str = "
SELECT pg_encoding_to_char(encoding)::text AS encoding, quote_ident(datname) AS database, datcollversion AS recorded,
       pg_database_collation_actual_version(oid) AS actual
FROM pg_database WHERE datname = current_database()";

async fn of_text(server: &Server) -> [Finding; 2] {
    let rows = server.ask::<Text>(TEXT).await;
    [server.judge(ENCODING, rows.as_deref(), judge_encoding), server.judge(COLLATION, rows.as_deref(), judge_collation)]
}

fn judge_encoding(rows: &[Text]) -> Judgement {
    match rows.first() {
        Some(Text { encoding, .. }) if encoding == "UTF8" => Judgement::ok("UTF8"),
        Some(Text { encoding, database, .. }) => {
            Judgement::fail(encoding, "not every text that clients send can be stored; their writes fail")
                .remedy(format!("dump {database} and restore it into a database made with ENCODING 'UTF8'"))
        }
        None => Judgement::ok("no database"),
    }
}

fn judge_collation(rows: &[Text]) -> Judgement {
    match rows.first() {
        Some(Text { recorded: Some(recorded), actual, database, .. }) if actual.as_ref() != Some(recorded) => {
            let actual = actual.as_deref().unwrap_or("unknown");
            let found = format!("made with version {recorded}, now {actual}");
            Judgement::fail(
                found,
                "texts may sort otherwise than their indexes: rows are not found, or are there twice",
            )
            .remedy(format!("REINDEX DATABASE CONCURRENTLY {database};"))
            .remedy(format!("ALTER DATABASE {database} REFRESH COLLATION VERSION;"))
        }
        Some(Text { recorded: Some(recorded), .. }) => Judgement::ok(format!("version {recorded}, as made")),
        _ => Judgement::ok("of no version: it never changes"),
    }
}
