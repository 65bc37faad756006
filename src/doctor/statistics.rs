//! What the planner and index-only scans rest on: statistics, the visibility map, and the autovacuum that keeps them.

use sea_orm::FromQueryResult;

use super::design::Design;
use super::finding::{Area, Check, Finding, Judgement};
use super::report::{count, percent};
use super::server::Server;
use super::usage::LARGE_BYTES;

const ANALYZED: Check = Check { area: Area::Statistics, name: "statistics" };
const VISIBILITY: Check = Check { area: Area::Statistics, name: "visibility map" };
const DEAD_ROWS: Check = Check { area: Area::Statistics, name: "dead rows" };
const AUTOVACUUM: Check = Check { area: Area::Statistics, name: "autovacuum" };
const PARAMETERS: Check = Check { area: Area::Statistics, name: "table parameters" };
const WRAPAROUND: Check = Check { area: Area::Statistics, name: "wraparound" };

/// Below this size any plan is good.
const SMALL_BYTES: i64 = 1 << 20;

/// Changed since the last ANALYZE, as a share of the rows. Autovacuum comes at 2 % here and at 10 % by default: at twice
/// that it does not keep up.
const CHANGED_SHARE: f64 = 0.2;

/// Pages that an index-only scan has to look up in the table, as a share. At 30 %, which is what 2 % of the rows updated
/// at random make, grouped reports and counts read 12 to 31 times the buffers (measured at 1,000,000 tasks).
const INVISIBLE_SHARE: f64 = 0.3;

/// Dead rows as a share of the live ones: PostgreSQL's default for autovacuum to come, 20 times ours.
const DEAD_SHARE: f64 = 0.2;

/// PostgreSQL's own warnings come late. It freezes rows from `autovacuum_freeze_max_age` on: twice as old shows that it
/// cannot.
const FREEZE_FACTOR: f64 = 2.0;

/// What concerns the primary: the replicas replay its map and its statistics, and vacuum nothing.
pub(super) async fn of_primary(primary: &Server, design: &Design) -> Vec<Finding> {
    let tables = primary.ask::<Table>(TABLES).await;
    let tables = tables.as_deref();
    vec![
        primary.judge(ANALYZED, tables, judge_analyzed),
        primary.judge(VISIBILITY, tables, judge_visibility),
        primary.judge(DEAD_ROWS, tables, judge_dead_rows),
        primary.check(AUTOVACUUM, AUTOVACUUM_SQL, judge_autovacuum).await,
        primary.judge(PARAMETERS, tables, |tables| judge_parameters(tables, design)),
        primary.check(WRAPAROUND, WRAPAROUND_SQL, judge_wraparound).await,
    ]
}

#[derive(FromQueryResult)]
struct Table {
    name: String,
    bytes: i64,
    /// By the last VACUUM or ANALYZE; below zero where there was none.
    rows: f64,
    dead: f64,
    changed: f64,
    /// At most this share of the pages has rows that an index-only scan has to look up.
    invisible: f64,
    /// Such as `fillfactor=90`.
    parameters: Vec<String>,
}

/// `relallvisible` is of the last VACUUM or ANALYZE: since then, each dead row took one page out of the map at most, and
/// inserted rows share theirs.
const TABLES: &str = "
SELECT c.oid::regclass::text AS name, pg_relation_size(c.oid) AS bytes, c.reltuples::float8 AS rows,
       coalesce(s.n_dead_tup, 0)::float8 AS dead, coalesce(s.n_mod_since_analyze, 0)::float8 AS changed,
       least(1, (p.pages - c.relallvisible + coalesce(s.n_dead_tup, 0)) / greatest(p.pages, 1))::float8 AS invisible,
       coalesce(c.reloptions, '{}') AS parameters
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT (pg_relation_size(c.oid) / 8192)::float8 AS pages) p
LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relkind = 'r' AND n.nspname = current_schema() ORDER BY 1";

/// Says what is wrong with some of the tables, and gives each the same command.
fn judge_tables(
    tables: &[Table],
    least_bytes: i64,
    problem: impl Fn(&Table) -> Option<String>,
    [meaning, command]: [&str; 2],
) -> Judgement {
    let large: Vec<&Table> = tables.iter().filter(|table| table.bytes >= least_bytes).collect();
    let bad: Vec<(&Table, String)> = large.iter().filter_map(|table| Some((*table, problem(table)?))).collect();
    if bad.is_empty() {
        let small = tables.len() - large.len();
        return Judgement::ok(format!(
            "good on {}, {small} too small to matter",
            count(large.len(), "table", "tables")
        ));
    }
    let found: Vec<String> = bad.iter().map(|(table, problem)| format!("{}: {problem}", table.name)).collect();
    Judgement::warn(found.join(", "), meaning)
        .remedies(bad.iter().map(|(table, _)| format!("{command} {};", table.name)))
}

fn judge_analyzed(tables: &[Table]) -> Judgement {
    let problem = |table: &Table| {
        if table.rows < 0.0 {
            return Some("never analyzed".to_owned());
        }
        let share = table.changed / table.rows.max(1.0);
        (share > CHANGED_SHARE)
            .then(|| format!("{:.0} changes since ANALYZE, {} of its rows", table.changed, percent(share)))
    };
    judge_tables(tables, SMALL_BYTES, problem, ["the planner guesses, and takes plans for another table", "ANALYZE"])
}

