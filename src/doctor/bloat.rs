//! Whether indexes are much larger than their entries: an estimate from statistics, since a measurement would need an
//! extension and read them whole.

use sea_orm::FromQueryResult;

use super::finding::{Area, Check, Finding, Judgement};
use super::report::{count, percent, size};
use super::server::Server;

const BLOATED: Check = Check { area: Area::Index, name: "bloated" };

/// The share of an index that its entries should fill at least. Random keys leave 71 % (measured with UUID v4), and a
/// page that has just been split is half full.
const FILLED_SHARE: f64 = 0.5;

/// Less waste than this is not worth a rebuild.
const WASTED_BYTES: f64 = 8.0 * 1024.0 * 1024.0;

#[derive(FromQueryResult)]
struct Index {
    name: String,
    bytes: i64,
    /// What a new build would take; none without statistics.
    expected_bytes: Option<f64>,
}

/// An entry takes a line pointer (4 bytes), a header (8), a null bitmap where there are nulls (8 with alignment), and its
/// columns at their average width, aligned to 8; a page of 8,192 bytes has 40 of its own and is filled to the fill
/// factor. Equal keys are stored once, so the estimate errs on the large side, which raises no false alarm.
const INDEXES: &str = "
SELECT c.relname::text AS name, pg_relation_size(c.oid) AS bytes,
       CASE WHEN w.known AND c.reltuples >= 0 THEN
         8192 + 8192 * c.reltuples * (4 + 8 * ceil((8 + CASE WHEN w.nullable THEN 8 ELSE 0 END + w.width) / 8))
           / ((8192 - 40) * f.fillfactor / 100.0) END::float8 AS expected_bytes
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree'
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
  SELECT coalesce(max(split_part(o, '=', 2)::int) FILTER (WHERE o LIKE 'fillfactor=%'), 90) AS fillfactor
  FROM unnest(c.reloptions) o) f
CROSS JOIN LATERAL (
  SELECT sum(s.avg_width * (1 - s.null_frac)) AS width, bool_or(s.null_frac > 0) AS nullable,
         count(*) = count(s.avg_width) AS known
  FROM pg_attribute a
  LEFT JOIN pg_attribute b ON b.attrelid = t.oid AND b.attnum = i.indkey[a.attnum - 1] AND b.attnum > 0
  LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND NOT s.inherited
    AND s.tablename = CASE WHEN b.attname IS NULL THEN c.relname ELSE t.relname END
    AND s.attname = coalesce(b.attname, a.attname)
  WHERE a.attrelid = c.oid AND a.attnum > 0) w
WHERE n.nspname = current_schema() AND i.indisvalid ORDER BY 1";

pub(super) async fn of_primary(primary: &Server) -> Finding {
    primary.check(BLOATED, INDEXES, judge).await
}

#[expect(clippy::cast_precision_loss, reason = "sizes are told with two digits")]
fn judge(indexes: &[Index]) -> Judgement {
    let filled = |index: &Index| {
        let expected = index.expected_bytes?;
        let bytes = index.bytes as f64;
        let bloated = expected < bytes * FILLED_SHARE && bytes - expected >= WASTED_BYTES;
        bloated.then_some(expected / bytes)
    };
    let bloated: Vec<(&Index, f64)> = indexes.iter().filter_map(|index| Some((index, filled(index)?))).collect();
    if bloated.is_empty() {
        return Judgement::ok(format!("none of {}, by estimate", count(indexes.len(), "index", "indexes")));
    }
    let told = |(index, filled): &(&Index, f64)| {
        format!("{} ({}) is some {} full", index.name, size(index.bytes), percent(*filled))
    };
    let found: Vec<String> = bloated.iter().map(told).collect();
    Judgement::warn(found.join(", "), "memory and disk hold empty pages, and scans read more of them than they need")
        .remedies(bloated.iter().map(|(index, _)| format!("REINDEX INDEX CONCURRENTLY {};", index.name)))
}
