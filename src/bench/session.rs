//! The one connection that measures, and what EXPLAIN says of a statement that was run.

use anyhow::Context;
use sea_orm::sqlx::{self, AssertSqlSafe, Row};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TryGetable};
use serde_json::Value;

use crate::database::administration;

/// A connection to the scratch database.
pub struct Session(DatabaseConnection);

/// One run of a statement, as the server measured it.
#[derive(Clone, Debug)]
pub struct Run {
    /// From its start to its end in the server, without planning.
    pub ms: f64,
    /// Pages of 8 kB that it looked at.
    pub buffers: i64,
    /// How many of them were not in the server's own cache.
    pub reads: i64,
    /// What it wrote to the log, without the checks of foreign keys.
    pub wal_bytes: i64,
    /// How the first table was read.
    pub scan: String,
    /// How many rows an index-only scan had to look up in the table all the same.
    pub heap_fetches: Option<i64>,
}

impl Session {
    /// Opens it. A statement may take as long as it takes.
    pub async fn open(address: &str) -> anyhow::Result<Self> {
        let session = Self(administration::connect(address).await?);
        session.execute("SET lock_timeout = 0; SET maintenance_work_mem = '256MB'; SET jit = off").await?;
        Ok(session)
    }

    pub async fn close(self) -> anyhow::Result<()> {
        Ok(self.0.close().await?)
    }

    /// Runs one or more statements.
    pub async fn execute(&self, sql: &str) -> anyhow::Result<()> {
        self.0.execute_unprepared(sql).await.with_context(|| sql.to_owned())?;
        Ok(())
    }

    /// The first column of every row.
    pub async fn values<T: TryGetable>(&self, sql: &str) -> anyhow::Result<Vec<T>> {
        let rows = self.0.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
        let rows = rows.with_context(|| sql.to_owned())?;
        Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?)
    }

    /// The first column of the first row.
    pub async fn value<T: TryGetable>(&self, sql: &str) -> anyhow::Result<T> {
        let values = self.values(sql).await?;
        values.into_iter().next().with_context(|| format!("no row: {sql}"))
    }

    /// Writes all changed pages to the files, so that what is measured next starts from the same state. Where the role
    /// may not, checkpoints come when they come.
    pub async fn checkpoint(&self) {
        if let Err(error) = self.execute("CHECKPOINT").await {
            tracing::debug!(%error, "no checkpoint");
        }
    }

    /// Plans a statement, so that what planning reads is in the caches.
    pub async fn plan(&self, statement: &str) -> anyhow::Result<()> {
        self.execute(&format!("EXPLAIN {statement}")).await
    }

    /// Runs a statement to its end and measures it.
    pub async fn run(&self, statement: &str) -> anyhow::Result<Run> {
        let explain = format!("EXPLAIN (ANALYZE, BUFFERS, WAL, TIMING OFF, FORMAT JSON) {statement}");
        let explain = sqlx::raw_sql(AssertSqlSafe(explain));
        let row =
            explain.fetch_one(self.0.get_postgres_connection_pool()).await.with_context(|| statement.to_owned())?;
        // It comes as JSON, which is its own text.
        let text: String = row.try_get_unchecked(0)?;
        let explained: Value = serde_json::from_str(&text)?;
        Run::of(&explained[0]).with_context(|| format!("EXPLAIN says something new: {text}"))
    }
}

impl Run {
    fn of(explained: &Value) -> Option<Self> {
        let plan = &explained["Plan"];
        let number = |name: &str| plan[name].as_i64();
        let (hits, reads) = (number("Shared Hit Blocks")?, number("Shared Read Blocks")?);
        let table = first_table(plan)?;
        let parallel = if table["Parallel Aware"] == true { "Parallel " } else { "" };
        Some(Self {
            ms: explained["Execution Time"].as_f64()?,
            buffers: hits + reads,
            reads,
            wal_bytes: number("WAL Bytes")?,
            scan: format!("{parallel}{}", table["Node Type"].as_str()?),
            heap_fetches: table["Heap Fetches"].as_i64(),
        })
    }
}

/// The node of a plan that reads a table, from above.
fn first_table(plan: &Value) -> Option<&Value> {
    let below = || plan["Plans"].as_array().into_iter().flatten().find_map(first_table);
    plan.get("Relation Name").map_or_else(below, |_| Some(plan))
}
