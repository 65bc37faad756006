//! The doors to PostgreSQL, who may use which, and what each statement cost. It knows no noun.

pub mod administration;
mod connections;
mod consistency;
pub mod constraint;
pub mod copy;
mod door;
mod explain;
mod failure;
mod idempotency;
mod inspection;
mod literal;
mod meter;
pub mod pools;
mod replication;
mod route;
mod running;
mod statement;
mod transaction;

pub use consistency::{LogPosition, Sealer};
pub use door::{Door, Reader, Target, Writer};
pub use explain::{Planning, Sent};
pub(crate) use failure::sqlstate;
pub use idempotency::IdempotencyKey;
pub use inspection::{Inspection, StartError};
pub use meter::{Batched, Executed, Meter, Origin};
pub use replication::Freshness;
pub use route::{Operation, Reports, Route};
pub use running::Batch;
pub use statement::{Bound, NamedStatement};
use transaction::Transaction;
pub use transaction::{Command, Exchange};

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::config::PoolSettings;
use crate::metrics::{Metrics, PoolSize};
use pools::Pools;
use replication::Replica;

fn ping() -> NamedStatement {
    NamedStatement::new("ping", "SELECT 1", [])
}

/// Every statement that the database layer sends by itself, as it would for `viewer`.
#[must_use]
pub fn statements(viewer: Uuid) -> Vec<NamedStatement> {
    let start = LogPosition { system: 0, timeline: 1, bytes: 0 };
    let positions = [replication::primary_position(), replication::replica_position()];
    let consistency = [start.is_reached()];
    let inspection = [inspection::session_process(), inspection::server_capacity()];
    [ping()]
        .into_iter()
        .chain(inspection)
        .chain(positions)
        .chain(consistency)
        .chain(idempotency::statements(viewer))
        .collect()
}

/// The address of one primary and of its streaming replicas, as PostgreSQL URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Takes every write, and the reads of a mutation.
    pub primary: String,
    /// Take the reports; may be empty.
    pub replicas: Vec<String>,
}

/// Looks whether the primary may be used as it is, before anything is done with it, and tells in the log how many
/// connections it is asked for.
///
/// # Errors
/// An address is not a PostgreSQL URL, the primary does not answer, has no room for all connections, or is behind a
/// pooler that does not keep sessions.
pub async fn inspect_primary(addresses: &Addresses, settings: &PoolSettings) -> Result<(), StartError> {
    let pools = Pools::plan(addresses, settings)?;
    if pools.assumes_cores() {
        tracing::warn!("TRELLIS_DATABASE_CORES is not set: the database host is taken to have as many as this machine");
    }
    let [of_primary, _] = pools.of_primary();
    Inspection::new(&addresses.primary, of_primary, &pools)?.pass().await
}

/// Every pool of the server. Connections are opened when they are first needed, except one on the primary.
#[derive(Debug)]
pub struct Database {
    primary: Arc<Door>,
    /// The primary behind a read-only session: where reports go when no replica can serve them.
    fallback: Arc<Door>,
    replicas: Vec<Replica>,
    max_staleness: Duration,
    sealer: Sealer,
}

impl Database {
    /// Opens the doors; the primary must answer, and has been inspected. `secret` seals consistency tokens: servers
    /// that share it take each other's. `metrics` gets the figures of statements and pools.
    ///
    /// # Errors
    /// An address is not a PostgreSQL URL, the primary does not answer, or a replica must not be used as it is.
    pub async fn connect(
        addresses: &Addresses,
        settings: &PoolSettings,
        secret: &str,
        metrics: &Metrics,
    ) -> Result<Self, StartError> {
        let pools = Pools::plan(addresses, settings)?;
        if pools.assumes_cores() {
            tracing::warn!(
                "TRELLIS_DATABASE_CORES is not set: the database host is taken to have this machine's cores"
            );
        }
        let [of_primary, of_fallback] = pools.of_primary();
        let primary = Arc::new(Door::new(&addresses.primary, of_primary, settings, metrics)?);
        // A replica that is down must not stop the start; the primary does.
        drop(primary.acquire(&Meter::default()).await?);
        let fallback = Arc::new(Door::new(&addresses.primary, of_fallback, settings, metrics)?);
        let mut replicas = Vec::with_capacity(addresses.replicas.len());
        for (address, of_replica) in addresses.replicas.iter().zip(pools.of_replicas()) {
            let inspection = Inspection::new(address, of_replica, &pools)?;
            let door = Arc::new(Door::new(address, of_replica, settings, metrics)?);
            replicas.push(Replica::watch(door, Arc::clone(&fallback), inspection).await?);
        }
        let max_staleness = Duration::from_millis(settings.max_staleness_ms);
        Ok(Self { primary, fallback, replicas, max_staleness, sealer: Sealer::new(secret)? })
    }

    /// The connections of each door now, by its name.
    pub fn pools(&self) -> impl Iterator<Item = (&str, PoolSize)> {
        let replicas = self.replicas.iter().map(|replica| &replica.door);
        [&self.primary, &self.fallback].into_iter().chain(replicas).map(|door| (door.name(), door.size()))
    }

    /// Whether the primary answers.
    ///
    /// # Errors
    /// It does not; the error says why.
    pub async fn ping(&self) -> Result<(), crate::error::Error> {
        let meter = Meter::default();
        Reader::new(&self.primary, &meter).rows(ping()).await.map(|_| ())
    }

    /// The position in a consistency token.
    ///
    /// # Errors
    /// `BadConsistencyToken` where this server, or one with its secret, did not make it.
    pub fn open_token(&self, token: &str) -> Result<LogPosition, crate::error::Error> {
        self.sealer.open(token)
    }

    /// Removes idempotency keys that have done their time.
    ///
    /// # Errors
    /// The primary does not answer, or refuses.
    pub async fn purge_idempotency_keys(&self) -> Result<(), crate::error::Error> {
        self.primary.rows(&Meter::default(), idempotency::purge()).await?;
        Ok(())
    }

    /// The replicas by name, each with how old its data is, or none where it does not answer.
    pub fn replicas(&self) -> impl Iterator<Item = (&str, Option<Freshness>)> {
        self.replicas.iter().map(|replica| (replica.door.name(), replica.freshness()))
    }

    /// Closes every pool; statements that are under way finish first.
    pub async fn close(self) {
        for replica in self.replicas {
            replica.close().await;
        }
        self.fallback.close().await;
        self.primary.close().await;
    }
}
