//! Checks the SQL of migrations for what blocks reads or writes, rewrites a table, or breaks the version before.
//!
//! squawk does what it can; `lint/rules.rs` has the rest. It looks at text alone: how long a statement really blocks is
//! for `rehearse` to say. A finding is let through by a comment in the SQL, `-- allow RULE: reason`, and by nothing else.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

mod rules;
pub(super) mod script;
mod squawk;

use crate::migrate::recording::Direction;
use script::Script;

/// What to check.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// SQL files to check beside Trellis's own migrations, each as a migration that comes after them.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Prints the findings as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Something that should be written otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The migration and its direction, or the file.
    pub migration: String,
    /// The rule's name, as in `-- allow RULE: reason`.
    pub rule: String,
    /// The statement, on one line.
    pub statement: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to write instead.
    pub instead: String,
    /// Where in the SQL it is, in bytes.
    #[serde(skip)]
    offset: usize,
}

impl Finding {
    fn at(script: &Script, offset: usize, rule: &str, problem: String, instead: &str) -> Self {
        let statement = script.statement_at(offset);
        let (migration, rule, instead) = (script.name.clone(), rule.to_owned(), instead.to_owned());
        Self { migration, rule, statement, problem, instead, offset }
    }

    /// An allowance that is none.
    fn of_comment(script: &Script, comment: &str, problem: &str) -> Self {
        let instead = "`-- allow RULE: reason`, where there is a reason; otherwise nothing".to_owned();
        let (rule, problem) = ("allow-without-reason".to_owned(), problem.to_owned());
        let statement = format!("-- {comment}");
        Self { migration: script.name.clone(), rule, statement, problem, instead, offset: script.text.len() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { migration, rule, statement, problem, instead, .. } = self;
        writeln!(formatter, "{migration}: {rule}\n  {statement}\n  problem: {problem}\n  instead: {instead}")
    }
}

/// Checks, and says what was found, each finding with what to write instead. Needs no database.
///
/// # Errors
/// There are findings, or a file cannot be read.
pub async fn run(options: &Options, mut say: impl FnMut(String)) -> anyhow::Result<()> {
    let migrations = migration::files();
    let findings = findings(&migrations, &options.files).await?;
    let number = match findings.len() {
        0 => "no findings".to_owned(),
        1 => "1 finding".to_owned(),
        many => format!("{many} findings"),
    };
    if options.json {
        say(serde_json::to_string_pretty(&findings)?);
    } else {
        for finding in &findings {
            say(finding.to_string());
        }
        let files = match options.files.len() {
            1 => "1 file".to_owned(),
            many => format!("{many} files"),
        };
        say(format!("{} migrations, up and down, and {files}: {number}", migrations.len()));
    }
    anyhow::ensure!(findings.is_empty(), "{number}");
    Ok(())
}

/// What is found in migrations, in both directions, and then in files, in their order.
///
/// # Errors
/// A migration cannot be recorded, or a file cannot be read.
pub async fn findings(migrations: &[migration::File], files: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    let mut scripts = Vec::new();
    for file in migrations {
        scripts.push(Script::of_migration(file, Direction::Up).await?);
        scripts.push(Script::of_migration(file, Direction::Down).await?);
    }
    for path in files {
        scripts.push(Script::of_file(path)?);
    }
    let (mut earlier, mut findings) = (String::new(), Vec::new());
    for script in &scripts {
        findings.extend(check(script, &earlier));
        if script.direction == Direction::Up {
            earlier += &squawk::table_changes(script);
        }
    }
    Ok(findings)
}

/// The findings in one script that no comment allows, and the comments that allow nothing.
fn check(script: &Script, earlier: &str) -> Vec<Finding> {
    let mut findings: Vec<Finding> = script
        .parsed
        .errors()
        .iter()
        .map(|error| {
            let offset = error.range().start().into();
            Finding::at(script, offset, "syntax-error", error.message().to_owned(), "SQL that PostgreSQL understands")
        })
        .collect();
    findings.extend(squawk::check(script, earlier));
    findings.extend(rules::check(script));
    for comment in &script.comments() {
        if comment.starts_with("squawk-ignore") {
            findings.push(Finding::of_comment(script, comment, "It lets findings through without a reason."));
            continue;
        }
        let Some(allowance) = comment.strip_prefix("allow ") else { continue };
        let (rule, reason) = allowance.split_once(':').unwrap_or((allowance, ""));
        let before = findings.len();
        if !reason.trim().is_empty() {
            findings.retain(|finding| finding.rule != rule.trim());
        }
        if findings.len() == before {
            let problem = "It has no reason, or there is nothing to let through.";
            findings.push(Finding::of_comment(script, comment, problem));
        }
    }
    findings.sort_by_key(|finding| finding.offset);
    findings
}
