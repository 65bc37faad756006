//! What came of a fault, and which promises it broke.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::client::{Event, Kind};
use crate::ledger::{Audit, Entry, Outcome};
use crate::scenario::Promise;

/// The figures of a scenario, of one round or of several.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    pub name: String,
    pub rounds: u64,
    pub acknowledged: u64,
    pub refused: u64,
    /// Those that became known by sending them again.
    pub unknown: u64,
    /// Acknowledged, and gone.
    pub lost: u64,
    /// Applied more than once, under another id than was told, or although they were refused.
    pub misapplied: u64,
    pub reads_with_token: u64,
    pub stale_with_token: u64,
    pub reads_without_token: u64,
    pub stale_without_token: u64,
    pub in_transaction: u64,
    /// How often each code but OK was seen.
    pub codes_of_writes: BTreeMap<String, u64>,
    pub codes_of_reads: BTreeMap<String, u64>,
    /// How many reads each server answered while the fault lasted.
    pub sources: BTreeMap<String, u64>,
    pub worst_write_ms: u64,
    pub worst_read_ms: u64,
    #[serde(skip)]
    pub recovered: Option<Duration>,
    pub worst_recovery_ms: Option<u64>,
    pub notes: Vec<String>,
    /// The promises that were broken.
    pub broken: Vec<String>,
    /// Why it was not played.
    pub skipped: Option<String>,
}

impl Findings {
    pub fn of(name: &str, during: &[Event], outside: &[Event]) -> Self {
        let mut findings = Self { name: name.to_owned(), rounds: 1, ..Self::default() };
        for event in during.iter().chain(outside) {
            let (reads, stale) = match event.kind {
                Kind::Write => continue,
                Kind::ReadWithToken => (&mut findings.reads_with_token, &mut findings.stale_with_token),
                Kind::ReadWithoutToken => (&mut findings.reads_without_token, &mut findings.stale_without_token),
            };
            if event.is_ok() {
                *reads += 1;
                *stale += u64::from(event.stale);
            }
        }
        for event in during {
            let is_write = event.kind == Kind::Write;
            let codes = if is_write { &mut findings.codes_of_writes } else { &mut findings.codes_of_reads };
            if !event.is_ok() {
                *codes.entry(event.code.clone()).or_default() += 1;
            }
            if let Some(source) = &event.source {
                *findings.sources.entry(source.clone()).or_default() += 1;
            }
        }
        let worst = |is_write: bool| {
            let of_kind = during.iter().filter(|event| (event.kind == Kind::Write) == is_write);
            of_kind.map(|event| milliseconds(event.took)).max().unwrap_or_default()
        };
        (findings.worst_write_ms, findings.worst_read_ms) = (worst(true), worst(false));
        findings
    }

    pub fn writes(&mut self, entries: &[Entry], unknown: usize) {
        for entry in entries {
            match entry.outcome {
                Outcome::Acknowledged { .. } => self.acknowledged += 1,
                Outcome::Refused(_) => self.refused += 1,
                Outcome::Unknown => {}
            }
        }
        self.unknown = unknown as u64;
    }

    pub fn audited(&mut self, audit: &Audit) {
        self.lost = audit.lost.len() as u64;
        let misapplied = [
            ("applied twice", &audit.twice),
            ("refused and written", &audit.refused_and_written),
            ("written under another id than was told", &audit.confused),
        ];
        for (what, titles) in misapplied {
            self.misapplied += titles.len() as u64;
            if let Some(first) = titles.first() {
                self.broken.push(format!("{} {what}, such as {first}", titles.len()));
            }
        }
    }

