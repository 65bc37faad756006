//! The doors to PostgreSQL, who may use which, and what each statement cost. It knows no noun.

pub mod administration;
pub mod constraint;
mod door;
mod failure;
mod meter;
mod replication;
mod route;
mod statement;
mod transaction;

pub use door::{Door, Reader, Target, Writer};
pub use meter::{Executed, Meter};
pub use replication::Freshness;
pub use route::{Operation, Reports, Route};
pub use statement::NamedStatement;
pub use transaction::{Command, Transaction};

use std::sync::Arc;
use std::time::Duration;

use sea_orm::DbErr;

use crate::config::PoolSettings;
use door::Access;
use replication::Replica;

/// The address of one primary and of its streaming replicas, as PostgreSQL URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Takes every write, and the reads of a mutation.
    pub primary: String,
    /// Take the reports; may be empty.
    pub replicas: Vec<String>,
}

/// Every pool of the server. Connections are opened when they are first needed, except one on the primary.
#[derive(Debug)]
pub struct Database {
    primary: Arc<Door>,
    /// The primary behind a read-only session: where reports go when no replica can serve them.
    fallback: Arc<Door>,
    replicas: Vec<Replica>,
    max_staleness: Duration,
}

impl Database {
    /// Opens the doors; the primary must answer.
    ///
    /// # Errors
    /// An address is not a PostgreSQL URL, or the primary does not answer.
    pub async fn connect(addresses: &Addresses, pools: &PoolSettings) -> Result<Self, DbErr> {
        let primary = Door::open(&addresses.primary, Access::primary(), pools).await?;
        let fallback = Arc::new(Door::open(&addresses.primary, Access::fallback(), pools).await?);
        let mut replicas = Vec::with_capacity(addresses.replicas.len());
        for (index, address) in addresses.replicas.iter().enumerate() {
            let door = Door::open(address, Access::replica(index), pools).await?;
            replicas.push(Replica::watch(Arc::new(door), Arc::clone(&fallback)).await);
        }
        let max_staleness = Duration::from_millis(pools.max_staleness_ms);
        Ok(Self { primary: Arc::new(primary), fallback, replicas, max_staleness })
    }

    /// Whether the primary answers.
    ///
    /// # Errors
    /// It does not; the error says why.
    pub async fn ping(&self) -> Result<(), crate::error::Error> {
        let meter = Meter::default();
        Reader::new(&self.primary, &meter).rows(NamedStatement::new("ping", "SELECT 1", [])).await.map(|_| ())
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
