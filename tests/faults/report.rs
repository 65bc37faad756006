//! All findings as one table for a person, or as JSON for a machine.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::findings::Findings;

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
            let plain = Findings {
                notes: Vec::new(),
                broken: Vec::new(),
                codes: BTreeMap::new(),
                sources: BTreeMap::new(),
                skipped: None,
                ..findings.clone()
            };
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
        table.load_style(presets::ASCII_MARKDOWN).set_header([
            "fault",
            "writes",
            "unknown",
            "lost",
            "twice",
            "reads with token",
            "stale",
            "without",
            "in tx",
            "clients saw",
            "write ms",
            "read ms",
            "back ms",
            "",
        ]);
        for findings in self.faults.iter().chain([&self.total]) {
            table.add_row(row(findings));
        }
        for (number, column) in table.column_iter_mut().enumerate() {
            if ![0, 9, 13].contains(&number) {
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

fn row(findings: &Findings) -> Vec<String> {
    let share = |stale: u64, reads: u64| {
        let percent = stale * 100 / reads.max(1);
        if stale > 0 && percent == 0 { "<1 %".to_owned() } else { format!("{percent} %") }
    };
    let codes: Vec<String> = findings.codes.iter().map(|(code, count)| format!("{code} {count}")).collect();
    let verdict = match () {
        () if findings.skipped.is_some() => "skipped",
        () if findings.broken.is_empty() => "kept",
        () => "BROKEN",
    };
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
        codes.join(", "),
        findings.worst_write_ms.to_string(),
        findings.worst_read_ms.to_string(),
        findings.worst_recovery_ms.map_or("-".to_owned(), |time| time.to_string()),
        verdict.to_owned(),
    ]
}
