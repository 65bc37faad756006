//! Copies a data set into a database, on several connections. What is there already is left as it is.
//!
//! A chunk is one transaction, under an advisory lock of its own, and it is there when its first row is. So a run can end
//! at any point and be repeated, and several runs of the same data set share the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::HumanCount;
use sea_orm::sqlx::{self, PgConnection, Postgres, Transaction};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::data_set::DataSet;
use super::frame::Frame;
use super::history;
use crate::database::administration;
use crate::progress::Progress;

/// What a run did.
#[derive(Debug)]
pub struct Filled {
    /// How many tasks it wrote; none where all were there.
    pub tasks: u64,
    /// How many comments it wrote.
    pub comments: u64,
    /// How long the copying took.
    pub copying: Duration,
    /// How long the vacuum took that followed.
    pub vacuuming: Duration,
    /// How large the two large tables are now, with all that is in them.
    pub tables: [Table; 2],
}

/// The size of a table.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The rows, with long values and the maps.
    pub heap_bytes: u64,
    /// All its indexes.
    pub index_bytes: u64,
}

/// What all connections share.
struct Work {
    data: DataSet,
    frame: Frame,
    /// The chunks that were not there when the run began.
    missing: Vec<u64>,
    /// How many of them have been taken up.
    taken: AtomicUsize,
    tasks: AtomicU64,
    comments: AtomicU64,
    progress: Progress,
}

/// Copies what is missing of a data set, then vacuums and analyzes the tables, so that index-only scans read no table
/// and estimates are right.
///
/// # Errors
/// The database cannot be reached, has no schema yet, or goes away. Whole chunks stay.
pub async fn fill(address: &str, data: &DataSet, connections: u16) -> anyhow::Result<Filled> {
    let began = Instant::now();
    let connection = connect(address).await?;
    let frame = fill_frame(&connection, data).await?;
    let missing = missing(&connection, data).await?;
    let before = data.tasks - missing.iter().map(|chunk| tasks_in(data, *chunk)).sum::<u64>();
    let progress = Progress::new("tasks", data.tasks, before);
    let (taken, tasks, comments) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let work = Arc::new(Work { data: data.clone(), frame, missing, taken, tasks, comments, progress });

    let mut workers = JoinSet::new();
    for _ in 0..usize::from(connections).min(work.missing.len()) {
        let connection = connect(address).await?;
        // A run that is interrupted in a commit takes back what is committed by then, and would be warned of it.
        connection.execute_unprepared("SET client_min_messages = error").await?;
        workers.spawn(copy_chunks(connection, Arc::clone(&work)));
    }
    while let Some(ended) = workers.join_next().await {
        ended?.with_context(|| {
            let (done, total) = (HumanCount(work.progress.position()), HumanCount(data.tasks));
            format!("stopped after {done} of {total} tasks, which stay; the same command goes on from there")
        })?;
    }
    let copying = began.elapsed();
    let began = Instant::now();
    vacuum(&connection).await?;
    let vacuuming = began.elapsed();
    let tables = [size(&connection, "tasks").await?, size(&connection, "comments").await?];
    connection.close().await?;
    let [tasks, comments] = [&work.tasks, &work.comments].map(|count| count.load(Ordering::Relaxed));
    Ok(Filled { tasks, comments, copying, vacuuming, tables })
}

/// A connection that waits for locks as long as it takes: the lock of a chunk is held by another run of the same data
/// set, until it has done the work.
async fn connect(address: &str) -> anyhow::Result<DatabaseConnection> {
    let connection = administration::connect(address).await.context("the database cannot be reached")?;
    connection.execute_unprepared("SET lock_timeout = 0").await?;
    Ok(connection)
}

/// Begins a transaction that is alone in filling a part of the data set.
async fn begin(
    connection: &DatabaseConnection,
    data: &DataSet,
    part: i32,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut transaction = connection.get_postgres_connection_pool().begin().await?;
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1, $2)").bind(data.lock_key()).bind(part);
    lock.execute(&mut *transaction).await?;
    Ok(transaction)
}

/// Copies people, workspaces, memberships and projects where they are not there yet, all in one transaction.
async fn fill_frame(connection: &DatabaseConnection, data: &DataSet) -> anyhow::Result<Frame> {
    let (frame, rows) = Frame::new(data);
    let mut transaction = begin(connection, data, 0).await?;
    if !exists(&mut transaction, FIND_USER, frame.owner_id).await.context("run `trellis migrate up` first")? {
        for rows in rows {
            rows.copy(&mut transaction).await?;
        }
    }
    transaction.commit().await?;
    Ok(frame)
}

