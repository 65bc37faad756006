//! Transactions that stay open: nothing that was deleted since they began can be cleaned up, and migrations wait.

use sea_orm::FromQueryResult;

use super::Options;
use super::finding::{Area, Check, Finding, Judgement};
use super::report::{count, duration};
use super::server::Server;

const OPEN: Check = Check { area: Area::Transaction, name: "open" };
const PREPARED: Check = Check { area: Area::Transaction, name: "prepared" };

#[derive(FromQueryResult)]
struct Session {
    pid: i32,
    user: String,
    application: String,
    /// None where the role may not see it.
    state: Option<String>,
    /// Since its transaction began; none outside of one.
    seconds: Option<f64>,
    /// How many transactions have begun since its snapshot, which keeps what they delete.
    held: Option<i32>,
}

const OPEN_SQL: &str = "
SELECT pid, coalesce(usename::text, '') AS user, coalesce(nullif(application_name, ''), 'unnamed') AS application, state,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds, age(backend_xmin) AS held
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND coalesce(backend_type, 'client backend') = 'client backend'
ORDER BY xact_start";

/// Transactions of this database's sessions.
pub(super) async fn open(server: &Server, options: &Options) -> Finding {
    server.check(OPEN, OPEN_SQL, |sessions| judge_open(server, sessions, options)).await
}

fn judge_open(server: &Server, sessions: &[Session], options: &Options) -> Judgement {
    let limit = f64::from(options.long_transaction_seconds);
    let age = |session: &Session| session.seconds.unwrap_or_default();
    let long: Vec<&Session> =
        sessions.iter().filter(|session| session.seconds.is_some_and(|age| age >= limit)).collect();
    let hidden = sessions.iter().filter(|session| session.state.is_none()).count();
    if long.is_empty() {
        if hidden > 0 {
            return server.hidden(format!("cannot tell: {} of others", count(hidden, "session", "sessions")));
        }
        return Judgement::ok(format!(
            "none longer than {} in {}",
            duration(limit),
            count(sessions.len(), "session", "sessions")
        ));
    }
    let told = |session: &&Session| {
        let state = session.state.as_deref().unwrap_or_default();
        let held = session.held.map(|held| format!(", a snapshot {held} transactions old")).unwrap_or_default();
        let (pid, user, application) = (session.pid, &session.user, &session.application);
        format!("{pid} ({application}, {user}) {state} for {}{held}", duration(age(session)))
    };
    let found = long.iter().map(told).collect::<Vec<_>>().join("; ");
    let meaning = "vacuum leaves what was deleted since, index builds and migrations wait, and its locks stay";
    Judgement::warn(found, meaning)
        .remedies(long.iter().map(|session| format!("SELECT pg_terminate_backend({});", session.pid)))
}

#[derive(FromQueryResult)]
struct Prepared {
    name: String,
    owner: String,
    seconds: f64,
}

const PREPARED_SQL: &str = "
SELECT gid AS name, owner::text AS owner, extract(epoch FROM clock_timestamp() - prepared)::float8 AS seconds
FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared";

/// Transactions that were prepared for a two-phase commit, and outlive their session and the server. Trellis makes none.
pub(super) async fn prepared(primary: &Server, options: &Options) -> Finding {
    primary.check(PREPARED, PREPARED_SQL, |prepared| judge_prepared(prepared, options)).await
}

fn judge_prepared(prepared: &[Prepared], options: &Options) -> Judgement {
    let limit = f64::from(options.long_transaction_seconds);
    let old: Vec<&Prepared> = prepared.iter().filter(|transaction| transaction.seconds >= limit).collect();
    if old.is_empty() {
        return Judgement::ok(if prepared.is_empty() { "none" } else { "none that is old" });
    }
    let told = |old: &&Prepared| format!("{} of {}, {} old", old.name, old.owner, duration(old.seconds));
    let found: Vec<String> = old.iter().map(told).collect();
    Judgement::fail(found.join("; "), "it holds its locks and all that was deleted since, also after a restart")
        .remedy("ask whoever coordinates it; where nobody does:")
        .remedies(old.iter().map(|old| format!("ROLLBACK PREPARED '{}';", old.name.replace('\'', "''"))))
}
