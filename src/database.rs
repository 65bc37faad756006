//! The doors to PostgreSQL, who may use which, and what each statement cost. It knows no noun.

pub mod administration;
mod connections;
mod consistency;
pub mod constraint;
pub mod copy;
mod door;
mod explain;
mod failure;
mod health;
mod idempotency;
mod inspection;
pub mod line;
mod literal;
mod meter;
pub mod pools;
mod reader;
mod replication;
mod route;
mod running;
mod server;
mod servers;
mod statement;
mod tenants;
mod transaction;
mod watcher;
mod writer;

pub use consistency::{LogPosition, Sealer};
pub use door::{Door, Target};
pub use explain::{Planning, Sent};
pub(crate) use failure::{is_outdated, sqlstate};
pub use idempotency::IdempotencyKey;
pub use inspection::{Inspection, StartError};
pub use meter::{Batched, Executed, Meter, Origin};
pub use reader::Reader;
pub use replication::Freshness;
pub use route::{Consistency, Needs, Operation, Reports, Route, Served};
pub use running::Batch;
pub use statement::{Bound, NamedStatement};
pub use tenants::{Borrower, Claim, TENANT};
use transaction::Transaction;
pub use transaction::{Command, Exchange};
pub use writer::Writer;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use uuid::Uuid;

use crate::config::PoolSettings;
use crate::error::Error;
use crate::metrics::{FallbackMetrics, Metrics, PanicMetrics, PoolSize};
use consistency::History;
use health::Seen;
use pools::Pools;
use server::Server;
use servers::{Servers, Standing};
use tenants::Tenants;
use watcher::Watcher;

/// Every statement that the database layer sends by itself, as it would for `viewer`.
#[must_use]
pub fn statements(viewer: Uuid) -> Vec<NamedStatement> {
    let inspection = [inspection::session_process(), inspection::server_capacity()];
    let watch = [watcher::server_seen(), History::of(1)];
    inspection.into_iter().chain(watch).chain(idempotency::statements(viewer)).collect()
}

/// The address of one primary and of its streaming replicas, as PostgreSQL URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Takes every write, and the reads of a mutation.
    pub primary: String,
    /// Take the reports; may be empty.
    pub replicas: Vec<String>,
}

impl Addresses {
    /// The same addresses, with that of the server that is the primary now in the first place: a replica may have been
    /// promoted. Where none answers they stay as they are.
    ///
    /// # Errors
    /// `Refused` where it cannot be told which server is the primary.
    pub async fn resolved(mut self) -> Result<Self, StartError> {
        let addresses = [&self.primary].into_iter().chain(&self.replicas);
        let seen = join_all(addresses.map(|address| watcher::seen_at(address))).await;
        if let Some(place @ 1..) = place_of_primary(&seen)? {
            tracing::warn!("the replica of REPLICA_URLS in place {place} is the primary now");
            std::mem::swap(&mut self.replicas[place - 1], &mut self.primary);
        }
        Ok(self)
    }
}

