//! Examines every server for what loses data or makes it slow, and says what it means and what to do. It reads only,
//! each question in a short transaction of its own; an ordinary role is enough, and what that may not see is said.

mod bloat;
mod connection;
mod design;
mod finding;
mod index;
mod key;
mod replication;
mod report;
mod server;
mod setting;
mod statistics;
mod transaction;
mod usage;

use std::io::IsTerminal;

use design::Design;
use finding::Finding;
use report::{Report, Style};
use server::Server;

use crate::config::PoolSettings;
use crate::database::pools::Pools;
use crate::database::{Addresses, Inspection, Target};

/// What is examined how strictly, and how it is told.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXPLANATION)]
pub struct Options {
    /// Prints one JSON object: summary { ok, warn, fail } and findings, each with area, check, server, verdict, found,
    /// meaning and remedy (a list).
    #[arg(long)]
    pub json: bool,

    /// Ends with code 1 on a WARN too.
    #[arg(long)]
    pub strict: bool,

    /// Seconds after which an open transaction is a WARN, and a prepared one a FAIL.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub long_transaction_seconds: u32,

    /// Days of counting after which an index that nobody read is a WARN.
    #[arg(long, default_value_t = 7, value_name = "DAYS")]
    pub unused_after_days: u32,
}

const EXPLANATION: &str = "\
A line for each check: OK is as it should be; WARN costs something, or cannot be told; FAIL means that something is
lost, refused or stands still, now or after the next accident. Below a WARN or FAIL stands what it means and what to do.

It examines the primary and every replica, reads only, and takes a second or two. Members of pg_monitor see all of it.

Exit code: 0 without FAIL, 1 with one (with --strict, also with a WARN), 2 for wrong arguments.";

/// Examines the servers, and prints what was found.
///
/// # Errors
/// Something is wrong with them; the error counts it.
pub async fn run(
    addresses: &Addresses,
    pools: &PoolSettings,
    options: &Options,
    say: impl FnOnce(String),
) -> anyhow::Result<()> {
    let report = Report::new(examine(addresses, pools, options).await?);
    let style = if std::io::stdout().is_terminal() { Style::Coloured } else { Style::Plain };
    say(if options.json { serde_json::to_string_pretty(&report)? } else { report.text(style) });
    let bad = report.summary.fail + if options.strict { report.summary.warn } else { 0 };
    anyhow::ensure!(bad == 0, "{bad} of {} checks are not as they should be", report.findings.len());
    Ok(())
}

async fn examine(addresses: &Addresses, pools: &PoolSettings, options: &Options) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let primary = connect("primary".to_owned(), Target::Primary, &addresses.primary, &mut findings).await;
    let mut replicas = Vec::new();
    for (index, address) in addresses.replicas.iter().enumerate() {
        let name = format!("replica-{}", index + 1);
        replicas.extend(connect(name, Target::Replica, address, &mut findings).await);
    }
    for server in primary.iter().chain(&replicas) {
        findings.push(connection::role(server, primary.as_ref()));
        findings.push(transaction::open(server, options).await);
        findings.extend(setting::of(server).await);
    }
    findings.extend(of_pools(addresses, pools, primary.iter().chain(&replicas)).await);
    if let Some(primary) = &primary {
        findings.push(transaction::prepared(primary, options).await);
        findings.extend(replication::of_primary(primary, addresses.replicas.len()).await);
        let (finding, applied) = connection::migrations(primary).await;
        findings.push(finding);
        // Before the first migration there is nothing to look at.
        if !applied.is_empty() {
            let design = Design::of(&applied).await?;
            let absent = addresses.replicas.len() - replicas.len();
            findings.extend(of_schema(primary, &replicas, absent, options, &design).await);
        }
    }
    // One that is no replica was told of, and has nothing to say here.
    for replica in replicas.iter().filter(|replica| replica.identity.in_recovery) {
        findings.extend(replication::of_replica(replica, primary.as_ref(), pools).await);
    }
    Ok(findings)
}

/// What the doors of all instances ask of each server that answers.
async fn of_pools<'a>(
    addresses: &Addresses,
    settings: &PoolSettings,
    servers: impl Iterator<Item = &'a Server>,
) -> Vec<Finding> {
    // An address that cannot be read is a finding already.
    let Ok(pools) = Pools::plan(addresses, settings) else { return Vec::new() };
    let of_replicas = || addresses.replicas.iter().zip(pools.of_replicas());
    let mut findings = Vec::new();
    for server in servers {
        let door = match server.target {
            Target::Primary => Some((&addresses.primary, &pools.of_primary()[0])),
            Target::Replica => of_replicas().find(|(_, pool)| pool.door == server.name),
        };
        let inspection = door.and_then(|(address, pool)| Inspection::new(address, pool, &pools).ok());
        if let Some(inspection) = inspection {
            findings.extend(connection::pools(server, &inspection).await);
        }
    }
    findings
}

/// A server that does not answer is a finding, and the examination goes on without it.
async fn connect(name: String, target: Target, address: &str, findings: &mut Vec<Finding>) -> Option<Server> {
    match Server::connect(name.clone(), target, address).await {
        Ok(server) => {
            findings.push(connection::answers(&server));
            Some(server)
        }
        Err(error) => {
            findings.push(connection::does_not_answer(&name, target, &error));
            None
        }
    }
}

/// What the migrations made.
async fn of_schema(
    primary: &Server,
    replicas: &[Server],
    absent: usize,
    options: &Options,
    design: &Design,
) -> Vec<Finding> {
    let mut findings = index::of_primary(primary, design).await;
    findings.push(usage::unused(primary, replicas, absent, options).await);
    findings.push(bloat::of_primary(primary).await);
    findings.extend(statistics::of_primary(primary, design).await);
    for server in std::iter::once(primary).chain(replicas) {
        findings.push(usage::sequential_scans(server).await);
    }
    findings.extend(key::of_primary(primary).await);
    findings
}
