//! Whether every index is read, and whether large tables are read without one: from the counters that each server keeps
//! of itself, since a report's index is read on the replicas alone.

use std::collections::BTreeMap;

use sea_orm::{DbErr, FromQueryResult};

use super::Options;
use super::finding::{Area, Check, Finding, Judgement};
use super::report::{count, duration, size};
use super::server::Server;

const UNUSED: Check = Check { area: Area::Index, name: "unused" };
const SEQUENTIAL: Check = Check { area: Area::Scan, name: "large tables" };

/// Below this size, reading a table from end to end is right: PostgreSQL's own `min_parallel_table_scan_size`.
pub(super) const LARGE_BYTES: i64 = 8 << 20;

/// Index scans that a table has had before it says anything that one of its indexes had none.
const ENOUGH_SCANS: i64 = 1_000;

/// Whole readings of a large table on one day that are no maintenance any more: a backup, and the builds of some
/// indexes, are fewer.
const READINGS_A_DAY: f64 = 10.0;

const SECONDS_A_DAY: f64 = 86_400.0;

#[derive(FromQueryResult)]
struct Index {
    name: String,
    bytes: i64,
    /// It enforces nothing, and no foreign key depends on it alone.
    optional: bool,
    scans: i64,
    /// Of its table, through any index.
    table_scans: i64,
    /// For how long this server has counted the scans of all indexes of the design, at least.
    seconds: f64,
}

/// Counters that were never reset are older than the server's last start, or as old as the newest index of the design.
const INDEXES: &str = "
SELECT s.indexrelname::text AS name, pg_relation_size(s.indexrelid) AS bytes,
       NOT i.indisunique AND NOT i.indisexclusion AND NOT EXISTS (
         SELECT FROM pg_constraint k
         WHERE k.conrelid = i.indrelid AND k.contype = 'f' AND k.conkey[1] = i.indkey[0] AND NOT EXISTS (
           SELECT FROM pg_index o WHERE o.indrelid = i.indrelid AND o.indexrelid <> i.indexrelid
             AND o.indkey[0] = i.indkey[0] AND o.indisvalid)) AS optional,
       s.idx_scan AS scans, (sum(s.idx_scan) OVER (PARTITION BY s.relid))::bigint AS table_scans,
       extract(epoch FROM now() - greatest(coalesce(d.stats_reset, pg_postmaster_start_time()), m.last))::float8 AS seconds
FROM pg_stat_user_indexes s
JOIN pg_index i ON i.indexrelid = s.indexrelid
JOIN pg_stat_database d ON d.datname = current_database(),
(SELECT to_timestamp(max(applied_at)) AS last FROM seaql_migrations) m
WHERE s.schemaname = current_schema() AND i.indisvalid ORDER BY 1";

/// Whether there are indexes that no server has read. `absent` replicas could not be asked.
pub(super) async fn unused(primary: &Server, replicas: &[Server], absent: usize, options: &Options) -> Finding {
    let ask = async || -> Result<Vec<Index>, DbErr> {
        let mut seen = Vec::new();
        for server in std::iter::once(primary).chain(replicas) {
            seen.extend(server.ask::<Index>(INDEXES).await?);
        }
        Ok(seen)
    };
    primary.judge(UNUSED, ask().await.as_deref(), |seen| judge_unused(seen, absent, options))
}

