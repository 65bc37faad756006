//! Trellis itself ends, or its clients go away.

use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt, stream};
use nix::sys::signal::Signal;
use trellis::clock;

use super::{INVISIBLE, NOTHING};
use crate::client::{CUT, Caller, REFUSED};
use crate::ledger::{Entry, Outcome};
use crate::scenario::{Promise, Scenario};
use crate::stage::Stage;

/// Accepted requests are answered within this, and then the process ends.
const DRAIN: Duration = Duration::from_secs(20);

/// How many requests are given up, in a short run and in a long one, and how many at the same time.
const ABORTED: [u64; 2] = [1_000, 10_000];
const AT_ONCE: usize = 8;

pub fn scenarios() -> [Scenario; 3] {
    [
        Scenario {
            name: "trellis-terminated",
            about: "SIGTERM to Trellis under load; it is started again",
            promise: Promise { writes: &[REFUSED], reads: &[REFUSED], ..INVISIBLE },
            strike: |stage| {
                Box::pin(async {
                    stage.trellis.signal(Signal::SIGTERM)?;
                    let (status, took) = stage.trellis.ended().await?;
                    stage.notes.push(format!("it ended after {:.1} s, {status}", took.as_secs_f64()));
                    stage.require(status.success(), format!("it ended with {status}"));
                    stage.require(took <= DRAIN, format!("it ended after {} s", took.as_secs()));
                    Ok(())
                })
            },
            heal: |stage| Box::pin(async { start_again(stage).await }),
            ..NOTHING
        },
        Scenario {
            name: "trellis-killed",
            about: "SIGKILL to Trellis under load; it is started again",
            promise: Promise { writes: &[REFUSED, CUT], reads: &[REFUSED, CUT], ..INVISIBLE },
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
            about: "1,000 writes, at length 10,000, given up by their clients after 0 to 30 ms",
            strike: |stage| {
                Box::pin(async {
                    let count = ABORTED[usize::from(stage.is_long)];
                    let caller = stage.caller()?;
                    let given_up = (0..count).map(|number| give_up(&caller, stage, number));
                    let entries: Vec<Entry> = stream::iter(given_up).buffer_unordered(AT_ONCE).collect().await;
                    let in_time = entries.iter().filter(|entry| entry.outcome != Outcome::Unknown).count();
                    stage.notes.push(format!("{} of {count} requests were given up", entries.len() - in_time));
                    stage.require(entries.len() > 2 * in_time, "most of the requests were answered in time");
                    stage.entries.extend(entries);
                    Ok(())
                })
            },
            ..NOTHING
        },
    ]
}

async fn start_again(stage: &mut Stage) -> Result<()> {
    stage.trellis.start_again()?;
    stage.trellis.ready().await
}

/// A write whose client goes away at some moment of it.
async fn give_up(caller: &Caller, stage: &Stage, number: u64) -> Entry {
    let project = stage.projects[usize::try_from(number).unwrap_or_default() % stage.projects.len()];
    let title = format!("given up {number} {}", stage.user);
    // A time-ordered id ends in random bits.
    let micros = u64::try_from(clock::new_id().as_u128() % 30_000).unwrap_or_default();
    let write = caller.write(project, &title);
    let answered = tokio::time::timeout(Duration::from_micros(micros), write).await;
    let outcome = answered.map_or(Outcome::Unknown, |(_, outcome)| outcome);
    Entry { project, title, outcome }
}
