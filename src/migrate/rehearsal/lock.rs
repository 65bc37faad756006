//! A lock on a table, as strong as it is.

use std::fmt::{Display, Formatter, Result as FormatResult};

use serde::{Serialize, Serializer};

/// The modes, weakest first: as `pg_locks` names them, and as the documentation does.
const MODES: [(&str, &str); 8] = [
    ("AccessShareLock", "ACCESS SHARE"),
    ("RowShareLock", "ROW SHARE"),
    ("RowExclusiveLock", "ROW EXCLUSIVE"),
    ("ShareUpdateExclusiveLock", "SHARE UPDATE EXCLUSIVE"),
    ("ShareLock", "SHARE"),
    ("ShareRowExclusiveLock", "SHARE ROW EXCLUSIVE"),
    ("ExclusiveLock", "EXCLUSIVE"),
    ("AccessExclusiveLock", "ACCESS EXCLUSIVE"),
];

/// A lock on a table. One that compares as greater is stronger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lock {
    /// Its place among the modes.
    mode: usize,
    table: String,
}

impl Lock {
    /// Of a mode as `pg_locks` names it.
    pub fn of(mode: &str, table: String) -> Option<Self> {
        let mode = MODES.iter().position(|(name, _)| *name == mode)?;
        Some(Self { mode, table })
    }

    /// Who waits for it.
    pub fn blocks(&self) -> &'static str {
        match MODES[self.mode].1 {
            "ACCESS EXCLUSIVE" => "nobody reads or writes the table while it is held or waited for",
            "SHARE" | "SHARE ROW EXCLUSIVE" | "EXCLUSIVE" => "nobody writes the table while it is held or waited for",
            _ => "writers of the same rows wait",
        }
    }
}

impl Display for Lock {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> FormatResult {
        write!(formatter, "{} on {}", MODES[self.mode].1, self.table)
    }
}

impl Serialize for Lock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
