//! Measures what the design claims, on generated data in a scratch database: the configured one is only asked to make it.

mod index;
pub mod indexes;
mod keys;
mod picture;
mod queries;
mod report;
mod session;
mod updates;

use clap::Subcommand;

use crate::deployment::Deployment;
use crate::signals::Signals;

/// What to measure.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// What an index is worth, and what it costs.
    ///
    /// The list of a project's tasks in a status with no index and with each kind, warm and cold, in milliseconds and
    /// buffers (pages of 8 kB); then what each index costs: its size, the rate of inserts, the share of HOT updates; and
    /// UUID version 4 against version 7 as the key.
    ///
    /// It makes a scratch database, fills it, and drops it at the end, also after Ctrl-C. A role on another server needs
    /// CREATEDB. A million tasks take 1.5 GB and some minutes. Cold runs need the private PostgreSQL of --data-dir, used
    /// by nobody else meanwhile: it is stopped for each, and its files are dropped from the system's page cache.
    Indexes(indexes::Options),
}

/// Measures, and says the result.
///
/// # Errors
/// The server does not answer or lets no database be made, a file cannot be written, or a signal came. Nothing stays.
pub async fn run(
    deployment: &mut Deployment,
    command: &Command,
    signals: &mut Signals,
    say: impl FnOnce(String),
) -> anyhow::Result<()> {
    match command {
        Command::Indexes(options) => indexes::run(deployment, options, signals, say).await,
    }
}
