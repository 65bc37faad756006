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
    pub faults: Vec<Findings>,
    pub total: Findings,
}

impl Report {
    pub fn new(faults: Vec<Findings>) -> Self {
        let mut total = Findings { name: "all".to_owned(), ..Findings::default() };
        for findings in &faults {
            // The sum needs no list of what each had to say.
            let plain = Findings { notes: Vec::new(), broken: Vec::new(), skipped: None, ..findings.clone() };
            total.add(plain);
        }
        Self { faults, total }
    }

    pub fn is_kept(&self) -> bool {
        self.faults.iter().all(|findings| findings.broken.is_empty())
    }

    /// The table, and under it what was broken and what was left out.
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
        let mut text = format!("{table}\n");
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

fn row(findings: &Findings, verdict: &str) -> Vec<String> {
    let share = |stale: u64, reads: u64| {
        let percent = stale * 100 / reads.max(1);
        if stale > 0 && percent == 0 { "<1 %".to_owned() } else { format!("{percent} %") }
    };
    let codes = |what: &str, codes: &BTreeMap<String, u64>| {
        let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{count} {code}")).collect();
        (!codes.is_empty()).then(|| format!("{what}: {}", codes.join(", ")))
    };
    let codes = [codes("writes", &findings.codes_of_writes), codes("reads", &findings.codes_of_reads)];
    vec![
        findings.name.clone(),
        findings.acknowledged.to_string(),
        findings.unknown.to_string(),
        findings.lost.to_string(),
        findings.misapplied.to_string(),
        findings.reads_with_token.to_string(),
        findings.stale_with_token.to_string(),
        share(findings.stale_without_token, findings.reads_without_token),
        findings.in_transaction.to_string(),
        findings.worst_write_ms.to_string(),
        findings.worst_read_ms.to_string(),
        findings.worst_recovery_ms.map_or("-".to_owned(), |time| time.to_string()),
        verdict.to_owned(),
        codes.into_iter().flatten().collect::<Vec<_>>().join("; "),
    ]
}
