//! A replica becomes the primary, and the old primary comes back.

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::NOTHING;
use super::primary::DOWN;
use crate::client::{Event, Kind, WRITE_LOST};
use crate::cluster::until;
use crate::scenario::{Promise, Scenario};
use crate::stage::Stage;

/// How long it may take until the new primary is found.
const FOUND: Duration = Duration::from_secs(5);

/// How many writes the primary acknowledges alone, at least.
const LOST: usize = 10;

pub fn scenarios() -> [Scenario; 2] {
    [
        Scenario {
            name: "promotion",
            about: "the primary is stopped, a replica promoted; the old primary comes back as if nothing had happened",
            promise: Promise { recovers_within: FOUND, ..DOWN },
            strike: |stage| Box::pin(async { stage.primary().stop("fast").await }),
            heal: |stage| Box::pin(async { fail_over(stage).await }),
            spends_cluster: true,
            ..NOTHING
        },
        Scenario {
            name: "promotion-lossy",
            about: "the same, where the primary was killed and its last writes had reached no replica",
            promise: Promise {
                reads: &["UNAVAILABLE", WRITE_LOST],
                recovers_within: FOUND,
                loses_the_last: true,
                ..DOWN
            },
            strike: |stage| Box::pin(async { die_ahead(stage).await }),
            heal: |stage| Box::pin(async { fail_over(stage).await }),
            spends_cluster: true,
            ..NOTHING
        },
    ]
}

/// The primary goes on alone for a while, and is killed.
async fn die_ahead(stage: &mut Stage) -> Result<()> {
    let senders = stage.primary().rows("SELECT pid FROM pg_stat_replication").await?;
    anyhow::ensure!(senders.len() == stage.replicas().len(), "{} replicas are connected", senders.len());
    for sender in senders {
        kill(Pid::from_raw(sender.try_get_by_index(0)?), Signal::SIGSTOP)?;
    }
    let alone = Instant::now();
    let is_alone = |event: &Event| event.kind == Kind::Write && event.is_ok() && event.began > alone;
    let written = || stage.events().into_iter().filter(is_alone).count();
    until("writes are acknowledged that no replica has", || async { Ok(written() >= LOST) }).await?;
    stage.primary().kill();
    stage.primary().gone().await
}

/// Promotes the replica that has got furthest, has the other one follow it, and starts the old primary.
async fn fail_over(stage: &mut Stage) -> Result<()> {
    stage.write_fails().await?;
    let mut reached = Vec::new();
    for (number, replica) in stage.cluster.servers.iter().enumerate().skip(1) {
        let position = "SELECT (pg_last_wal_receive_lsn() - '0/0')::bigint";
        reached.push((replica.one::<i64>(position).await?, number));
    }
    let (_, promoted) = reached.into_iter().max().unwrap_or_default();
    let old = stage.primary().clone();
    stage.cluster.servers[promoted].rows("SELECT pg_promote(true, 60)::text").await?;
    stage.cluster.servers.swap(0, promoted);
    stage.proxies.swap(0, promoted);
    let follower = stage.replicas().iter().find(|server| server.name != old.name).cloned();
    if let Some(follower) = follower {
        let primary = stage.primary().clone();
        follower.follow(&primary).await?;
        let follows = "SELECT count(*) > 0 FROM pg_stat_replication WHERE state = 'streaming'";
        until("the other replica follows", || primary.one::<bool>(follows)).await?;
    }
    // It takes writes as before: whoever sends it one loses it, which the ledger shows.
    old.start().await
}
