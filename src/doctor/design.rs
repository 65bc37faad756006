//! What the migrations make, learnt from the SQL that those that are applied have sent: so the design is written in one
//! place, the migrations.

use std::collections::BTreeMap;

use migration::Migrator;
use sea_orm::DbErr;
use sea_orm_migration::MigratorTrait;

use crate::migrate::recording::{Direction, record};

/// The indexes and the storage parameters that the applied migrations made.
#[derive(Debug, Default)]
pub(super) struct Design {
    /// By name.
    pub indexes: BTreeMap<String, DesignedIndex>,
    /// Of each table: parameter and value, such as `fillfactor` and `90`.
    pub parameters: BTreeMap<String, BTreeMap<String, String>>,
}

/// An index as a migration makes it.
#[derive(Debug)]
pub(super) struct DesignedIndex {
    /// In one line, to be pasted.
    pub statement: String,
    /// As [`essence`] of it.
    pub essence: String,
}

impl Design {
    /// What the migrations of these names make.
    pub async fn of(applied: &[String]) -> Result<Self, DbErr> {
        let mut design = Self::default();
        for migration in Migrator::migrations() {
            if applied.iter().any(|name| name == migration.name()) {
                for statement in record(migration.as_ref(), Direction::Up).await? {
                    design.add(&statement);
                }
            }
        }
        Ok(design)
    }

    fn add(&mut self, statement: &str) {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let known = ["CONCURRENTLY", "IF", "NOT", "EXISTS", "ONLY"];
        let name_after = |count: usize| words.iter().skip(count).find(|word| !known.contains(word)).copied();
        match words.as_slice() {
            ["CREATE", "INDEX", ..] => self.add_index(name_after(2), &words),
            ["CREATE", "UNIQUE", "INDEX", ..] => self.add_index(name_after(3), &words),
            ["DROP", "INDEX", ..] => {
                name_after(2).and_then(|name| self.indexes.remove(name));
            }
            ["CREATE", "TABLE", ..] => self.add_parameters(name_after(2), &words, "WITH"),
            ["ALTER", "TABLE", ..] => self.add_parameters(name_after(2), &words, "SET"),
            _ => {}
        }
    }

    fn add_index(&mut self, name: Option<&str>, words: &[&str]) {
        let Some(name) = name else { return };
        let statement = words.join(" ");
        let essence = essence(&statement);
        self.indexes.insert(name.to_owned(), DesignedIndex { statement: format!("{statement};"), essence });
    }

    /// Storage parameters stand in brackets behind `keyword`, `fillfactor = 90` and so on.
    fn add_parameters(&mut self, table: Option<&str>, words: &[&str], keyword: &str) {
        let text = words.join(" ");
        let list = text.split_once(&format!(" {keyword} (")).and_then(|(_, rest)| rest.split_once(')'));
        let (Some(table), Some((list, _))) = (table, list) else { return };
        let pairs = list.split(',').filter_map(|pair| pair.split_once('='));
        let pairs = pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        self.parameters.entry(table.to_owned()).or_default().extend(pairs);
    }
}

/// An index definition without what PostgreSQL adds to it or leaves out of it when it writes it: two definitions with
/// the same essence are the same index.
pub(super) fn essence(definition: &str) -> String {
    let without = ["CONCURRENTLY", "IF NOT EXISTS", "USING btree", "::text", "(", ")", ";"];
    let text = without.iter().fold(definition.to_owned(), |text, word| text.replace(word, ""));
    text.split_whitespace().collect()
}
