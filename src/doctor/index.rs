//! Whether the indexes of the design are there and whole, and whether there are any that only cost.

use sea_orm::{DbErr, FromQueryResult};

use super::design::{Design, essence};
use super::finding::{Area, Check, Finding, Judgement};
use super::report::{count, size};
use super::server::Server;

const MISSING: Check = Check { area: Area::Index, name: "missing" };
const INVALID: Check = Check { area: Area::Index, name: "invalid" };
const DUPLICATE: Check = Check { area: Area::Index, name: "duplicate" };
const FOREIGN_KEYS: Check = Check { area: Area::Index, name: "foreign keys" };

/// What concerns the primary: the replicas have the same indexes.
pub(super) async fn of_primary(primary: &Server, design: &Design) -> Vec<Finding> {
    let indexes: Result<Vec<Index>, DbErr> = primary.ask(INDEXES).await;
    vec![
        primary.judge(MISSING, indexes.as_deref(), |indexes| judge_missing(indexes, design)),
        primary.judge(INVALID, indexes.as_deref(), |indexes| judge_invalid(primary, indexes, design)),
        primary.judge(DUPLICATE, indexes.as_deref(), |indexes| judge_duplicates(indexes, design)),
        primary.check(FOREIGN_KEYS, FOREIGN_KEYS_SQL, judge_foreign_keys).await,
    ]
}

#[derive(FromQueryResult)]
struct Index {
    name: String,
    definition: String,
    bytes: i64,
    usable: bool,
    /// Somebody is building it at this moment; none where somebody builds one, and the role may not see which.
    building: Option<bool>,
    /// Forbids what another one may not forbid: unique, or the index of a constraint.
    enforces: bool,
    /// Table, method and predicate: indexes that differ in it cannot stand in for each other.
    place: String,
    /// Key columns, each with operator class, collation and direction.
    keys: Vec<String>,
    /// Key columns and payload.
    columns: Vec<String>,
}

const INDEXES: &str = "
SELECT c.relname::text AS name,
       replace(pg_get_indexdef(c.oid), quote_ident(n.nspname) || '.', '') AS definition,
       pg_relation_size(c.oid) AS bytes,
       i.indisvalid AND i.indisready AND i.indislive AS usable,
       (SELECT CASE WHEN bool_or(p.index_relid = c.oid) THEN true WHEN bool_or(p.index_relid IS NULL) THEN NULL ELSE false END
        FROM pg_stat_progress_create_index p WHERE p.datname = current_database()) AS building,
       i.indisunique OR i.indisexclusion AS enforces,
       concat_ws(' ', i.indrelid::regclass, m.amname, pg_get_expr(i.indpred, i.indrelid)) AS place,
       ARRAY(SELECT concat_ws(' ', pg_get_indexdef(c.oid, k, true), i.indclass[k - 1], i.indcollation[k - 1],
                              i.indoption[k - 1]) FROM generate_series(1, i.indnkeyatts) k) AS keys,
       ARRAY(SELECT pg_get_indexdef(c.oid, k, true) FROM generate_series(1, i.indnatts) k) AS columns
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_am m ON m.oid = c.relam
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() ORDER BY 1";

fn judge_missing(indexes: &[Index], design: &Design) -> Judgement {
    let found = |name: &String| indexes.iter().find(|index| index.name == *name);
    let missing: Vec<_> = design.indexes.iter().filter(|(name, _)| found(name).is_none()).collect();
    let differing: Vec<_> = design
        .indexes
        .iter()
        .filter(|(name, designed)| found(name).is_some_and(|index| essence(&index.definition) != designed.essence))
        .collect();
    let all = design.indexes.len();
    if missing.is_empty() && differing.is_empty() {
        return Judgement::ok(format!("none: {} of the migrations are as designed", count(all, "index", "indexes")));
    }
    let names = |of: &[(&String, _)]| of.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let mut parts = Vec::new();
    if !missing.is_empty() {
        parts.push(format!("{} of {all} missing: {}", missing.len(), names(&missing)));
    }
    if !differing.is_empty() {
        parts.push(format!("{} of {all} not as designed: {}", differing.len(), names(&differing)));
    }
    let drops = differing.iter().map(|(name, _)| format!("DROP INDEX CONCURRENTLY {name};"));
    let builds = missing.iter().chain(&differing).map(|(_, designed)| designed.statement.clone());
    Judgement::fail(parts.join("; "), "the statements that they serve read and sort whole tables, or may break a rule")
        .remedies(drops.chain(builds))
}

