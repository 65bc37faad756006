//! Trellis itself ends, or its clients go away.

use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::{StreamExt, stream};
use nix::sys::signal::Signal;
use trellis::clock;

use super::{INVISIBLE, NOTHING};
use crate::client::{CUT, Caller, REFUSED};
use crate::ledger::{Entry, Outcome, Write};
use crate::scenario::{Promise, Scenario};
use crate::stage::Stage;

/// Accepted requests are answered within this, and then the process ends.
const DRAIN: Duration = Duration::from_secs(20);

/// How many requests that are given up there are at the same time.
const AT_ONCE: usize = 10;

/// Nobody listens, and what was accepted is answered.
const AWAY: Promise = Promise {
    writes: &[REFUSED],
    reads: &[REFUSED],
    write_within: Duration::from_secs(1),
    read_within: Duration::from_secs(1),
    ..INVISIBLE
};

pub fn scenarios() -> [Scenario; 3] {
    [
        Scenario {
            name: "trellis-terminated",
            about: "SIGTERM to Trellis under load; it is started again",
            promise: AWAY,
            strike: |stage| {
                Box::pin(async {
                    stage.trellis.signal(Signal::SIGTERM)?;
                    let (status, took) = stage.trellis.ended().await?;
                    stage.notes.push(format!("it ended after {:.1} s, {status}", took.as_secs_f64()));
                    stage.require(status.success(), format!("it ended with {status}"));
                    stage.require_within(DRAIN, took, "its end");
                    Ok(())
                })
            },
            heal: |stage| Box::pin(async { start_again(stage).await }),
            ..NOTHING
        },
        Scenario {
            name: "trellis-killed",
            about: "SIGKILL to Trellis under load; it is started again",
            promise: Promise { writes: &[REFUSED, CUT], reads: &[REFUSED, CUT], ..AWAY },
            strike: |stage| {
                Box::pin(async {
                    stage.trellis.signal(Signal::SIGKILL)?;
                    stage.trellis.ended().await.map(drop)
                })
            },
            heal: |stage| Box::pin(async { start_again(stage).await }),
            ..NOTHING
        },
        Scenario {
            name: "clients-gone",
            about: "10,000 requests are given up by their clients at random moments; with --short 1,000",
            // They are a load besides.
            promise: Promise {
                writes: &["OVERLOADED"],
                reads: &["OVERLOADED"],
                write_within: Duration::from_secs(3),
                read_within: Duration::from_secs(3),
                ..INVISIBLE
            },
            strike: |stage| {
                Box::pin(async {
                    let count = stage.length.given_up;
                    let (caller, usual) = (stage.caller()?, usual(stage));
                    let mut entries = Vec::new();
                    let (given_up, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
                    stream::iter(0..)
                        .take_while(|_| ready(given_up.load(Ordering::Relaxed) < count))
                        .map(|number| give_up(&caller, stage, number, usual))
                        .buffer_unordered(AT_ONCE)
                        .for_each(|request| {
                            let counter = if request.was_answered { &answered } else { &given_up };
                            counter.fetch_add(1, Ordering::Relaxed);
                            entries.extend(request.entry);
                            ready(())
                        })
                        .await;
                    let (given_up, answered, usual) = (given_up.into_inner(), answered.into_inner(), usual.as_millis());
                    stage.notes.push(format!(
                        "{given_up} requests were given up within {usual} ms, and {answered} answered before"
                    ));
                    stage.entries.append(&mut entries);
                    Ok(())
                })
            },
            ..NOTHING
        },
    ]
}

async fn start_again(stage: &mut Stage) -> Result<()> {
    stage.write_fails().await?;
    stage.trellis.start_again()?;
    stage.trellis.ready().await
}

/// A request whose client went away at some moment of it.
struct GivenUp {
    was_answered: bool,
    /// What a write was to write.
    entry: Option<Entry>,
}

/// What an answer took until now: half of them took longer.
fn usual(stage: &Stage) -> Duration {
    let mut all: Vec<Duration> = stage.events().iter().map(|event| event.took).collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Asks, and goes away within `longest`.
async fn give_up(caller: &Caller, stage: &Stage, number: usize, longest: Duration) -> GivenUp {
    let project = stage.projects[number % stage.projects.len()];
    // A time-ordered id ends in random bits.
    let random = u32::try_from(clock::new_id().as_u128() % 1_000).unwrap_or_default();
    let moment = longest * random / 1_000;
    let given_up = if number.is_multiple_of(3) {
        let read = tokio::time::timeout(moment, caller.read(project, None)).await;
        GivenUp { was_answered: read.is_ok(), entry: None }
    } else {
        let new = if number.is_multiple_of(2) { Write::with_key } else { Write::without_key };
        let write = new(project, format!("given up {number} {}", stage.user));
        let written = tokio::time::timeout(moment, caller.write(&write, None)).await;
        let was_answered = written.is_ok();
        let outcome = written.map_or(Outcome::Unknown, |(_, outcome)| outcome);
        GivenUp { was_answered, entry: Some(Entry { write, outcome, urgent: None, told: Instant::now() }) }
    };
    // The server goes on with the write: what nobody waits for must not come faster than it is done.
    tokio::time::sleep(longest.saturating_sub(moment)).await;
    given_up
}
