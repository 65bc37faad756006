//! What a plan does not say of the tables and indexes in it.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

/// The tables and indexes of the database.
#[derive(Debug, Default)]
pub struct Catalog {
    tables: HashMap<String, Table>,
    indexes: HashMap<String, Index>,
}

/// A table.
#[derive(Debug)]
pub struct Table {
    /// Its columns.
    pub columns: Vec<String>,
    /// Whether the planner's picture of it is old: never analyzed, or more than a tenth of its rows changed since.
    pub is_stale: bool,
}

/// An index.
#[derive(Debug)]
pub struct Index {
    /// Its table.
    pub table: String,
    /// What it is ordered by: columns, or expressions in SQL.
    pub keys: Vec<String>,
    /// The conditions, in SQL, that all of its rows fulfil; none, where it has every row.
    pub predicate: Vec<String>,
}

const TABLES: &str = "\
    SELECT c.relname::text, \
           (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a \
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), \
           c.reltuples < 0 OR coalesce(s.n_mod_since_analyze, 0) > c.reltuples / 10 \
    FROM pg_class c LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid \
    WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid) AND c.relnamespace <> 'pg_catalog'::regnamespace";

const INDEXES: &str = "\
    SELECT c.relname::text, t.relname::text, \
           (SELECT array_agg(pg_get_indexdef(i.indexrelid, n, true) ORDER BY n) \
            FROM generate_series(1, i.indnkeyatts::int) n), \
           coalesce(pg_get_expr(i.indpred, i.indrelid), '') \
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid \
    WHERE pg_table_is_visible(c.oid) AND c.relnamespace <> 'pg_catalog'::regnamespace";

impl Catalog {
    /// Reads it from the primary: a replica does not know what changed since the last ANALYZE.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn read(primary: &impl ConnectionTrait) -> Result<Self, DbErr> {
        let rows = |sql| primary.query_all_raw(Statement::from_string(DbBackend::Postgres, sql));
        let mut catalog = Self::default();
        for row in rows(TABLES).await? {
            let table = Table { columns: row.try_get_by_index(1)?, is_stale: row.try_get_by_index(2)? };
            catalog.tables.insert(row.try_get_by_index(0)?, table);
        }
        for row in rows(INDEXES).await? {
            let predicate: String = row.try_get_by_index(3)?;
            let parts = predicate.split(" AND ").map(|part| part.trim_matches(['(', ')']).to_owned());
            let index = Index {
                table: row.try_get_by_index(1)?,
                keys: row.try_get_by_index(2)?,
                predicate: parts.filter(|part| !part.is_empty()).collect(),
            };
            catalog.indexes.insert(row.try_get_by_index(0)?, index);
        }
        Ok(catalog)
    }

    /// A table by its name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    /// The name of an index of a table that begins with the columns of `equal`, in whatever order, goes on with those of
    /// `order`, and has every row that fulfils a condition, where there is one.
    #[must_use]
    pub fn index_on(&self, table: &str, equal: &[&str], order: &[&str], condition: &str) -> Option<&str> {
        let serves = |index: &Index| {
            let Some((first, rest)) = index.keys.split_at_checked(equal.len()) else { return false };
            index.table == table
                && equal.iter().all(|column| first.iter().any(|key| key == column))
                && rest.len() >= order.len()
                && rest.iter().zip(order).all(|(key, column)| key == column)
                && index.predicate.iter().all(|part| condition.contains(part))
        };
        let names = self.indexes.iter().filter(|(_, index)| serves(index)).map(|(name, _)| name.as_str());
        names.min()
    }

    /// An index by its name.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<&Index> {
        self.indexes.get(name)
    }
}