fn judge_invalid(primary: &Server, indexes: &[Index], design: &Design) -> Judgement {
    let invalid: Vec<&Index> = indexes.iter().filter(|index| !index.usable && index.building != Some(true)).collect();
    let Some(first) = invalid.first() else {
        return Judgement::ok(format!("none of {}", count(indexes.len(), "index", "indexes")));
    };
    let names: Vec<&str> = invalid.iter().map(|index| index.name.as_str()).collect();
    if first.building.is_none() {
        let found = format!("cannot tell: {}; another role builds an index at this moment", names.join(", "));
        return primary.hidden(found);
    }
    let meaning = format!(
        "a build that failed left {}: no statement uses it, every write maintains it",
        if invalid.len() == 1 { first.name.as_str() } else { "them" }
    );
    let drops = invalid.iter().map(|index| format!("DROP INDEX CONCURRENTLY {};", index.name));
    let builds = invalid.iter().filter_map(|index| Some(design.indexes.get(&index.name)?.statement.clone()));
    Judgement::fail(names.join(", "), meaning).remedies(drops.chain(builds))
}

/// An index is superfluous beside one whose keys begin with its own and which holds all its columns.
fn judge_duplicates(indexes: &[Index], design: &Design) -> Judgement {
    let is_designed = |index: &Index| design.indexes.contains_key(&index.name);
    let covers = |other: &Index, one: &Index| {
        other.name != one.name
            && other.usable
            && other.place == one.place
            && other.keys.starts_with(&one.keys)
            && one.columns.iter().all(|column| other.columns.contains(column))
    };
    // Of two that are the same, the one that nobody designed goes, else the later name.
    let gives_way = |one: &Index, other: &Index| {
        !covers(one, other) || (is_designed(one), &other.name) < (is_designed(other), &one.name)
    };
    let pairs = indexes.iter().filter(|one| !one.enforces).filter_map(|one| {
        let other = indexes.iter().find(|other| covers(other, one) && (other.enforces || gives_way(one, other)))?;
        Some((one, other))
    });
    let pairs: Vec<(&Index, &Index)> = pairs.collect();
    if pairs.is_empty() {
        return Judgement::ok("none");
    }
    let found: Vec<String> =
        pairs.iter().map(|(one, other)| format!("{} ({}) repeats {}", one.name, size(one.bytes), other.name)).collect();
    Judgement::warn(found.join(", "), "every write maintains both, and every statement can do with one")
        .remedies(pairs.iter().map(|(one, _)| format!("DROP INDEX CONCURRENTLY {};", one.name)))
}

#[derive(FromQueryResult)]
struct ForeignKey {
    name: String,
    table_name: String,
    columns: String,
    indexed: bool,
    /// Whether an index holds every row, and not live ones alone.
    wholly: bool,
}

const FOREIGN_KEYS_SQL: &str = "
SELECT k.conname::text AS name, k.conrelid::regclass::text AS table_name,
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY p.place) FROM unnest(k.conkey) WITH ORDINALITY p (number, place)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = p.number) AS columns,
       i.number > 0 AS indexed, i.whole > 0 AS wholly
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
CROSS JOIN LATERAL (SELECT count(*) AS number, count(*) FILTER (WHERE i.indpred IS NULL) AS whole
  FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indisvalid
    AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey) i
WHERE k.contype = 'f' AND n.nspname = current_schema() ORDER BY 1";

fn judge_foreign_keys(keys: &[ForeignKey]) -> Judgement {
    let bare: Vec<&ForeignKey> = keys.iter().filter(|key| !key.indexed).collect();
    if bare.is_empty() {
        let all = count(keys.len(), "foreign key", "foreign keys");
        let partly = keys.iter().filter(|key| !key.wholly).count();
        return Judgement::ok(match partly {
            0 => format!("{all}, each with an index"),
            _ => format!("{all}, each with an index; {partly} not of all rows, so deleting is marking and not DELETE"),
        });
    }
    let names: Vec<&str> = bare.iter().map(|key| key.name.as_str()).collect();
    let build = |key: &&ForeignKey| format!("CREATE INDEX CONCURRENTLY ON {} ({});", key.table_name, key.columns);
    let meaning = "a join from the parent, and each deletion of one, reads the whole table";
    Judgement::warn(format!("without an index: {}", names.join(", ")), meaning).remedies(bare.iter().map(build))
}
