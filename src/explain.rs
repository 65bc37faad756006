//! `trellis explain`: what PostgreSQL does for a document or a statement, and what to make of it.

mod document;
mod options;
mod registered;
mod text;

use std::io::Write;

use anyhow::Context;
use async_graphql::ServerError;
use sea_orm::DatabaseConnection;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock;
use crate::config::Settings;
use crate::database::{Database, Planning, Sent, Target, administration};
use crate::deployment::Deployment;
use crate::metrics::Metrics;
use crate::plan::advice::{self, Finding};
use crate::plan::catalog::Catalog;
use crate::plan::number::{count, counted};
use crate::plan::{Buffers, Plan};
use crate::progress::Progress;

pub use options::Options;
pub use registered::list;

use document::Document;
use registered::Selection;

/// What is explained.
#[derive(Debug)]
pub enum Subject {
    /// The statements that a document takes.
    Document(Box<Document>),
    /// Statements of the registry.
    Registered(Selection),
}

impl Subject {
    /// Reads what the options name, before any database is needed.
    ///
    /// # Errors
    /// A file cannot be read, or no statement has the name.
    pub fn read(options: &Options) -> anyhow::Result<Self> {
        Ok(match &options.query {
            Some(path) => Self::Document(Box::new(Document::read(path, options)?)),
            None => Self::Registered(Selection::of(options)?),
        })
    }

    async fn asked(
        self,
        connection: &DatabaseConnection,
        database: &Database,
        settings: &Settings,
    ) -> anyhow::Result<Asked> {
        match self {
            Self::Document(document) => document.run(connection, database, &settings.limits).await,
            Self::Registered(selection) => selection.find(connection, database).await,
        }
    }
}

/// The statements to explain.
struct Asked {
    /// The e-mail address of the user who asks.
    user: String,
    /// Each with what sets it apart from others of its name, where that is known.
    statements: Vec<(Option<String>, Sent)>,
    errors: Vec<ServerError>,
}

/// A statement and its plan.
#[derive(Serialize)]
struct Explained {
    name: &'static str,
    /// What sets it apart from others of its name in the registry.
    variant: Option<String>,
    /// The kind of server that ran it: `primary` or `replica`.
    target: &'static str,
    /// The pool that it went through.
    door: String,
    /// How many keys of a batch it answered.
    keys: usize,
    /// How many rows came back.
    rows: f64,
    /// How long it took to run, and to plan, in milliseconds.
    ms: f64,
    planning_ms: f64,
    /// Buffers, of 8 kB, that it touched.
    buffers: Buffers,
    /// The indexes that it used.
    indexes: Vec<String>,
    sql: String,
    /// The values of `$1`, `$2`, …, as SQL literals.
    values: Vec<String>,
    findings: Vec<Finding>,
    /// What EXPLAIN said, as it is.
    explain: Box<RawValue>,
    #[serde(skip)]
    plan: Plan,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report {
    user: String,
    /// `custom` or `generic`.
    planning: &'static str,
    statements: Vec<Explained>,
    /// How many findings there are altogether.
    findings: usize,
    /// The document's errors, as the server would send them.
    errors: Vec<ServerError>,
}

/// Shows the plans of a subject on the configured database.
///
/// # Errors
/// The database cannot be used, the document has errors, or there are findings and that is to be a failure.
pub async fn run(
    settings: &Settings,
    deployment: &Deployment,
    options: &Options,
    subject: Subject,
) -> anyhow::Result<()> {
    let connection =
        administration::connect(&deployment.addresses.primary).await.context("the database cannot be reached")?;
    // Nothing is sealed here that anybody gets to see, so any secret will do.
    let secret = clock::new_id().to_string();
    let database = Database::connect(&deployment.addresses, &settings.pools, &secret, &Metrics::default()).await?;
    let Asked { user, statements, errors } = subject.asked(&connection, &database, settings).await?;
    let catalog = Catalog::read(&connection).await?;

    let planning = if options.generic { "generic" } else { "custom" };
    let mut report = Report { user, planning, statements: Vec::new(), findings: 0, errors };
    let mut out = anstream::stdout().lock();
    // Text shows by itself how far it is.
    let progress = options.json.then(|| Progress::new("statements", statements.len() as u64, 0));
    for (variant, sent) in statements {
        let explained = explain(&database, &catalog, options, variant, &sent)
            .await
            .with_context(|| format!("the plan of {} cannot be had", sent.statement().name()))?;
        report.findings += explained.findings.len();
        if !options.json {
            text::write_statement(&mut out, &explained, options)?;
        }
        report.statements.push(explained);
        if let Some(progress) = &progress {
            progress.advance(1);
        }
    }
    drop(progress);
    database.close().await;
    connection.close().await?;
    if options.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        text::write_summary(&mut out, &report)?;
    }
    let (errors, findings) = (report.errors.len(), report.findings);
    anyhow::ensure!(errors == 0, "the answer to the document has {}", counted(&count(errors), "error"));
    anyhow::ensure!(findings == 0 || !options.fail_on_findings, "{}", counted(&count(findings), "finding"));
    Ok(())
}

async fn explain(
    database: &Database,
    catalog: &Catalog,
    options: &Options,
    variant: Option<String>,
    sent: &Sent,
) -> anyhow::Result<Explained> {
    let planning = if options.generic { Planning::Generic } else { Planning::Custom };
    let json = database.explain(sent, planning).await?;
    let plan = Plan::parse(&json)?;
    Ok(Explained {
        name: sent.statement().name(),
        variant,
        target: match sent.target() {
            Target::Primary => "primary",
            Target::Replica => "replica",
        },
        door: sent.door().to_owned(),
        keys: sent.statement().key_count(),
        rows: plan.root.rows,
        ms: plan.execution_ms,
        planning_ms: plan.planning_ms,
        buffers: plan.root.buffers,
        indexes: plan.indexes().into_iter().map(str::to_owned).collect(),
        sql: sent.statement().sql().to_owned(),
        values: sent.literals()?,
        findings: advice::findings(&plan, catalog, planning),
        explain: RawValue::from_string(json)?,
        plan,
    })
}
