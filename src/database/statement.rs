//! A statement with the name under which it is counted, logged and planned.

use sea_orm::{DbBackend, Statement, StatementBuilder, Value};

/// SQL text, its bound values, a name, and how many keys it answers.
#[derive(Clone, Debug)]
pub struct NamedStatement {
    pub(super) name: &'static str,
    pub(super) statement: Statement,
    pub(super) keys: usize,
}

impl NamedStatement {
    /// A statement from SQL text with `$1`, `$2`, … for `values`. The text must not depend on how many keys there are,
    /// so that it stays one prepared statement: bind arrays.
    pub fn new(name: &'static str, sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Self {
        Self { name, statement: Statement::from_sql_and_values(DbBackend::Postgres, sql, values), keys: 1 }
    }

    /// A statement from a `SeaORM` query.
    pub fn build(name: &'static str, query: &impl StatementBuilder) -> Self {
        Self { name, statement: query.build(&DbBackend::Postgres), keys: 1 }
    }

    /// Says how many keys of a batch the statement answers.
    #[must_use]
    pub fn keys(self, keys: usize) -> Self {
        Self { keys, ..self }
    }
}
