//! What clients were told of their writes, and what the database holds.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::client::Caller;
use crate::cluster::Server;

/// A task to be written.
#[derive(Clone, Debug)]
pub struct Write {
    pub project: Uuid,
    pub title: String,
    /// With a key it may be sent again. Without one it must not be, by nobody.
    pub key: Option<String>,
}

impl Write {
    /// One that is told from others by its title.
    pub fn with_key(project: Uuid, title: String) -> Self {
        Self { project, key: Some(title.clone()), title }
    }

    pub fn without_key(project: Uuid, title: String) -> Self {
        Self { project, key: None, title }
    }
}

/// A write, and what its client knows of it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub write: Write,
    pub outcome: Outcome,
    /// What the client knows of having made the task urgent since, where it tried.
    pub urgent: Option<Outcome>,
    /// Since when it is known.
    pub told: Instant,
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
const AT_ONCE: usize = 8;

/// Sends every write again that has a key and whose outcome is unknown, until it is known. Says how many were unknown.
pub async fn resolve(entries: &mut [Entry], caller: &Caller) -> Result<usize> {
    let is_unknown = |entry: &&mut Entry| entry.outcome == Outcome::Unknown;
    let count = entries.iter_mut().filter(is_unknown).count();
    let unknown = entries.iter_mut().filter(is_unknown).filter(|entry| entry.write.key.is_some());
    let resolved = stream::iter(unknown).map(|entry| resolve_one(entry, caller)).buffer_unordered(AT_ONCE);
    resolved.try_for_each(async |()| Ok(())).await?;
    Ok(count)
}

async fn resolve_one(entry: &mut Entry, caller: &Caller) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !matches!(entry.outcome, Outcome::Acknowledged { .. }) {
        let (reply, outcome) = caller.write(&entry.write, None).await;
        (entry.outcome, entry.told) = (outcome, Instant::now());
        ensure!(Instant::now() < deadline, "{} cannot be resolved: {}", entry.write.title, reply.code);
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
    let projects: BTreeSet<String> = entries.iter().map(|entry| format!("'{}'", entry.write.project)).collect();
    if projects.is_empty() {
        return Ok(Audit::default());
    }
    let mut written: HashMap<String, Vec<Uuid>> = HashMap::new();
    let mut urgent: BTreeSet<String> = BTreeSet::new();
    let projects = Vec::from_iter(projects);
    let sql = format!("SELECT title, id, priority = 'urgent' FROM tasks WHERE project_id IN ({})", projects.join(","));
    for row in primary.rows(&sql).await? {
        let title: String = row.try_get_by_index(0)?;
        if row.try_get_by_index(2)? {
            urgent.insert(title.clone());
        }
        written.entry(title).or_default().push(row.try_get_by_index(1)?);
    }
    let mut audit = Audit::default();
    for entry in entries {
        let title = &entry.write.title;
        let ids = written.get(title).map(Vec::as_slice).unwrap_or_default();
        if ids.len() > 1 {
            audit.twice.push(title.clone());
        }
        match &entry.outcome {
            Outcome::Acknowledged { .. } if ids.is_empty() => audit.lost.push(entry.clone()),
            Outcome::Acknowledged { id, .. } if !ids.contains(id) => audit.confused.push(title.clone()),
            Outcome::Refused(code) if !ids.is_empty() => {
                audit.refused_and_written.push(format!("{title} ({code})"));
            }
            _ => {}
        }
        match &entry.urgent {
            Some(Outcome::Acknowledged { .. }) if !urgent.contains(title) => audit.lost.push(entry.clone()),
            Some(Outcome::Refused(code)) if urgent.contains(title) => {
                audit.refused_and_written.push(format!("{title} made urgent ({code})"));
            }
            _ => {}
        }
    }
    Ok(audit)
}
