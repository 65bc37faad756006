//! What a check says: a verdict, the figures that it rests on, what they mean, and what to do.

use serde::Serialize;

/// The parts of the report, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// Whether the servers are there, and are what they are taken for.
    Connection,
    /// Whether the replicas follow, and what that costs the primary.
    Replication,
    /// Whether the indexes of the design are there, whole, and used; and no others.
    Index,
    /// What the planner and index-only scans rest on, and who keeps it fresh.
    Statistics,
    /// Tables that are read from end to end.
    Scan,
    /// Transactions that hold back the cleaning up.
    Transaction,
    /// How primary keys are made.
    Key,
    /// Settings that decide between safe and lost, fast and slow.
    Setting,
}

impl Area {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Connection => "Connections",
            Self::Replication => "Replication",
            Self::Index => "Indexes",
            Self::Statistics => "Statistics and vacuum",
            Self::Scan => "Sequential scans",
            Self::Transaction => "Transactions",
            Self::Key => "Keys",
            Self::Setting => "Settings",
        }
    }
}

/// One question of the doctor's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    pub area: Area,
    pub name: &'static str,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It costs something, or will; or it cannot be told.
    Warn,
    /// Something is lost, refused or stands still, now or after the next accident.
    Fail,
}

/// What the figures of one check say, before it is said of which server.
#[derive(Debug)]
pub(super) struct Judgement {
    verdict: Verdict,
    found: String,
    meaning: String,
    remedy: Vec<String>,
}

impl Judgement {
    pub fn ok(found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, found: found.into(), meaning: String::new(), remedy: Vec::new() }
    }

    pub fn warn(found: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, meaning: meaning.into(), ..Self::ok(found) }
    }

    pub fn fail(found: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(found, meaning) }
    }

    /// Adds one thing to do; a command can be pasted.
    pub fn remedy(mut self, line: impl Into<String>) -> Self {
        self.remedy.push(line.into());
        self
    }

    /// Adds several things to do.
    pub fn remedies(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.remedy.extend(lines);
        self
    }

    pub fn of(self, server: &str, check: Check) -> Finding {
        let Self { verdict, found, meaning, remedy } = self;
        Finding { area: check.area, check: check.name, server: server.to_owned(), verdict, found, meaning, remedy }
    }
}

/// One line of the report.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Its part of the report.
    pub area: Area,
    /// What was looked at.
    pub check: &'static str,
    /// Where: `primary`, `replica-1`, …
    pub server: String,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was seen, with figures.
    pub found: String,
    /// What follows from it; empty where nothing does.
    pub meaning: String,
    /// What to do, a command or a sentence each; empty where there is nothing.
    pub remedy: Vec<String>,
}
