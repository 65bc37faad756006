//! A statement with the name under which it is counted, logged and planned.

use sea_orm::{DbBackend, Statement, StatementBuilder, Value};
use uuid::Uuid;

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

    /// The name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many keys of a batch it answers.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys
    }

    /// The text, with `$1`, `$2`, … for the values.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.statement.sql
    }

    /// The bound values, in order.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        self.statement.values.as_ref().map(|values| values.0.as_slice()).unwrap_or_default()
    }

    /// Says how many keys of a batch the statement answers.
    #[must_use]
    pub fn keys(self, keys: usize) -> Self {
        Self { keys, ..self }
    }
}

impl From<NamedStatement> for Statement {
    fn from(named: NamedStatement) -> Self {
        named.statement
    }
}

/// The values that a statement binds, while its text is being written.
pub struct Bound {
    values: Vec<Value>,
    viewer: Uuid,
}

impl Bound {
    /// Values for a statement of `viewer`; the first ones are `values`.
    #[must_use]
    pub fn new(viewer: Uuid, values: Vec<Value>) -> Self {
        Self { values, viewer }
    }

    /// Binds a value, and names it in SQL.
    pub fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// Binds the caller, and names it in SQL.
    pub fn bind_viewer(&mut self) -> String {
        self.bind(self.viewer)
    }

    /// Every value, in order.
    #[must_use]
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }
}
