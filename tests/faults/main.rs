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
use stage::{Length, Stage};

#[expect(clippy::struct_excessive_bools, reason = "each is a word on the command line")]
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
    /// Plays each for a moment only: all of them in three minutes, for CI.
    #[arg(long, conflicts_with = "minutes")]
    short: bool,
    /// Plays only faults whose names contain this; may come several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Lists the faults, and plays none.
    #[arg(long)]
    list: bool,
    /// Prints the findings as JSON.
    #[arg(long)]
    json: bool,
    /// Multiplies the times that are promised, for a machine that is busy with other things. What must never happen
    /// must not happen on that either.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    slack: f64,
    /// Keeps the servers' directories, with all logs.
    #[arg(long)]
    keep: bool,
}

impl Options {
    fn length(&self) -> Length {
        match (self.short, self.minutes) {
            (true, _) => Length::SHORT,
            (false, None) => Length::USUAL,
            (false, Some(_)) => Length::LONG,
        }
    }
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
    runtime.block_on(async { run(&options).await.unwrap_or_else(|error| fail(&error)) })
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
    let (began, load) = (Instant::now(), load_average());
    let mut played = Played { options, all: Vec::new(), cluster: None, postgresql: String::new(), rounds: 0 };
    let is_whole = tokio::select! {
        ended = played.rounds(&scenarios) => ended.map(|()| true)?,
        // What was found until then is told.
        _ = tokio::signal::ctrl_c() => false,
    };
    let is_full = is_whole && options.only.is_empty() && !options.short;
    let full_rounds = if is_full { played.rounds } else { 0 };
    let report = Report::new(played.conditions(began, &load), std::mem::take(&mut played.all), full_rounds);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", report.text());
    }
    Ok(if is_whole && report.is_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What has been played so far.
struct Played<'a> {
    options: &'a Options,
    all: Vec<Findings>,
    /// Servers that nothing has happened to.
    cluster: Option<Cluster>,
    postgresql: String,
    rounds: u64,
}

impl Played<'_> {
    /// Plays one round at least, and begins none after the time is up.
    async fn rounds(&mut self, scenarios: &[Scenario]) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60 * self.options.minutes.unwrap_or(0));
        loop {
            for (number, scenario) in scenarios.iter().enumerate() {
                if self.rounds > 0 && Instant::now() > end {
                    return Ok(());
                }
                let began = Instant::now();
                let findings = self.one(scenario).await?;
                let verdict = findings.verdict();
                let seconds = began.elapsed().as_secs_f64();
                eprintln!("{:3} of {} {:20} {verdict:8} {seconds:5.1} s", number + 1, scenarios.len(), scenario.name);
                match self.all.iter_mut().find(|known| known.name == findings.name) {
                    Some(known) => known.add(findings),
                    None => self.all.push(findings),
                }
            }
            self.rounds += 1;
            if Instant::now() > end {
                return Ok(());
            }
        }
    }

    /// Plays one, on the servers that are there, or on new ones.
    async fn one(&mut self, scenario: &Scenario) -> Result<Findings> {
        let cluster = match self.cluster.take() {
            Some(cluster) => cluster,
            None => Cluster::new(self.options.keep).await?,
        };
        if self.postgresql.is_empty() {
            self.postgresql = cluster.servers[0].one("SHOW server_version").await?;
        }
        let mut stage = Stage::set(cluster, scenario.words, self.options.length(), self.options.slack).await?;
        match play(scenario, &mut stage).await {
            Ok(findings) => {
                if !scenario.spends_cluster {
                    self.cluster = Some(stage.cluster);
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

    /// How it was played, for whoever reads the figures.
    fn conditions(&self, began: Instant, load: &str) -> String {
        let seconds = began.elapsed().as_secs();
        let words: Vec<String> = std::env::args().skip(2).collect();
        let command = ["bin/faults".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ");
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        format!(
            "`{command}`: {} faults, {} whole rounds, {seconds} s; PostgreSQL {}, a {build} build, {cores} cores with a \
             load of {load} before and {} after",
            self.all.len(),
            self.rounds,
            self.postgresql,
            load_average()
        )
    }
}

/// How many processes wanted to run at a time, in the last minute.
fn load_average() -> String {
    let all = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    all.split_whitespace().next().unwrap_or("?").to_owned()
}
