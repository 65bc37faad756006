//! A fault: how it is made, how it ends, what is promised for it; and the one way in which all of them are played.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::BoxFuture;

use crate::client::{Event, WRITE_LOST};
use crate::findings::{Findings, judge};
use crate::ledger::{Entry, Outcome, audit, resolve};
use crate::proxy::Mode;
use crate::stage::{Length, Stage};

/// What is done to a stage.
pub type Step = for<'a> fn(&'a mut Stage) -> BoxFuture<'a, Result<()>>;

/// One fault.
pub struct Scenario {
    pub name: &'static str,
    /// What happens, for people.
    pub about: &'static str,
    /// Settings of Trellis beyond the defaults.
    pub words: &'static [&'static str],
    /// Clients change the tasks that they have written too, and select what has to be read for it.
    pub updates: bool,
    pub promise: Promise,
    /// What has to be there before clients begin. It says where the scenario cannot be played here.
    pub prepare: for<'a> fn(&'a mut Stage) -> BoxFuture<'a, Result<Option<String>>>,
    /// How the proxy of a server, by its number, behaves while the fault lasts.
    pub wire: Option<(usize, Mode)>,
    /// The least time that the fault lasts.
    pub lasts: fn(Length) -> Duration,
    /// Makes the fault.
    pub strike: Step,
    /// Ends it.
    pub heal: Step,
    /// The servers cannot be used for another scenario.
    pub spends_cluster: bool,
}

/// What clients may see while the fault lasts. Nothing acknowledged may be lost or applied twice, and nothing may be
/// stale, in any of them.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// Codes of writes, beside OK.
    pub writes: &'static [&'static str],
    /// Codes of reads, beside OK.
    pub reads: &'static [&'static str],
    /// Every write is answered within this, beyond what a write took at worst before the fault.
    pub write_within: Duration,
    /// Every read, likewise.
    pub read_within: Duration,
    /// From the end of the fault until nothing fails any more.
    pub recovers_within: Duration,
    /// What was acknowledged last is lost, and whoever has proof of it is told.
    pub loses_the_last: bool,
}

/// Plays a scenario. Clients are at work before, during and after the fault. The stage comes back for the next one.
pub async fn play(scenario: &Scenario, stage: &mut Stage) -> Result<Findings> {
    if let Some(reason) = (scenario.prepare)(stage).await? {
        return Ok(Findings { name: scenario.name.to_owned(), skipped: Some(reason), ..Findings::default() });
    }
    stage.begin(scenario.name, scenario.updates)?;
    tokio::time::sleep(stage.length.before).await;
    let struck = Instant::now();
    if let Some((server, mode)) = &scenario.wire {
        stage.proxies[*server].set(mode.clone());
    }
    (scenario.strike)(stage).await?;
    let lasts = (scenario.lasts)(stage.length);
    tokio::time::sleep(lasts.saturating_sub(struck.elapsed())).await;
    if let Some((server, _)) = &scenario.wire {
        let hits = stage.proxies[*server].hits();
        stage.notes.push(format!("the wire met {hits} connections, or pieces of what went along them"));
        stage.require(hits > 0, "the wire was as ever, so nothing was shown");
        stage.proxies[*server].set(Mode::Pass);
    }
    let healing = Instant::now();
    (scenario.heal)(stage).await?;
    let healed = Instant::now();
    let recovered = stage.settled(healed).await;
    let load = stage.load.take();
    let (mut entries, events) = match load {
        Some(load) => load.stop().await?,
        None => Default::default(),
    };
    entries.append(&mut stage.entries);
    if scenario.updates {
        let made = |entry: &&Entry| matches!(entry.urgent, Some(Outcome::Acknowledged { .. }));
        stage.notes.push(format!("{} of the writes were changed by another one", entries.iter().filter(made).count()));
    }
    let in_transaction = stage.left_in_transaction().await?;
    let unknown = resolve(&mut entries, &stage.caller()?).await?;
    let audit = audit(&entries, stage.primary()).await?;
    if scenario.promise.loses_the_last {
        let late = audit.lost.iter().filter(|entry| entry.told >= healing).count();
        stage.require(late == 0, format!("{late} writes are lost that were acknowledged after the promotion"));
        tell_the_lost(stage, &audit.lost).await?;
    }
    let settled = recovered.map_or_else(Instant::now, |time| healed + time);
    // What was under way when the fault began belongs to it.
    let (during, outside): (Vec<Event>, Vec<Event>) =
        events.into_iter().partition(|event| event.ended() >= struck && event.began <= settled);
    let mut findings = Findings::of(scenario.name, &during, &outside);
    findings.writes(&entries, unknown);
    findings.in_transaction = in_transaction;
    findings.recovered = recovered;
    findings.audited(&audit);
    findings.notes.append(&mut stage.notes);
    findings.broken.append(&mut stage.broken);
    judge(&mut findings, &scenario.promise, [&during, &outside], stage.slack);
    Ok(findings)
}

/// Asks with the token of every write that is lost.
async fn tell_the_lost(stage: &mut Stage, lost: &[Entry]) -> Result<()> {
    let caller = stage.caller()?;
    let (mut told, mut untold) = (0, BTreeMap::<String, u64>::new());
    for entry in lost {
        if let Outcome::Acknowledged { token: Some(token), .. } = &entry.outcome {
            let reply = caller.read(entry.write.project, Some(token)).await;
            if reply.code == WRITE_LOST { told += 1 } else { *untold.entry(reply.code).or_default() += 1 }
        }
    }
    stage.notes.push(format!("of {} lost writes {told} were told to those who asked with their tokens", lost.len()));
    stage.require(!lost.is_empty(), "nothing was lost, so nothing was shown");
    stage.require(untold.is_empty(), format!("lost writes were not told: {untold:?}"));
    Ok(())
}
