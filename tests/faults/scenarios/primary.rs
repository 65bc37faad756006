//! The primary ends, or stands still.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{INVISIBLE, NOTHING};
use crate::client::Kind;
use crate::scenario::{Promise, Scenario};
use crate::stage::Stage;

/// Without the primary nothing is written, and reads go on. A read whose token no replica has reached is refused.
pub const DOWN: Promise = Promise {
    writes: &["UNAVAILABLE", "OUTCOME_UNKNOWN"],
    reads: &["UNAVAILABLE"],
    write_within: Duration::from_secs(1),
    read_within: Duration::from_secs(1),
    ..INVISIBLE
};

/// Likewise where nothing comes at all. Those who wait may be too many before that is noticed.
pub const SILENT: Promise = Promise {
    writes: &["UNAVAILABLE", "OUTCOME_UNKNOWN", "OVERLOADED"],
    reads: &["UNAVAILABLE", "OVERLOADED"],
    ..DOWN
};

pub fn scenarios() -> [Scenario; 3] {
    [
        Scenario {
            name: "primary-killed",
            about: "SIGKILL to all processes of the primary; it is started again",
            promise: DOWN,
            strike: |stage| {
                Box::pin(async {
                    stage.primary().kill();
                    stage.primary().gone().await
                })
            },
            heal: |stage| {
                Box::pin(async {
                    reads_go_on(stage).await?;
                    stage.primary().start().await
                })
            },
            ..NOTHING
        },
        Scenario {
            name: "primary-stopped",
            about: "an immediate stop of the primary, without a checkpoint; it is started again",
            promise: DOWN,
            strike: |stage| Box::pin(async { stage.primary().stop("immediate").await }),
            heal: |stage| {
                Box::pin(async {
                    reads_go_on(stage).await?;
                    stage.primary().start().await
                })
            },
            ..NOTHING
        },
        Scenario {
            name: "primary-frozen",
            about: "SIGSTOP to all processes of the primary, then SIGCONT",
            promise: SILENT,
            lasts: |length| length.silence,
            strike: |stage| {
                Box::pin(async {
                    stage.primary().signal(Signal::SIGSTOP);
                    stage.primary().gone().await
                })
            },
            heal: |stage| {
                Box::pin(async {
                    stage.write_fails().await?;
                    stage.primary().signal(Signal::SIGCONT);
                    Ok(())
                })
            },
            ..NOTHING
        },
    ]
}

/// While the primary is away nothing is written, and replicas answer what needs no newer data.
async fn reads_go_on(stage: &mut Stage) -> Result<()> {
    stage.write_fails().await?;
    let events = stage.events();
    let second_half = stage.length.fault / 2;
    let late = events.iter().filter(|event| event.kind != Kind::Write && event.began.elapsed() < second_half);
    let (answered, refused): (Vec<_>, Vec<_>) = late.partition(|event| event.is_ok());
    let from_replica =
        answered.iter().filter(|event| event.source.as_deref().is_some_and(|it| it.starts_with("replica")));
    let from_replica = from_replica.count();
    stage.notes.push(format!(
        "without a primary {} reads were answered and {} were not",
        answered.len(),
        refused.len()
    ));
    stage.require(from_replica > 0, "no read was answered by a replica while the primary was away");
    Ok(())
}
