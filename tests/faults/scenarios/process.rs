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
const AT_ONCE: usize = 6;

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
            about: "1,000 requests, at length 10,000, are given up by their clients after 0 to 60 ms",
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
                    let count = ABORTED[usize::from(stage.is_long)];
                    let caller = stage.caller()?;
                    let requests = (0..count).map(|number| give_up(&caller, stage, number));
                    let given_up: Vec<GivenUp> = stream::iter(requests).buffer_unordered(AT_ONCE).collect().await;
                    let answered = given_up.iter().filter(|request| request.was_answered).count();
                    stage.notes.push(format!("{} of {count} requests were given up", given_up.len() - answered));
                    stage.require(2 * answered < given_up.len(), "most of the requests were answered in time");
                    stage.entries.extend(given_up.into_iter().filter_map(|request| request.entry));
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

/// A request whose client went away at some moment of it.
struct GivenUp {
    was_answered: bool,
    /// What a write was to write.
    entry: Option<Entry>,
}

async fn give_up(caller: &Caller, stage: &Stage, number: u64) -> GivenUp {
    let project = stage.projects[usize::try_from(number).unwrap_or_default() % stage.projects.len()];
    // A time-ordered id ends in random bits.
    let micros = u64::try_from(clock::new_id().as_u128() % 60_000).unwrap_or_default();
    let (moment, pause) = (Duration::from_micros(micros), Duration::from_micros(60_000 - micros));
    let given_up = if number.is_multiple_of(3) {
        let read = tokio::time::timeout(moment, caller.read(project, None)).await;
        GivenUp { was_answered: read.is_ok(), entry: None }
    } else {
        let title = format!("given up {number} {}", stage.user);
        let write = tokio::time::timeout(moment, caller.write(project, &title, None)).await;
        let was_answered = write.is_ok();
        let outcome = write.map_or(Outcome::Unknown, |(_, outcome)| outcome);
        GivenUp { was_answered, entry: Some(Entry { project, title, outcome }) }
    };
    // The server goes on with the write: what nobody waits for must not come faster than it is done.
    tokio::time::sleep(pause).await;
    given_up
}
