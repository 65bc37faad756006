//! How many updates are HOT: no index is written where no indexed column changes and the page has room.

use serde::Serialize;

use super::index::{COVERING_LIVE, COVERING_LIVE_COLUMNS};
use super::session::Session;

/// What is updated: its name, and how.
const KINDS: [(&str, &str); 3] = [
    ("updated_at", "updated_at = clock_timestamp()"),
    ("status", "status = CASE status WHEN 'todo' THEN 'in_progress' ELSE 'todo' END"),
    ("title", "title = reverse(title)"),
];

/// Shares of HOT updates.
#[derive(Clone, Debug, Serialize)]
pub struct Update {
    /// The column that is updated.
    pub column: &'static str,
    /// How full an insert leaves a page, in percent.
    pub fillfactor: u8,
    /// The index beside the primary key.
    pub index: &'static str,
    /// How many rows were updated: some 2 % of those that are open, at random.
    pub updates: i64,
    /// How many of the updates were HOT.
    pub hot: i64,
}

/// How many cases [`measure`] measures.
pub const CASES: u64 = 12;

/// Measures each kind, with and without the covering index, at both fillfactors, each on a fresh copy of `rows` tasks.
pub async fn measure(session: &Session, rows: u32, done: impl Fn()) -> anyhow::Result<Vec<Update>> {
    let mut updates = Vec::new();
    for fillfactor in [100, 90] {
        for index in ["key only", COVERING_LIVE] {
            for (column, set) in KINDS {
                copy(session, rows, fillfactor, index == COVERING_LIVE).await?;
                let update = format!("UPDATE copy SET {set} WHERE status <> 'completed' AND {SAMPLE}");
                session.execute("BEGIN").await?;
                session.execute(&update).await?;
                let [all, hot] = [session.value(UPDATES).await?, session.value(HOT_UPDATES).await?];
                session.execute("COMMIT; DROP TABLE copy").await?;
                updates.push(Update { column, fillfactor, index, updates: all, hot });
                done();
            }
        }
    }
    Ok(updates)
}

async fn copy(session: &Session, rows: u32, fillfactor: u8, covering: bool) -> anyhow::Result<()> {
    let with = format!("fillfactor = {fillfactor}, autovacuum_enabled = off");
    session.execute(&format!("CREATE TABLE copy (LIKE tasks) WITH ({with})")).await?;
    session.execute(&format!("INSERT INTO copy SELECT * FROM tasks ORDER BY id DESC LIMIT {rows}")).await?;
    session.execute("ALTER TABLE copy ADD PRIMARY KEY (id)").await?;
    if covering {
        session.execute(&format!("CREATE INDEX ON copy {COVERING_LIVE_COLUMNS}")).await?;
    }
    session.execute("VACUUM (ANALYZE) copy").await
}

/// The last byte of a key is random: 5 of 256 values.
const SAMPLE: &str = "get_byte(uuid_send(id), 15) < 5";
/// Of the open transaction.
const UPDATES: &str = "SELECT n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'copy'";
const HOT_UPDATES: &str = "SELECT n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'copy'";