fn judge_visibility(tables: &[Table]) -> Judgement {
    let problem = |table: &Table| {
        (table.invisible > INVISIBLE_SHARE)
            .then(|| format!("up to {} of its pages are not in it", percent(table.invisible)))
    };
    let meaning = "index-only scans, and so counts and reports, look up rows in the table: 12 to 31 times the buffers";
    judge_tables(tables, LARGE_BYTES, problem, [meaning, "VACUUM (ANALYZE)"])
}

fn judge_dead_rows(tables: &[Table]) -> Judgement {
    let problem = |table: &Table| {
        let share = table.dead / table.rows.max(1.0);
        (share > DEAD_SHARE).then(|| format!("{:.0} dead rows, {} of the live ones", table.dead, percent(share)))
    };
    let meaning = "the table and its indexes grow with what nobody sees; see long transactions, which keep it";
    judge_tables(tables, SMALL_BYTES, problem, [meaning, "VACUUM (ANALYZE)"])
}

#[derive(FromQueryResult)]
struct Autovacuum {
    autovacuum: bool,
    track_counts: bool,
}

const AUTOVACUUM_SQL: &str = "
SELECT current_setting('autovacuum')::bool AS autovacuum, current_setting('track_counts')::bool AS track_counts";

fn judge_autovacuum(rows: &[Autovacuum]) -> Judgement {
    let off: Vec<&str> = rows
        .iter()
        .flat_map(|row| [(row.autovacuum, "autovacuum"), (row.track_counts, "track_counts")])
        .filter_map(|(on, name)| (!on).then_some(name))
        .collect();
    if off.is_empty() {
        return Judgement::ok("on");
    }
    let meaning = "nobody vacuums and analyzes: plans, index-only scans and the size of tables get worse and worse";
    Judgement::fail(format!("off: {}", off.join(", ")), meaning)
        .remedies(off.iter().map(|name| format!("ALTER SYSTEM SET {name} = on;")))
        .remedy("SELECT pg_reload_conf();")
}

/// Whether the tables have the parameters that the migrations gave them, and autovacuum may work on all of them.
fn judge_parameters(tables: &[Table], design: &Design) -> Judgement {
    let has = |table: &Table, name: &str, value: &str| {
        let is_it = |parameter: &String| parameter.split_once('=').is_some_and(|found| found == (name, value));
        table.parameters.iter().any(is_it)
    };
    let off = ["false", "off", "no", "0"];
    let is_off = |table: &Table| off.iter().any(|off| has(table, "autovacuum_enabled", off));
    let (mut found, mut remedies) = (Vec::new(), Vec::new());
    for table in tables.iter().filter(|table| is_off(table)) {
        found.push(format!("{}: autovacuum is off", table.name));
        remedies.push(format!("ALTER TABLE {} RESET (autovacuum_enabled);", table.name));
    }
    let is_fatal = !found.is_empty();
    for table in tables {
        for (name, value) in design.parameters.get(&table.name).into_iter().flatten() {
            if !has(table, name, value) {
                found.push(format!("{}: {name} is not {value}", table.name));
                remedies.push(format!("ALTER TABLE {} SET ({name} = {value});", table.name));
            }
        }
    }
    let meaning = "vacuum comes too late or never, and index-only scans live on the map that it keeps";
    match (is_fatal, found.is_empty()) {
        (true, _) => Judgement::fail(found.join(", "), meaning).remedies(remedies),
        (false, false) => Judgement::warn(found.join(", "), meaning).remedies(remedies),
        (false, true) => Judgement::ok(format!("as designed on {}", count(tables.len(), "table", "tables"))),
    }
}

#[derive(FromQueryResult)]
struct Oldest {
    database: String,
    /// In transactions.
    age: f64,
    /// From when on PostgreSQL freezes rows, and from when on it drops everything else for it.
    freeze_age: f64,
    failsafe_age: f64,
}

const WRAPAROUND_SQL: &str = "
SELECT datname::text AS database, greatest(age(datfrozenxid), mxid_age(datminmxid))::float8 AS age,
       current_setting('autovacuum_freeze_max_age')::float8 AS freeze_age,
       greatest(current_setting('vacuum_failsafe_age')::float8,
                1.05 * current_setting('autovacuum_freeze_max_age')::float8) AS failsafe_age
FROM pg_database ORDER BY 2 DESC LIMIT 1";

fn judge_wraparound(rows: &[Oldest]) -> Judgement {
    let Some(Oldest { database, age, freeze_age, failsafe_age }) = rows.first() else {
        return Judgement::ok("no database");
    };
    let found = format!("the oldest row is {age:.0} transactions old, in database {database}");
    let meaning = "rows are not frozen: before an age of 2 billion PostgreSQL refuses every write";
    let judgement = if age >= failsafe_age {
        Judgement::fail(found, meaning)
    } else if *age >= freeze_age * FREEZE_FACTOR {
        Judgement::warn(found, meaning)
    } else {
        return Judgement::ok(found);
    };
    judgement
        .remedy("end what holds it back: long and prepared transactions, and slots that nobody reads")
        .remedy(format!("then, in database {database}: VACUUM (FREEZE);"))
}
