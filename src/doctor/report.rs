//! All findings, as text for a person or as JSON for a machine.

use std::fmt::Write;

use serde::Serialize;

use super::finding::{Finding, Verdict};

/// What the doctor found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many findings of each verdict there are.
    pub summary: Summary,
    /// Every finding, by area.
    pub findings: Vec<Finding>,
}

/// How many findings of each verdict there are.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Summary {
    /// As it should be.
    pub ok: usize,
    /// Costs something, or cannot be told.
    pub warn: usize,
    /// Lost, refused or standing still.
    pub fail: usize,
}

/// Whether the text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For a terminal.
    Coloured,
    /// For a file or another program.
    Plain,
}

impl Report {
    pub(super) fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.area);
        let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
        let summary = Summary { ok: count(Verdict::Ok), warn: count(Verdict::Warn), fail: count(Verdict::Fail) };
        Self { summary, findings }
    }

    /// A line for each finding, and below what is not as it should be its meaning and its remedies.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let width = |of: fn(&Finding) -> usize| self.findings.iter().map(of).max().unwrap_or_default();
        let (servers, checks) = (width(|finding| finding.server.len()), width(|finding| finding.check.len()));
        let mut text = String::new();
        let mut area = None;
        for finding in &self.findings {
            if area != Some(finding.area) {
                let gap = if area.is_some() { "\n" } else { "" };
                let _ = writeln!(text, "{gap}{}", finding.area.title());
                area = Some(finding.area);
            }
            let Finding { server, check, found, .. } = finding;
            let verdict = word(finding.verdict, style);
            let _ = writeln!(text, "  {verdict}  {server:servers$}  {check:checks$}  {found}");
            if !finding.meaning.is_empty() {
                let _ = writeln!(text, "          means: {}", finding.meaning);
            }
            for line in &finding.remedy {
                let _ = writeln!(text, "          do:    {line}");
            }
        }
        let Summary { ok, warn, fail } = self.summary;
        let _ = write!(text, "\n{ok} OK, {warn} WARN, {fail} FAIL");
        text
    }
}

fn word(verdict: Verdict, style: Style) -> String {
    let (colour, word) = match verdict {
        Verdict::Ok => (32, "OK  "),
        Verdict::Warn => (33, "WARN"),
        Verdict::Fail => (31, "FAIL"),
    };
    match style {
        Style::Coloured => format!("\x1b[{colour}m{word}\x1b[0m"),
        Style::Plain => word.to_owned(),
    }
}

/// Bytes as a person says them.
pub(super) fn size(bytes: i64) -> String {
    let units = [(1_i64 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => {
            let tenths = bytes / (unit / 10);
            if tenths < 100 {
                format!("{}.{} {name}", tenths / 10, tenths % 10)
            } else {
                format!("{} {name}", bytes / unit)
            }
        }
        None => format!("{bytes} bytes"),
    }
}

/// Seconds as a person says them.
pub(super) fn duration(seconds: f64) -> String {
    let units = [(86_400.0, "days"), (3_600.0, "h"), (60.0, "min")];
    match units.into_iter().find(|(unit, _)| seconds >= 2.0 * unit) {
        Some((unit, name)) => format!("{:.1} {name}", seconds / unit),
        None => format!("{seconds:.1} s"),
    }
}

/// A share as a person says it.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// `1 index`, `2 indexes`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