/// The chunks whose first task is not there.
async fn missing(connection: &DatabaseConnection, data: &DataSet) -> anyhow::Result<Vec<u64>> {
    let first: Vec<Uuid> = (0..data.chunks()).map(|chunk| history::first_id(data, chunk)).collect();
    let found = sqlx::query_scalar::<_, i64>(FIND_CHUNKS).bind(first);
    let found = found.fetch_all(connection.get_postgres_connection_pool()).await?;
    found.into_iter().map(|number| Ok(u64::try_from(number)?)).collect()
}

/// Takes one chunk after the other, until there is none.
async fn copy_chunks(connection: DatabaseConnection, work: Arc<Work>) -> anyhow::Result<()> {
    while let Some(number) = work.missing.get(work.taken.fetch_add(1, Ordering::Relaxed)) {
        let mut transaction = begin(&connection, &work.data, i32::try_from(number + 1)?).await?;
        // Another run may have done it in the meantime.
        if !exists(&mut transaction, FIND_TASK, history::first_id(&work.data, *number)).await? {
            let chunk = history::chunk(&work.data, &work.frame, *number);
            let tasks = chunk.tasks.copy(&mut transaction).await?;
            let comments = chunk.comments.copy(&mut transaction).await?;
            transaction.commit().await?;
            work.tasks.fetch_add(tasks, Ordering::Relaxed);
            work.comments.fetch_add(comments, Ordering::Relaxed);
        }
        work.progress.advance(tasks_in(&work.data, *number));
    }
    connection.close().await?;
    Ok(())
}

fn tasks_in(data: &DataSet, chunk: u64) -> u64 {
    let numbers = data.chunk(chunk);
    numbers.end - numbers.start
}

async fn exists(connection: &mut PgConnection, find: &'static str, id: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(find).bind(id).fetch_one(connection).await
}

/// Vacuums once every older transaction has ended, or after a while anyway: while one runs, also on a replica that sends
/// feedback, no page can be marked as visible to all, and index-only scans would go on reading the table.
async fn vacuum(connection: &DatabaseConnection) -> anyhow::Result<()> {
    let pool = connection.get_postgres_connection_pool();
    let newest: String = sqlx::query_scalar("SELECT pg_current_xact_id()::xid::text").fetch_one(pool).await?;
    let end = Instant::now() + OLDER_TRANSACTIONS;
    while sqlx::query_scalar::<_, bool>(OLDER).bind(&newest).fetch_one(pool).await? && Instant::now() < end {
        tokio::time::sleep(POLL).await;
    }
    connection.execute_unprepared("VACUUM (ANALYZE) users, workspaces, members, projects, tasks, comments").await?;
    Ok(())
}

async fn size(connection: &DatabaseConnection, name: &'static str) -> anyhow::Result<Table> {
    let sizes = "SELECT pg_table_size($1::regclass), pg_indexes_size($1::regclass)";
    let sizes = sqlx::query_as::<_, (i64, i64)>(sizes).bind(name);
    let (heap, indexes) = sizes.fetch_one(connection.get_postgres_connection_pool()).await?;
    Ok(Table { name, heap_bytes: u64::try_from(heap)?, index_bytes: u64::try_from(indexes)? })
}

/// Half as long again as a replica may take to say what it still needs (`wal_receiver_status_interval`).
const OLDER_TRANSACTIONS: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);

const FIND_USER: &str = "SELECT EXISTS (SELECT FROM users WHERE id = $1)";
const FIND_TASK: &str = "SELECT EXISTS (SELECT FROM tasks WHERE id = $1)";
const FIND_CHUNKS: &str = "
SELECT k.number - 1 FROM unnest($1::uuid[]) WITH ORDINALITY AS k (id, number)
WHERE NOT EXISTS (SELECT FROM tasks t WHERE t.id = k.id) ORDER BY k.number";
const OLDER: &str = "
SELECT EXISTS (
    SELECT FROM (
        SELECT backend_xmin FROM pg_stat_activity WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database())
        UNION ALL SELECT backend_xmin FROM pg_stat_replication
        UNION ALL SELECT xmin FROM pg_replication_slots
    ) AS held (xmin)
    WHERE age(held.xmin) > age($1::xid))";
