//! Two processes of Trellis behind `HAProxy`, on one database.

use std::process::{Command, Stdio};

use anyhow::Result;
use nix::sys::signal::Signal;

use super::NOTHING;
use crate::balancer::Balancer;
use crate::client::{Caller, OK};
use crate::instance::Instance;
use crate::ledger::{Outcome, Write};
use crate::scenario::Scenario;
use crate::stage::Stage;

/// How often a token of one is taken to the other.
const TOKENS: usize = 40;

pub fn scenarios() -> [Scenario; 2] {
    [
        Scenario {
            name: "two-instances",
            about: "every other request goes to another process; tokens of one are taken to the other",
            prepare: |stage| Box::pin(async { second(stage).await }),
            strike: |stage| Box::pin(async { exchange(stage).await }),
            ..NOTHING
        },
        Scenario {
            name: "rolling-restart",
            about: "one process after the other is stopped by SIGTERM and started again",
            prepare: |stage| Box::pin(async { second(stage).await }),
            strike: |stage| Box::pin(async { restart(stage).await }),
            ..NOTHING
        },
    ]
}

/// A second process, and `HAProxy` in front of both.
async fn second(stage: &mut Stage) -> Result<Option<String>> {
    let version = Command::new("haproxy").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        return Ok(Some("HAProxy is not installed".to_owned()));
    }
    let log = stage.cluster.directory.join("trellis-2.log");
    let second = Instance::start(&log, &stage.addresses, &["--instances", "2"]).await?;
    let balancer = Balancer::start(&stage.cluster.directory, &[stage.trellis.address, second.address]).await?;
    stage.entrance = format!("http://{}/graphql", balancer.address);
    stage.second = Some(second);
    stage.balancer = Some(balancer);
    Ok(None)
}

async fn exchange(stage: &mut Stage) -> Result<()> {
    for instance in [Some(&stage.trellis), stage.second.as_ref()].into_iter().flatten() {
        instance.is_asked().await?;
    }
    let entrance = stage.caller()?;
    let urls = [Some(stage.trellis.url()), stage.second.as_ref().map(Instance::url)];
    let callers: Vec<Caller> = urls.into_iter().flatten().map(|url| entrance.at(url)).collect();
    // A project that nobody else writes to.
    let project = stage.new_project().await?;
    let (mut good, mut bad) = (0, Vec::new());
    for number in 0..TOKENS {
        let (writer, reader) = (&callers[number % 2], &callers[(number + 1) % 2]);
        let write = Write::without_key(project, format!("exchanged {number} {project}"));
        let (reply, outcome) = writer.write(&write, None).await;
        let Outcome::Acknowledged { token: Some(token), .. } = outcome else {
            bad.push(reply.code);
            continue;
        };
        let reply = reader.read(project, Some(&token)).await;
        let is_seen = reply.code == OK && !reply.is_older_than(number as u64 + 1 - bad.len() as u64);
        if is_seen { good += 1 } else { bad.push(reply.code) }
    }
    stage.notes.push(format!("{good} of {TOKENS} tokens of one process showed the write at the other"));
    stage.require(bad.is_empty(), format!("tokens of one process did not do at the other: {bad:?}"));
    Ok(())
}

async fn restart(stage: &mut Stage) -> Result<()> {
    let Stage { trellis, second, notes, broken, .. } = stage;
    for instance in [Some(trellis), second.as_mut()].into_iter().flatten() {
        instance.signal(Signal::SIGTERM)?;
        let (status, took) = instance.ended().await?;
        notes.push(format!("one process ended after {:.1} s, {status}", took.as_secs_f64()));
        if !status.success() {
            broken.push(format!("one process ended with {status}"));
        }
        instance.start_again()?;
        instance.ready().await?;
        // HAProxy has to have seen it before the other one goes.
        instance.is_asked().await?;
    }
    Ok(())
}
