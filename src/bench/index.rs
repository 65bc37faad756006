//! The indexes that are compared: those of the literature, and Trellis's own as the migrations make them.

use anyhow::Context;
use serde::Serialize;

use super::session::Session;

/// Indexes that are there together, beside the primary key.
#[derive(Clone, Debug, Serialize)]
pub struct Indexes {
    /// What they are called in the results.
    pub name: String,
    /// The statements that make them.
    pub definitions: Vec<String>,
}

impl Indexes {
    fn one(name: &str, columns: &str) -> Self {
        Self { name: name.to_owned(), definitions: vec![format!("CREATE INDEX \"{name}\" ON tasks {columns}")] }
    }

    /// Makes them.
    pub async fn create(&self, session: &Session) -> anyhow::Result<()> {
        for definition in &self.definitions {
            session.execute(definition).await?;
        }
        Ok(())
    }
}

/// Nothing but the primary key.
pub const NONE: &str = "no index";
/// The covering index that knows of soft deletion.
pub const COVERING_LIVE: &str = "covering, live rows";
/// The same as it is usually written.
pub const COVERING: &str = "covering";
/// What it is made of, after the name of the table.
pub const COVERING_LIVE_COLUMNS: &str =
    "(project_id, status) INCLUDE (title, assignee_id, due_date) WHERE deleted_at IS NULL";

/// Every single index that is compared, nothing first and all of Trellis's together last.
pub async fn all(session: &Session) -> anyhow::Result<Vec<Indexes>> {
    let definitions: Vec<String> = session.values(DEFINITIONS).await?;
    let own = |kind: &str, name: &str| {
        let definition = definitions.iter().find(|definition| definition.contains(&format!(" {name} ")));
        let definition = definition.with_context(|| format!("the migrations make no index {name}"))?;
        anyhow::Ok(Indexes { name: format!("{kind}: {name}"), definitions: vec![definition.clone()] })
    };
    Ok(vec![
        Indexes { name: NONE.to_owned(), definitions: Vec::new() },
        Indexes::one("composite", "(project_id, status, created_at)"),
        Indexes::one("composite, live rows", "(project_id, status, created_at) WHERE deleted_at IS NULL"),
        Indexes::one(COVERING, "(project_id, status) INCLUDE (title, assignee_id, due_date)"),
        Indexes::one(COVERING_LIVE, COVERING_LIVE_COLUMNS),
        own("partial", "idx_tasks_active")?,
        own("both", "idx_tasks_list")?,
        Indexes { name: format!("all {} of Trellis", definitions.len()), definitions },
    ])
}

/// Drops every index of the tasks but the primary key.
pub async fn drop_all(session: &Session) -> anyhow::Result<()> {
    for name in session.values::<String>(NAMES).await? {
        session.execute(&format!("DROP INDEX \"{name}\"")).await?;
    }
    Ok(())
}

const DEFINITIONS: &str =
    "SELECT indexdef FROM pg_indexes WHERE tablename = 'tasks' AND indexname <> 'pk_tasks' ORDER BY indexname";
const NAMES: &str = "SELECT indexname::text FROM pg_indexes WHERE tablename = 'tasks' AND indexname <> 'pk_tasks'";