    /// In a word.
    pub fn verdict(&self) -> &'static str {
        match () {
            () if !self.broken.is_empty() => "BROKEN",
            () if self.skipped.is_some() => "skipped",
            () => "kept",
        }
    }

    /// Those of another round of the same scenario.
    pub fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        for (mine, others) in [
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.refused, other.refused),
            (&mut self.unknown, other.unknown),
            (&mut self.lost, other.lost),
            (&mut self.misapplied, other.misapplied),
            (&mut self.reads_with_token, other.reads_with_token),
            (&mut self.stale_with_token, other.stale_with_token),
            (&mut self.reads_without_token, other.reads_without_token),
            (&mut self.stale_without_token, other.stale_without_token),
            (&mut self.in_transaction, other.in_transaction),
        ] {
            *mine += others;
        }
        for (mine, others) in [
            (&mut self.codes_of_writes, other.codes_of_writes),
            (&mut self.codes_of_reads, other.codes_of_reads),
            (&mut self.sources, other.sources),
        ] {
            for (name, count) in others {
                *mine.entry(name).or_default() += count;
            }
        }
        self.worst_write_ms = self.worst_write_ms.max(other.worst_write_ms);
        self.worst_read_ms = self.worst_read_ms.max(other.worst_read_ms);
        self.worst_recovery_ms = self.worst_recovery_ms.max(other.worst_recovery_ms);
        self.notes.extend(other.notes);
        self.broken.extend(other.broken);
        self.skipped = self.skipped.take().or(other.skipped);
    }
}

/// Holds the findings against what is promised. `slack` widens the times, for machines that others use too.
pub fn judge(findings: &mut Findings, promise: &Promise, [during, outside]: [&[Event]; 2], slack: f64) {
    let mut broken = Vec::new();
    if findings.lost > 0 && !promise.loses_the_last {
        broken.push(format!("{} acknowledged writes are lost", findings.lost));
    }
    if findings.stale_with_token > 0 {
        broken.push(format!("{} reads with a token were stale", findings.stale_with_token));
    }
    if findings.in_transaction > 0 {
        broken.push(format!("{} connections are left in a transaction", findings.in_transaction));
    }
    let failed: Vec<&Event> = outside.iter().filter(|event| !event.is_ok()).collect();
    if let Some(first) = failed.first() {
        broken.push(format!("{} requests failed outside of the fault, such as with {}", failed.len(), first.code));
    }
    let silent = during.iter().filter(|event| !event.says_when).count();
    if silent > 0 {
        broken.push(format!("{silent} answers of status 503 had no Retry-After"));
    }
    for (what, is_write, codes, within) in [
        ("write", true, promise.writes, promise.write_within.mul_f64(slack)),
        ("read", false, promise.reads, promise.read_within.mul_f64(slack)),
    ] {
        let is_of_kind = |event: &&Event| (event.kind == Kind::Write) == is_write;
        let of_kind = || during.iter().filter(is_of_kind);
        let usual = outside.iter().filter(is_of_kind).map(|event| event.took).max().unwrap_or_default();
        let within = within + usual;
        let unexpected = of_kind().filter(|event| !event.is_ok() && !codes.contains(&event.code.as_str()));
        let mut counts = BTreeMap::<&str, u64>::new();
        unexpected.for_each(|event| *counts.entry(&event.code).or_default() += 1);
        broken.extend(counts.iter().map(|(code, count)| format!("{count} {what}s saw {code}")));
        let late: Vec<u64> =
            of_kind().filter(|event| event.took > within).map(|event| milliseconds(event.took)).collect();
        if let Some(worst) = late.iter().max() {
            let within = milliseconds(within);
            broken.push(format!("{} {what}s took longer than {within} ms, up to {worst} ms", late.len()));
        }
    }
    findings.worst_recovery_ms = findings.recovered.map(milliseconds);
    let within = promise.recovers_within.mul_f64(slack);
    match findings.recovered {
        None => broken.push("it did not recover".to_owned()),
        Some(time) if time > within => {
            broken.push(format!("it recovered after {} ms instead of {}", milliseconds(time), milliseconds(within)));
        }
        Some(_) => {}
    }
    findings.broken.extend(broken);
}

pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
