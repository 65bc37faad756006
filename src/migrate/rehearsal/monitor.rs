//! Looks every few milliseconds at who waits for the migration, and at the locks that it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sea_orm::{DatabaseConnection, DbBackend, FromQueryResult, Statement};
use tokio::task::JoinSet;

use super::lock::Lock;
use crate::database::administration;

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(10);

/// What was seen at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// What.
    pub what: Sight,
}

/// Something that was seen.
#[derive(Clone, Debug)]
pub enum Sight {
    /// A statement of the load that waits for the migration, and for how long already.
    Waiting {
        /// The beginning of its text.
        text: String,
        /// Milliseconds.
        waited_ms: f64,
    },
    /// A lock that the migration has on a table, or waits for.
    Locking(Lock),
}

/// Looks until it is stopped or dropped.
pub struct Monitor {
    looks: JoinSet<Vec<Seen>>,
    stop: Arc<AtomicBool>,
}

#[derive(FromQueryResult)]
struct Row {
    name: String,
    lock: Option<String>,
    waited_ms: f64,
}

const LOOK: &str = "
SELECT a.query AS name, NULL AS lock,
       coalesce(extract(epoch FROM clock_timestamp() - l.waitstart), 0)::float8 * 1000 AS waited_ms
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE NOT l.granted AND a.datname = current_database() AND a.application_name LIKE 'trellis load %'
  AND $1 = ANY(pg_blocking_pids(l.pid))
UNION ALL
SELECT c.relname, l.mode, 0
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = $1 AND l.locktype = 'relation' AND c.oid::bigint = ANY($2)";

impl Monitor {
    /// Begins to look at a session, and at its locks on these tables.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn start(address: &str, pid: i32, tables: &[i64]) -> anyhow::Result<Self> {
        let connection = administration::connect(address).await?;
        let (stop, tables, mut looks) = (Arc::new(AtomicBool::new(false)), tables.to_vec(), JoinSet::new());
        let stopped = Arc::clone(&stop);
        looks.spawn(async move {
            let mut seen = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                seen.extend(look(&connection, pid, &tables).await);
                tokio::time::sleep(INTERVAL).await;
            }
            seen
        });
        Ok(Self { looks, stop })
    }

    /// Everything that was seen.
    pub async fn stop(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.looks.join_all().await.concat()
    }
}

async fn look(connection: &DatabaseConnection, pid: i32, tables: &[i64]) -> Vec<Seen> {
    let look = Statement::from_sql_and_values(DbBackend::Postgres, LOOK, [pid.into(), tables.to_vec().into()]);
    let rows = match Row::find_by_statement(look).all(connection).await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::debug!(%error, "not seen");
            Vec::new()
        }
    };
    let at = Instant::now();
    let sight = |Row { name, lock, waited_ms }: Row| match lock {
        None => Some(Sight::Waiting { text: name, waited_ms }),
        Some(mode) => Lock::of(&mode, name).map(Sight::Locking),
    };
    rows.into_iter().filter_map(sight).map(|what| Seen { at, what }).collect()
}
