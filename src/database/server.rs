//! One server: its two doors, and its health.

use std::sync::Arc;

use sea_orm::DbErr;

use super::door::Door;
use super::health::{Health, Seen};
use super::pools::Pool;
use crate::config::PoolSettings;
use crate::metrics::{Metrics, ServerMetrics};

/// A database server. Which one is the primary is not configured but seen: any of them may become it.
#[derive(Debug)]
pub(super) struct Server {
    /// As it was configured: `primary`, `replica-1`, …
    pub(super) name: String,
    pub(super) address: String,
    /// For writes, and for the rows of those who may see no older ones. Used while the server is the primary.
    pub(super) writes: Arc<Door>,
    /// Through read-only sessions.
    pub(super) reads: Arc<Door>,
    pub(super) health: Arc<Health>,
    pub(super) metrics: ServerMetrics,
}

impl Server {
    pub(super) fn new(
        name: &str,
        address: &str,
        pools: [&Pool; 2],
        settings: &PoolSettings,
        metrics: &Metrics,
    ) -> Result<Self, DbErr> {
        let health = Arc::new(Health::default());
        let door = |pool| Ok::<_, DbErr>(Arc::new(Door::new(address, pool, &health, settings, metrics)?));
        let [writes, reads] = pools;
        let (name, address) = (name.to_owned(), address.to_owned());
        let metrics = metrics.servers().of(&name);
        Ok(Self { name, address, writes: door(writes)?, reads: door(reads)?, health, metrics })
    }

    /// What it said last; none where it does not answer.
    pub(super) fn seen(&self) -> Option<Seen> {
        self.health.seen()
    }

    /// It does not answer: what is under way there is given up.
    pub(super) fn lose(&self) {
        self.writes.lose();
        self.reads.lose();
    }

    /// Closes its pools.
    pub(super) async fn close(&self) {
        self.reads.close().await;
        self.writes.close().await;
    }
}
