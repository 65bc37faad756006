//! The primary ends, or stands still.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{INVISIBLE, NOTHING};
use crate::client::{Event, Kind};
use crate::cluster::until;
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
            updates: true,
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

/// How many reads that need no newer data are looked at while the primary is away.
const READS: usize = 8;

/// While the primary is away nothing is written, and replicas answer what needs no newer data.
pub async fn reads_go_on(stage: &mut Stage) -> Result<()> {
    stage.write_fails().await?;
    let failed = |event: &Event| event.kind == Kind::Write && !event.is_ok();
    let Some(away) = stage.events().iter().filter(|event| failed(event)).map(Event::ended).min() else { return Ok(()) };
    let reads = || {
        let all = stage.events().into_iter().filter(|event| event.kind != Kind::Write && event.began >= away);
        all.partition::<Vec<_>, _>(Event::is_ok)
    };
    let without_token = |events: &[Event]| events.iter().filter(|event| event.kind == Kind::ReadWithoutToken).count();
    until("reads are answered or refused while the primary is away", || async {
        let (answered, refused) = reads();
        Ok(without_token(&answered) + without_token(&refused) >= READS)
    })
    .await?;
    let (answered, refused) = reads();
    let from_replica = |event: &&Event| event.source.as_deref().is_some_and(|source| source.starts_with("replica"));
    let from_replica = answered.iter().filter(from_replica).count();
    let [served, turned_away] = [&answered, &refused].map(|events| without_token(events));
    stage.notes.push(format!(
        "without a primary {} reads were answered, {from_replica} of them by replicas, and {} were not; of those without a \
         token {served} were, and {turned_away} were not",
        answered.len(),
        refused.len()
    ));
    stage.require(from_replica > 0, "no read was answered by a replica while the primary was away");
    // A busy machine may make both replicas silent for a moment, but not all the time.
    stage.require(
        served > turned_away,
        format!(
            "of {} reads without a token {turned_away} were refused though replicas were there",
            served + turned_away
        ),
    );
    Ok(())
}
