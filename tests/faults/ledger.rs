//! What clients were told of their writes, and what the database holds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::client::Caller;
use crate::cluster::Server;

/// A write, and what its client knows of it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub project: Uuid,
    /// Also its idempotency key.
    pub title: String,
    pub outcome: Outcome,
}

/// What the client knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told that it is written, and under which id.
    Acknowledged { id: Uuid, token: Option<String> },
    /// It was told that it is not, by this code, or never sent it.
    Refused(String),
    /// It may be written or not.
    Unknown,
}

/// How long an unknown outcome may stay unknown once the fault is over.
const PATIENCE: Duration = Duration::from_secs(15);

/// How many are sent again at the same time.
const AT_ONCE: usize = 4;

/// Sends every write again whose outcome is unknown, under its key, until it is known. Says how many there were.
pub async fn resolve(entries: &mut [Entry], caller: &Caller) -> Result<usize> {
    let unknown = entries.iter_mut().filter(|entry| entry.outcome == Outcome::Unknown);
    let resolved = stream::iter(unknown).map(|entry| resolve_one(entry, caller)).buffer_unordered(AT_ONCE);
    resolved.try_fold(0, async |count, ()| Ok(count + 1)).await
}

async fn resolve_one(entry: &mut Entry, caller: &Caller) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !matches!(entry.outcome, Outcome::Acknowledged { .. }) {
        let (reply, outcome) = caller.write(entry.project, &entry.title, None).await;
        entry.outcome = outcome;
        ensure!(Instant::now() < deadline, "{} cannot be resolved: {}", entry.title, reply.code);
    }
    Ok(())
}

/// The comparison.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// Acknowledged, and not there.
    pub lost: Vec<Entry>,
    /// There more than once.
    pub twice: Vec<String>,
    /// Refused, and there all the same.
    pub refused_and_written: Vec<String>,
    /// Acknowledged under another id than it has.
    pub confused: Vec<String>,
}

/// Compares the ledger with the primary.
pub async fn audit(entries: &[Entry], primary: &Server) -> Result<Audit> {
    let projects: Vec<String> = entries.iter().map(|entry| format!("'{}'", entry.project)).collect();
    if projects.is_empty() {
        return Ok(Audit::default());
    }
    let mut written: HashMap<String, Vec<Uuid>> = HashMap::new();
    let mut projects = projects;
    projects.sort_unstable();
    projects.dedup();
    let sql = format!("SELECT title, id FROM tasks WHERE project_id IN ({})", projects.join(","));
    for row in primary.rows(&sql).await? {
        written.entry(row.try_get_by_index(0)?).or_default().push(row.try_get_by_index(1)?);
    }
    let mut audit = Audit::default();
    for entry in entries {
        let ids = written.get(&entry.title).map(Vec::as_slice).unwrap_or_default();
        if ids.len() > 1 {
            audit.twice.push(entry.title.clone());
        }
        match &entry.outcome {
            Outcome::Acknowledged { .. } if ids.is_empty() => audit.lost.push(entry.clone()),
            Outcome::Acknowledged { id, .. } if !ids.contains(id) => audit.confused.push(entry.title.clone()),
            Outcome::Refused(code) if !ids.is_empty() => {
                audit.refused_and_written.push(format!("{} ({code})", entry.title));
            }
            _ => {}
        }
    }
    Ok(audit)
}