/// Which of the servers that were seen takes the writes, if any does.
fn place_of_primary(seen: &[Option<Seen>]) -> Result<Option<usize>, StartError> {
    let named = |place| if place == 0 { "DATABASE_URL".to_owned() } else { format!("REPLICA_URLS in place {place}") };
    let seen: Vec<(usize, Seen)> =
        seen.iter().enumerate().filter_map(|(place, seen)| Some((place, (*seen)?))).collect();
    let takes_writes = |(_, seen): &&(usize, Seen)| !seen.is_in_recovery;
    // The first one says which cluster it is.
    let Some((first, Seen { position, .. })) = seen.iter().find(takes_writes) else { return Ok(None) };
    let of_cluster = seen.iter().filter(|(_, seen)| seen.position.system == position.system);
    let newest = of_cluster.clone().map(|(_, seen)| seen.position.timeline).max().unwrap_or_default();
    let mut primaries = of_cluster.filter(takes_writes).filter(|(_, seen)| seen.position.timeline == newest);
    let Some((place, primary)) = primaries.next() else {
        return Err(StartError::Refused(format!(
            "the server of {} is a former primary: there is a replica of timeline {newest}, whose primary does not \
             answer; put that one's address into DATABASE_URL",
            named(*first)
        )));
    };
    // The same server may have two addresses.
    match primaries.find(|(_, other)| other.started != primary.started) {
        None => Ok(Some(*place)),
        Some((other, _)) => Err(StartError::Refused(format!(
            "the servers of {} and of {} both take writes on timeline {newest}, so each has what the other lacks; stop \
             one, and have it follow the other",
            named(*place),
            named(*other)
        ))),
    }
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

/// How often, and how quickly, a server that starts looks at a replica before it goes on without.
const FIRST_LOOKS: u32 = 40;
const FIRST_INTERVAL: Duration = Duration::from_millis(25);

/// Every door to the servers of the cluster. Connections are opened when they are first needed.
#[derive(Debug)]
pub struct Database {
    servers: Arc<Servers>,
    watchers: Vec<tokio::task::JoinHandle<()>>,
    max_staleness: Duration,
    reads_from_replicas: bool,
    sealer: Sealer,
    fallbacks: FallbackMetrics,
    panics: PanicMetrics,
    tenants: Arc<Tenants>,
}

impl Database {
    /// Opens the doors; the primary must answer, and has been inspected. `secret` seals consistency tokens: servers
    /// that share it take each other's. `metrics` gets the figures of statements, pools and servers.
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
        let [writes, reads] = pools.of_primary();
        let mut all = vec![Server::new(&writes.door, &addresses.primary, [writes, reads], settings, metrics)?];
        for (address, reads) in addresses.replicas.iter().zip(pools.of_replicas()) {
            let writes = pools.after_promotion(reads);
            all.push(Server::new(&reads.door, address, [&writes, reads], settings, metrics)?);
        }
        let servers = Arc::new(Servers::new(all.into_iter().map(Arc::new).collect()));
        let max_staleness = Duration::from_millis(settings.max_staleness_ms);
        let mut watchers = Vec::with_capacity(servers.all.len());
        for index in 0..servers.all.len() {
            watchers.push(Watcher::new(&servers, index, max_staleness)?);
        }
        for (watcher, (address, pool)) in
            watchers.iter_mut().skip(1).zip(addresses.replicas.iter().zip(pools.of_replicas()))
        {
            watcher.inspect(Inspection::new(address, pool, &pools)?).await?;
        }
        // The primary first, since the others are compared with it.
        for watcher in &mut watchers {
            watcher.look().await;
        }
        let Some((primary, _)) = servers.primary() else {
            let reason = "no server that was asked takes writes";
            return Err(StartError::Unreachable(connections::unreachable(reason)));
        };
        // The first request should find a connection that is open.
        drop(primary.writes.acquire(&Meter::default()).await?);
        // The first request should find a replica that is there.
        join_all(watchers.iter_mut().skip(1).map(|watcher| async move {
            for _ in 1..FIRST_LOOKS {
                if watcher.is_settled() {
                    break;
                }
                tokio::time::sleep(FIRST_INTERVAL).await;
                watcher.look().await;
            }
        }))
        .await;
        let watchers = watchers.into_iter().map(|watcher| tokio::spawn(watcher.run())).collect();
        let (sealer, fallbacks) = (Sealer::new(secret)?, metrics.servers().fallbacks());
        Ok(Self {
            servers,
            watchers,
            max_staleness,
            reads_from_replicas: settings.read_from_replicas,
            sealer,
            fallbacks,
            panics: metrics.panics(),
            tenants: Arc::new(Tenants::new(settings.workspace_share)),
        })
    }

    /// A request of a user, or of nobody, as those see it who share out places.
    #[must_use]
    pub fn borrower(&self, user: Option<Uuid>) -> Arc<Borrower> {
        Arc::new(self.tenants.borrower(user))
    }

    /// The connections of each door now, by its name. A replica's door for writes is left out until it has some.
    pub fn pools(&self) -> impl Iterator<Item = (&str, PoolSize)> {
        let doors = self.servers.all.iter().enumerate().flat_map(|(index, server)| {
            let is_used = index == 0 || server.writes.size().is_used();
            is_used.then_some(&server.writes).into_iter().chain([&server.reads])
        });
        doors.map(|door| (door.name(), door.size()))
    }

    /// The position in a consistency token.
    ///
    /// # Errors
    /// `BadConsistencyToken` where this server, or one with its secret, did not make it.
    pub fn open_token(&self, token: &str) -> Result<LogPosition, Error> {
        self.sealer.open(token)
    }

    /// Removes idempotency keys that have done their time.
    ///
    /// # Errors
    /// The primary does not answer, or refuses.
    pub async fn purge_idempotency_keys(&self) -> Result<(), Error> {
        loop {
            let removed = self.servers.writable()?.rows(&Meter::default(), idempotency::purge()).await?;
            if removed.len() < idempotency::PURGED_AT_ONCE {
                return Ok(());
            }
        }
    }

    /// Looks at every server anew, after one of them failed.
    pub async fn reconsider(&self) {
        self.servers.reconsider().await;
    }

    /// The servers by name, in the order of their addresses, each with what it is good for now.
    pub fn standings(&self) -> impl Iterator<Item = (&str, ServerState)> {
        let has_primary = self.servers.primary().is_some();
        self.servers.all.iter().enumerate().map(move |(index, server)| {
            let state = match self.servers.standing(index) {
                Standing::Primary(_) => ServerState::Primary,
                Standing::Replica(seen) => {
                    let freshness = seen.as_of.map(|as_of| Freshness { as_of });
                    match seen {
                        Seen { is_late: true, .. } if has_primary => ServerState::Late(freshness),
                        Seen { is_on_probation: true, .. } if has_primary => ServerState::Returning(freshness),
                        _ => ServerState::Replica(freshness),
                    }
                }
                Standing::Away => ServerState::Away,
                Standing::Outdated => ServerState::Outdated,
                Standing::Foreign => ServerState::Foreign,
            };
            (server.name.as_str(), state)
        })
    }

    /// Closes every pool; statements that are under way finish first.
    pub async fn close(self) {
        for watcher in &self.watchers {
            watcher.abort();
        }
        join_all(self.servers.all.iter().map(|server| server.close())).await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        for watcher in &self.watchers {
            watcher.abort();
        }
    }
}

/// What a server is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// It takes the writes.
    Primary,
    /// It follows the primary, or did before that went away; how old its data is, where that is known.
    Replica(Option<Freshness>),
    /// It follows the primary, and is too far behind to be read while that is there.
    Late(Option<Freshness>),
    /// It follows the primary again, and has not done so for long enough to be read while that is there.
    Returning(Option<Freshness>),
    /// It does not answer.
    Away,
    /// It answers, and is a former primary, or follows one: nothing is sent to it.
    Outdated,
    /// It answers, and is of another cluster.
    Foreign,
}