fn judge_unused(seen: &[Index], absent: usize, options: &Options) -> Judgement {
    if absent > 0 {
        let found = format!("cannot tell: {} could not be asked", count(absent, "replica", "replicas"));
        return Judgement::warn(found, "an index that the primary never reads may be what the reports live on");
    }
    let counted = seen.iter().map(|index| index.seconds).fold(f64::INFINITY, f64::min);
    let wanted = f64::from(options.unused_after_days) * SECONDS_A_DAY;
    if seen.is_empty() || counted < wanted {
        let counted = if seen.is_empty() { 0.0 } else { counted.max(0.0) };
        return Judgement::ok(format!("not judged: counted for {} of {}", duration(counted), duration(wanted)));
    }
    let mut sums: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for index in seen {
        let (scans, table_scans) = sums.entry(&index.name).or_default();
        *scans += index.scans;
        *table_scans += index.table_scans;
    }
    let is_unused = |index: &&Index| {
        let (scans, table_scans) = sums.get(index.name.as_str()).copied().unwrap_or_default();
        index.optional && index.bytes >= LARGE_BYTES && scans == 0 && table_scans >= ENOUGH_SCANS
    };
    // Each server has told of each index; they are of one size everywhere.
    let unused: BTreeMap<&str, &Index> =
        seen.iter().filter(is_unused).map(|index| (index.name.as_str(), index)).collect();
    if unused.is_empty() {
        return Judgement::ok(format!("none of {} in {}", count(sums.len(), "index", "indexes"), duration(counted)));
    }
    let names: Vec<String> = unused.values().map(|index| format!("{} ({})", index.name, size(index.bytes))).collect();
    let found = format!("{}: no server read them in {}", names.join(", "), duration(counted));
    Judgement::warn(found, "every write maintains them, and no statement has needed them")
        .remedy("where you know that nobody asks what they serve:")
        .remedies(unused.keys().map(|name| format!("DROP INDEX CONCURRENTLY {name};")))
}

#[derive(FromQueryResult)]
struct Table {
    name: String,
    bytes: i64,
    /// How often all rows were read that it ever had. Scans are not counted, since each parallel worker makes one.
    readings: f64,
    /// For how long this server has counted, at most.
    seconds: f64,
}

/// Counters that were never reset are no older than the first migration.
const TABLES: &str = "
SELECT c.oid::regclass::text AS name, pg_relation_size(c.oid) AS bytes,
       (s.seq_tup_read / greatest(c.reltuples::float8, s.n_live_tup + s.n_tup_del, 1))::float8 AS readings,
       extract(epoch FROM now() - coalesce(d.stats_reset, m.first))::float8 AS seconds
FROM pg_stat_user_tables s
JOIN pg_class c ON c.oid = s.relid
JOIN pg_stat_database d ON d.datname = current_database(),
(SELECT to_timestamp(min(applied_at)) AS first FROM seaql_migrations) m
WHERE s.schemaname = current_schema() ORDER BY 1";

/// Whether large tables are read from end to end, more often than maintenance does.
pub(super) async fn sequential_scans(server: &Server) -> Finding {
    server.check(SEQUENTIAL, TABLES, judge_scans).await
}

fn judge_scans(tables: &[Table]) -> Judgement {
    let large: Vec<&Table> = tables.iter().filter(|table| table.bytes >= LARGE_BYTES).collect();
    let per_day = |table: &Table| table.readings / (table.seconds / SECONDS_A_DAY).max(1.0);
    let often: Vec<&&Table> = large.iter().filter(|table| per_day(table) >= READINGS_A_DAY).collect();
    if often.is_empty() {
        return Judgement::ok(format!("none of {} above {} is read whole", large.len(), size(LARGE_BYTES)));
    }
    let told = |table: &&&Table| {
        let times = format!("{:.0} times in {}", table.readings, duration(table.seconds));
        format!("{} ({}) was read whole {times}", table.name, size(table.bytes))
    };
    let found: Vec<String> = often.iter().map(told).collect();
    let meaning = "a statement finds no index that serves it, and takes the longer the more rows there are";
    Judgement::warn(found.join(", "), meaning)
        .remedy(
            "look for missing indexes above, and for statements of others in pg_stat_activity or pg_stat_statements",
        )
        .remedies(often.iter().map(|table| {
            format!("then count anew: SELECT pg_stat_reset_single_table_counters('{}'::regclass);", table.name)
        }))
}
