//! All findings as one table for a person, or as JSON for a machine.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::findings::Findings;

/// The columns; those from the number on are text, like the first.
const HEADER: [&str; 14] = [
    "fault",
    "writes",
    "unknown",
    "lost",
    "twice",
    "token reads",
    "stale",
    "without token",
    "in transaction",
    "write ms",
    "read ms",
    "back ms",
    "promise",
    "what clients saw",
];
const TEXTS_FROM: usize = 12;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How they were found.
    pub conditions: String,
    pub faults: Vec<Findings>,
    pub total: Findings,
    /// What was promised of all of them together, and broken.
    pub broken: Vec<String>,
}

/// How many reads with a token a round of all faults makes at least, of which none may be stale.
const READS_WITH_TOKEN: u64 = 10_000;

impl Report {
    /// `rounds` are those in which every fault was played at length.
    pub fn new(conditions: String, faults: Vec<Findings>, rounds: u64) -> Self {
        let mut total = Findings { name: "all".to_owned(), ..Findings::default() };
        for findings in &faults {
            // The sum needs no list of what each had to say.
            let plain = Findings { notes: Vec::new(), broken: Vec::new(), skipped: None, ..findings.clone() };
            total.add(plain);
        }
        let (reads, promised) = (total.reads_with_token, rounds * READS_WITH_TOKEN);
        let broken = (reads < promised).then(|| {
            format!("only {} reads with a token were answered, instead of {}", grouped(reads), grouped(promised))
        });
        Self { conditions, faults, total, broken: broken.into_iter().collect() }
    }

    pub fn is_kept(&self) -> bool {
        self.broken.is_empty() && self.faults.iter().all(|findings| findings.broken.is_empty())
    }

    /// What it comes to.
    fn sum(&self) -> String {
        let all = &self.total;
        format!(
            "of {} acknowledged writes {} lost, {} applied twice; of {} reads with a token {} stale, of {} without one {} \
             ({}); {} connections left in a transaction",
            grouped(all.acknowledged),
            grouped(all.lost),
            grouped(all.misapplied),
            grouped(all.reads_with_token),
            grouped(all.stale_with_token),
            grouped(all.reads_without_token),
            grouped(all.stale_without_token),
            share(all.stale_without_token, all.reads_without_token),
            grouped(all.in_transaction)
        )
    }

    /// The table, in Markdown, and under it what was broken and what was left out.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header(HEADER);
        for findings in &self.faults {
            table.add_row(row(findings, findings.verdict()));
        }
        table.add_row(row(&self.total, if self.is_kept() { "kept" } else { "BROKEN" }));
        for (number, column) in table.column_iter_mut().enumerate() {
            if (1..TEXTS_FROM).contains(&number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = format!("{}:\n\n{}\n\n{}\n\n", self.conditions, aligned(&table), self.sum());
        for sentence in &self.broken {
            let _ = writeln!(text, "BROKEN  all: {sentence}");
        }
        for findings in &self.faults {
            let lines = [("BROKEN", &findings.broken), ("note", &findings.notes)];
            for (word, sentences) in lines {
                for sentence in sentences {
                    let _ = writeln!(text, "{word}  {}: {sentence}", findings.name);
                }
            }
            if let Some(reason) = &findings.skipped {
                let _ = writeln!(text, "skipped  {}: {reason}", findings.name);
            }
        }
        text
    }
}

/// A table whose numbers are aligned on the right by Markdown too.
fn aligned(table: &Table) -> String {
    let mut lines: Vec<String> = table.lines().collect();
    if let Some(rule) = lines.get_mut(1) {
        let columns = rule.trim_matches('|').split('|').enumerate();
        let columns = columns.map(|(number, dashes)| {
            if (1..TEXTS_FROM).contains(&number) { format!("{}:", &dashes[1..]) } else { dashes.to_owned() }
        });
        *rule = format!("|{}|", columns.collect::<Vec<_>>().join("|"));
    }
    lines.join("\n")
}

/// With a comma at each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

fn share(stale: u64, reads: u64) -> String {
    let percent = stale * 100 / reads.max(1);
    if stale > 0 && percent == 0 { "<1 %".to_owned() } else { format!("{percent} %") }
}

fn row(findings: &Findings, verdict: &str) -> Vec<String> {
    let codes = |what: &str, codes: &BTreeMap<String, u64>| {
        let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{count} {code}")).collect();
        (!codes.is_empty()).then(|| format!("{what}: {}", codes.join(", ")))
    };
    let codes = [codes("writes", &findings.codes_of_writes), codes("reads", &findings.codes_of_reads)];
    vec![
        findings.name.clone(),
        grouped(findings.acknowledged),
        grouped(findings.unknown),
        grouped(findings.lost),
        grouped(findings.misapplied),
        grouped(findings.reads_with_token),
        grouped(findings.stale_with_token),
        share(findings.stale_without_token, findings.reads_without_token),
        grouped(findings.in_transaction),
        grouped(findings.worst_write_ms),
        grouped(findings.worst_read_ms),
        findings.worst_recovery_ms.map_or("-".to_owned(), grouped),
        verdict.to_owned(),
        codes.into_iter().flatten().collect::<Vec<_>>().join("; "),
    ]
}
