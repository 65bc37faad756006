//! UUID version 4 against version 7 as the primary key: random places in the index, or always its right edge.

use serde::Serialize;

use super::session::Session;

/// In how many transactions the rows are inserted, each kind's in turn.
pub const COMMITS: u32 = 100;

/// What a kind of key costs.
#[derive(Clone, Debug, Serialize)]
pub struct Key {
    /// The UUID's version.
    pub version: u8,
    /// Milliseconds of all inserts.
    pub insert_ms: f64,
    /// What they wrote to the log.
    pub wal_bytes: i64,
    /// The size of the primary key.
    pub size_bytes: i64,
}

/// Inserts as many rows as there are tasks under both kinds of key, with 200 bytes beside it and no other index. Those of
/// version 7 are the tasks' own.
pub async fn measure(session: &Session, done: impl Fn()) -> anyhow::Result<[Key; 2]> {
    session.execute(PREPARE).await?;
    session.checkpoint().await;
    let key = |version| Key { version, insert_ms: 0.0, wal_bytes: 0, size_bytes: 0 };
    let mut keys = [key(4), key(7)];
    for batch in 0..COMMITS {
        for key in &mut keys {
            let Key { version, .. } = key;
            let select = format!("SELECT v{version}, repeat('x', 200) FROM keys WHERE batch = {batch}");
            let run = session.run(&format!("INSERT INTO key_v{version} (id, payload) {select}")).await?;
            key.insert_ms += run.ms;
            key.wal_bytes += run.wal_bytes;
        }
        done();
    }
    for key in &mut keys {
        key.size_bytes = session.value(&format!("SELECT pg_relation_size('key_v{}_pkey')", key.version)).await?;
    }
    session.execute("DROP TABLE keys, key_v4, key_v7").await?;
    Ok(keys)
}

const PREPARE: &str = "
CREATE UNLOGGED TABLE keys AS
SELECT (row_number() OVER (ORDER BY id) - 1) * 100 / count(*) OVER () AS batch, gen_random_uuid() AS v4, id AS v7
FROM tasks ORDER BY id;
CREATE INDEX ON keys (batch);
ANALYZE keys;
CREATE TABLE key_v4 (id uuid PRIMARY KEY, payload text NOT NULL) WITH (autovacuum_enabled = off);
CREATE TABLE key_v7 (id uuid PRIMARY KEY, payload text NOT NULL) WITH (autovacuum_enabled = off)";
