//! Whether the servers answer, are of a version that was tested, are what they are taken for, have room for us and keep
//! our sessions, and have the schema.

use sea_orm::{DbErr, RuntimeErr, sqlx};

use super::finding::{Area, Check, Finding, Judgement};
use super::report::count;
use super::server::{Identity, Server};
use crate::database::pools::{Arithmetic, Verdict as PoolVerdict};
use crate::database::{Inspection, StartError, Target};
use crate::migrate::Standing;

pub(super) const ANSWERS: Check = Check { area: Area::Connection, name: "answers" };
const ROLE: Check = Check { area: Area::Connection, name: "role" };
const POOLER: Check = Check { area: Area::Connection, name: "pooler" };
const POOLS: Check = Check { area: Area::Connection, name: "pools" };
const MIGRATIONS: Check = Check { area: Area::Connection, name: "migrations" };

/// The major versions that the test suite has run on.
const TESTED: std::ops::RangeInclusive<i32> = 15..=18;

pub(super) fn answers(server: &Server) -> Finding {
    let Identity { version_number, version, role, database, .. } = &server.identity;
    let major = version_number / 10_000;
    let found = format!("PostgreSQL {version}, database {database}, role {role}");
    let judgement = if major < *TESTED.start() {
        Judgement::fail(found, "Trellis needs PostgreSQL 15: older ones lack what it uses")
            .remedy("upgrade with pg_upgrade")
    } else if major > *TESTED.end() {
        Judgement::warn(found, "Trellis was tested on PostgreSQL 15 to 18")
            .remedy("run the test suite on this version before you rely on it")
    } else {
        Judgement::ok(found)
    };
    judgement.of(&server.name, ANSWERS)
}

pub(super) fn does_not_answer(name: &str, target: Target, error: &DbErr) -> Finding {
    let (meaning, setting) = match target {
        Target::Primary => ("no request can be answered from it, and nothing can be written", "DATABASE_URL"),
        Target::Replica => ("its reports go to another server", "REPLICA_URLS"),
    };
    // The pool tries again where nothing listens, and then tells of itself alone.
    let found = match error {
        DbErr::Conn(RuntimeErr::SqlxError(error)) if matches!(**error, sqlx::Error::PoolTimedOut) => {
            "does not answer: no connection within 5 s".to_owned()
        }
        error => format!("does not answer: {error}"),
    };
    Judgement::fail(found, meaning)
        .remedy(format!("see whether the server runs, look into its log, and check {setting}"))
        .of(name, ANSWERS)
}

/// Whether it is a primary or a replica, as configured; a replica is compared with the primary, where that answers.
pub(super) fn role(server: &Server, primary: Option<&Server>) -> Finding {
    let own = &server.identity;
    let judgement = match (server.target, primary) {
        (Target::Primary, _) if own.in_recovery => {
            Judgement::fail("is in recovery: it is a replica", "every write is refused").remedy(
                "point DATABASE_URL at the primary; SELECT pg_promote(); only where the primary is gone for good",
            )
        }
        (Target::Replica, Some(primary)) if primary.identity.system_identifier != own.system_identifier => {
            Judgement::fail("belongs to another cluster than the primary", "its reports count other data")
                .remedy("point REPLICA_URLS at a streaming copy of the primary")
        }
        (Target::Replica, _) if !own.in_recovery => {
            let meaning = "it is the primary itself, which then serves the reports too, or a replica that was promoted and \
                           no longer follows";
            Judgement::fail("is not in recovery: it is a primary", meaning)
                .remedy("point REPLICA_URLS at a streaming copy, or make this one anew with pg_basebackup")
        }
        (Target::Replica, None) => Judgement::ok("is in recovery; not compared with the primary"),
        (Target::Replica, Some(_)) => Judgement::ok("a replica of the primary"),
        (Target::Primary, _) => Judgement::ok("takes writes"),
    };
    judgement.of(&server.name, ROLE)
}

/// Whether sessions stay sessions, and whether the server has room for the pools of all instances: what a start asks.
pub(super) async fn pools(server: &Server, inspection: &Inspection) -> [Finding; 2] {
    let (pooler, pools) = match inspection.run().await {
        Ok(arithmetic) => (Judgement::ok("none, or one that keeps sessions"), judge_pools(&arithmetic)),
        Err(StartError::Refused(_)) => {
            let found = "swaps server connections between transactions; the start refuses it";
            let unasked = Judgement::warn("cannot tell behind such a pooler", "the question got no answer");
            (Judgement::fail(found, Inspection::SWAPPING).remedy(Inspection::SESSION_MODE), unasked)
        }
        Err(StartError::Unreachable(error)) => {
            let unknown = || Judgement::warn(format!("cannot tell: {error}"), "the question got no answer");
            (unknown(), unknown())
        }
    };
    [pooler.of(&server.name, POOLER), pools.of(&server.name, POOLS)]
}

fn judge_pools(arithmetic: &Arithmetic) -> Judgement {
    let verdict = arithmetic.verdict();
    match verdict {
        PoolVerdict::Fits if arithmetic.load.assumes_cores => {
            let meaning =
                "these are the cores of this machine: the host may work on more statements at once, or on fewer";
            Judgement::warn(arithmetic.sum(), meaning)
                .remedy("set TRELLIS_DATABASE_CORES and TRELLIS_DATABASE_DISKS to what the database host has")
        }
        PoolVerdict::Fits => Judgement::ok(arithmetic.sum()),
        PoolVerdict::OverBudget => Judgement::warn(arithmetic.sum(), verdict.meaning()).remedy(verdict.remedy()),
        PoolVerdict::NoRoom => Judgement::fail(arithmetic.sum(), verdict.meaning()).remedy(verdict.remedy()),
    }
}

/// Whether the schema is the newest; and the names of the migrations that are applied.
pub(super) async fn migrations(primary: &Server) -> (Finding, Vec<String>) {
    let (judgement, applied) = match Standing::of(&primary.connection).await {
        Ok(standing) => (judge_migrations(&standing), standing.applied),
        Err(error) => {
            let meaning = "the role may not read seaql_migrations, or the server went away";
            (Judgement::fail(format!("cannot be read: {error:#}"), meaning), Vec::new())
        }
    };
    (judgement.of(&primary.name, MIGRATIONS), applied)
}

fn judge_migrations(standing: &Standing) -> Judgement {
    let (applied, pending, unknown) = (standing.applied.len(), standing.pending.len(), standing.unknown.len());
    if pending > 0 {
        let found = format!("{applied} applied, {pending} pending");
        let meaning = format!("the server expects what {} would make", count(pending, "migration", "migrations"));
        return Judgement::fail(found, meaning).remedy("trellis migrate up");
    }
    if unknown > 0 {
        let found = format!("{applied} applied, and {unknown} of another version");
        let meaning =
            "fine while a newer version is being rolled out; what is said of indexes is this version's design";
        return Judgement::warn(found, meaning).remedy("run the doctor of the version that applied them");
    }
    Judgement::ok(format!("{applied} applied, none pending"))
}
