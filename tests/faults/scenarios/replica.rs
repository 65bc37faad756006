//! A replica ends, stands still or falls behind. Clients see nothing of it.

use anyhow::Result;
use nix::sys::signal::Signal;

use super::NOTHING;
use crate::client::Kind;
use crate::cluster::until;
use crate::scenario::Scenario;
use crate::stage::Stage;

pub fn scenarios() -> [Scenario; 4] {
    [
        Scenario {
            name: "replica-killed",
            about: "SIGKILL to all processes of one replica of two; it is started again",
            strike: |stage| {
                Box::pin(async {
                    stage.replicas()[0].kill();
                    stage.replicas()[0].gone().await
                })
            },
            heal: |stage| Box::pin(async { stage.replicas()[0].start().await }),
            ..NOTHING
        },
        Scenario {
            name: "replica-frozen",
            about: "SIGSTOP to all processes of one replica of two, then SIGCONT",
            lasts: |length| length.silence / 2,
            strike: |stage| {
                Box::pin(async {
                    stage.replicas()[0].signal(Signal::SIGSTOP);
                    stage.replicas()[0].gone().await
                })
            },
            heal: |stage| {
                Box::pin(async {
                    stage.replicas()[0].signal(Signal::SIGCONT);
                    Ok(())
                })
            },
            ..NOTHING
        },
        Scenario {
            name: "replicas-paused",
            about: "pg_wal_replay_pause() on both replicas, then pg_wal_replay_resume()",
            strike: |stage| {
                Box::pin(async {
                    for replica in stage.replicas() {
                        replica.rows("SELECT pg_wal_replay_pause()::text").await?;
                        let paused = "SELECT pg_get_wal_replay_pause_state() = 'paused'";
                        until("the replay pauses", || replica.one::<bool>(paused)).await?;
                    }
                    Ok(())
                })
            },
            heal: |stage| {
                Box::pin(async {
                    read_is_stale(stage).await?;
                    for replica in stage.replicas() {
                        replica.rows("SELECT pg_wal_replay_resume()::text").await?;
                    }
                    Ok(())
                })
            },
            ..NOTHING
        },
        Scenario {
            name: "replicas-late",
            about: "both replicas apply everything 10 s later (recovery_min_apply_delay), and rows are read there too",
            words: &["--read-from-replicas"],
            strike: |stage| {
                Box::pin(async {
                    for replica in stage.replicas() {
                        replica.set("recovery_min_apply_delay", Some("10s")).await?;
                    }
                    Ok(())
                })
            },
            heal: |stage| {
                Box::pin(async {
                    read_is_stale(stage).await?;
                    for replica in stage.replicas() {
                        replica.set("recovery_min_apply_delay", None).await?;
                    }
                    Ok(())
                })
            },
            ..NOTHING
        },
    ]
}

/// Waits until somebody who sent no token has missed a write of their own: before, no replica is behind that is read.
async fn read_is_stale(stage: &Stage) -> Result<()> {
    let missed = || stage.events().iter().any(|event| event.kind == Kind::ReadWithoutToken && event.stale);
    until("a read without a token is stale", || async { Ok(missed()) }).await
}
