//! The queries that are compared, and their runs.

use anyhow::Context;
use serde::Serialize;

use super::session::{Run, Session};

/// How often a query is run warm, after a run that warms it. The best counts: the others measure what else the machine
/// was doing.
const WARM_RUNS: usize = 5;

/// Queries on the tasks of one project.
pub struct Queries {
    /// Live tasks of one status: the columns that a list shows.
    pub list: String,
    /// The newest 20 of them.
    pub page: String,
    /// The first 20 open tasks by due date.
    pub due: String,
    /// How many rows the list has.
    pub rows: i64,
}

/// A query with some indexes.
#[derive(Clone, Debug, Serialize)]
pub struct Read {
    /// `list`, `page` or `due`.
    pub query: &'static str,
    /// The indexes that were there.
    pub index: String,
    /// Milliseconds of the best warm run.
    pub warm_ms: f64,
    /// Milliseconds of the one cold run of the list.
    pub cold_ms: Option<f64>,
    /// How many pages that run had to fetch.
    pub cold_reads: Option<i64>,
    /// Pages of 8 kB that a run looks at.
    pub buffers: i64,
    /// How the table was read.
    pub scan: String,
    /// Rows that an index-only scan looked up in the table all the same.
    pub heap_fetches: Option<i64>,
}

impl Queries {
    /// Picks a project and an open status with about 300 live tasks.
    pub async fn choose(session: &Session) -> anyhow::Result<Self> {
        let choice: String = session.value(CHOICE).await?;
        let mut parts = choice.split(' ');
        let (project, status) = parts.next().zip(parts.next()).context("there are no tasks")?;
        let rows = parts.next().unwrap_or_default().parse()?;
        let columns = "SELECT title, assignee_id, due_date FROM tasks WHERE deleted_at IS NULL";
        let list = format!("{columns} AND project_id = '{project}' AND status = '{status}'");
        let page = format!("{list} ORDER BY created_at DESC, id DESC LIMIT 20");
        let due =
            format!("{columns} AND project_id = '{project}' AND status <> 'completed' ORDER BY due_date LIMIT 20");
        Ok(Self { list, page, due, rows })
    }

    /// Runs each of them warm.
    pub async fn run(&self, session: &Session, index: &str, cold: Option<&Run>) -> anyhow::Result<Vec<Read>> {
        let mut reads = Vec::new();
        for (name, query) in [("list", &self.list), ("page", &self.page), ("due", &self.due)] {
            let cold = cold.filter(|_| name == "list");
            let best = best(session, query).await?;
            reads.push(Read {
                query: name,
                index: index.to_owned(),
                warm_ms: best.ms,
                cold_ms: cold.map(|run| run.ms),
                cold_reads: cold.map(|run| run.reads),
                buffers: best.buffers,
                scan: best.scan,
                heap_fetches: best.heap_fetches,
            });
        }
        Ok(reads)
    }
}

async fn best(session: &Session, query: &str) -> anyhow::Result<Run> {
    session.run(query).await?;
    let mut best = session.run(query).await?;
    for _ in 1..WARM_RUNS {
        let run = session.run(query).await?;
        if run.ms < best.ms {
            best = run;
        }
    }
    Ok(best)
}

const CHOICE: &str = "
SELECT concat_ws(' ', project_id, status, count(*)) FROM tasks WHERE deleted_at IS NULL AND status <> 'completed'
GROUP BY project_id, status ORDER BY abs(count(*) - 300), project_id, status LIMIT 1";
