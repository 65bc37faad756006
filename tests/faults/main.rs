//! Faults, made in earnest: servers are killed, frozen, cut off and promoted under a load of writes and reads, and
//! afterwards what clients were told is compared with what the database holds. `bin/faults --help` tells more.
#![allow(missing_docs, reason = "nobody but this program calls these")]
#![allow(clippy::too_many_lines, reason = "a list of faults is as long as there are faults")]

mod balancer;
mod client;
mod cluster;
mod findings;
mod instance;
mod ledger;
mod proxy;
mod report;
mod scenario;
mod scenarios;
mod stage;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;

use cluster::Cluster;
use findings::Findings;
use report::Report;
use scenario::{Scenario, play};
use stage::Stage;

/// Makes every fault in earnest, and shows which promises were kept.
///
/// A real primary, two real streaming replicas and the built Trellis, which reaches them through proxies that can break.
/// Eight clients write and read all the time; a ledger of their writes is compared with the database afterwards. It ends
/// with code 1 where a promise was broken.
#[derive(Debug, Parser)]
#[command(name = "bin/faults")]
struct Options {
    /// Plays all faults again and again for so long. By default each is played once.
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// Plays only faults whose names contain this; may come several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Lists the faults, and plays none.
    #[arg(long)]
    list: bool,
    /// Prints the findings as JSON.
    #[arg(long)]
    json: bool,
    /// Multiplies the times that are promised, for a machine that is busy with other things.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    slack: f64,
    /// Keeps the servers' directories, with all logs.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    // As a test among others it has nothing to do: it takes minutes, and the machine for itself.
    let mut words: Vec<String> = std::env::args().collect();
    if words.get(1).map(String::as_str) != Some("run") {
        println!("the faults are run by bin/faults");
        return ExitCode::SUCCESS;
    }
    words.remove(1);
    let options = Options::parse_from(words);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    runtime.block_on(async {
        tokio::select! {
            ended = run(&options) => ended.unwrap_or_else(|error| fail(&error)),
            _ = tokio::signal::ctrl_c() => ExitCode::FAILURE,
        }
    })
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("faults: {error:#}");
    ExitCode::FAILURE
}

async fn run(options: &Options) -> Result<ExitCode> {
    let mut scenarios = scenarios::all();
    if !options.only.is_empty() {
        scenarios.retain(|scenario| options.only.iter().any(|part| scenario.name.contains(part.as_str())));
    }
    ensure!(!scenarios.is_empty(), "no fault has that name; --list shows them");
    if options.list {
        for scenario in &scenarios {
            println!("{:20} {}", scenario.name, scenario.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let report = Report::new(rounds(&scenarios, options).await?);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", report.text());
    }
    Ok(if report.is_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One round at least, and none that begins after the time is up.
async fn rounds(scenarios: &[Scenario], options: &Options) -> Result<Vec<Findings>> {
    let end = Instant::now() + Duration::from_secs(60 * options.minutes.unwrap_or(0));
    let mut all: Vec<Findings> = Vec::new();
    let mut cluster = None;
    let mut round = 1;
    loop {
        for (number, scenario) in scenarios.iter().enumerate() {
            if round > 1 && Instant::now() > end {
                return Ok(all);
            }
            let began = Instant::now();
            let findings = one(scenario, &mut cluster, options).await?;
            let verdict = findings.verdict();
            let seconds = began.elapsed().as_secs_f64();
            eprintln!("{:3} of {} {:20} {verdict:8} {seconds:5.1} s", number + 1, scenarios.len(), scenario.name);
            match all.iter_mut().find(|known| known.name == findings.name) {
                Some(known) => known.add(findings),
                None => all.push(findings),
            }
        }
        if Instant::now() > end {
            return Ok(all);
        }
        round += 1;
    }
}

/// Plays one, on the servers that are there, or on new ones.
async fn one(scenario: &Scenario, kept: &mut Option<Cluster>, options: &Options) -> Result<Findings> {
    let cluster = match kept.take() {
        Some(cluster) => cluster,
        None => Cluster::new(options.keep).await?,
    };
    let hold = Duration::from_millis(if options.minutes.is_some() { 6_000 } else { 1_500 });
    let mut stage = Stage::set(cluster, scenario.words, (hold, options.minutes.is_some())).await?;
    match play(scenario, &mut stage, options.slack).await {
        Ok(findings) => {
            if !scenario.spends_cluster {
                *kept = Some(stage.cluster);
            }
            Ok(findings)
        }
        // The next one gets servers that nothing has happened to.
        Err(error) => Ok(Findings {
            name: scenario.name.to_owned(),
            rounds: 1,
            broken: vec![format!("it could not be played to its end: {error:#}")],
            ..Findings::default()
        }),
    }
}
