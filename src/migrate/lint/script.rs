//! What is linted: the SQL of one migration in one direction, or of a file, parsed.

use std::path::Path;

use anyhow::Context;
use migration::File;
use squawk_syntax::ast::{self, AstNode};
use squawk_syntax::{Parse, SourceFile, SyntaxKind};

use crate::database::administration::LOCK_TIMEOUT;
use crate::migrate::recording::{Direction, record};

/// The SQL of one migration.
pub struct Script {
    /// The migration's name and direction, or the file's path.
    pub name: String,
    /// A file goes up.
    pub direction: Direction,
    /// The comment on top, without its marks.
    pub heading: String,
    /// Whether it runs in a transaction that its text does not show.
    pub is_in_transaction: bool,
    /// What is sent.
    pub text: String,
    /// The same, parsed.
    pub parsed: Parse<SourceFile>,
}

impl Script {
    /// What a migration of ours sends.
    pub async fn of_migration(file: &File, direction: Direction) -> anyhow::Result<Self> {
        let name = file.migration.name();
        let mut statements = record(file.migration.as_ref(), direction)
            .await
            .with_context(|| format!("{name} cannot be read without a database: send its SQL without asking first"))?;
        let is_in_transaction = file.migration.use_transaction() != Some(false);
        if !is_in_transaction {
            // Such a migration cannot say so itself; `trellis migrate` connects with it.
            statements.insert(0, format!("SET lock_timeout = '{LOCK_TIMEOUT}'"));
        }
        let way = if direction == Direction::Up { "up" } else { "down" };
        let text = joined(statements);
        Ok(Self::new(format!("{name} {way}"), direction, heading(file.text, "//!"), is_in_transaction, text))
    }

    /// A file, each of whose statements is a transaction unless it says BEGIN.
    pub fn of_file(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("{name} cannot be read"))?;
        Ok(Self::new(name, Direction::Up, heading(&text, "--"), false, text))
    }

    fn new(name: String, direction: Direction, heading: String, is_in_transaction: bool, text: String) -> Self {
        let parsed = SourceFile::parse(&text);
        Self { name, direction, heading, is_in_transaction, text, parsed }
    }

    /// Its statements, in order.
    pub fn statements(&self) -> impl Iterator<Item = ast::Stmt> {
        self.parsed.tree().stmts()
    }

    /// The comments in its SQL, without their marks.
    pub fn comments(&self) -> Vec<String> {
        let elements = self.parsed.syntax_node().descendants_with_tokens();
        let comments = elements.filter(|element| element.kind() == SyntaxKind::COMMENT);
        comments.map(|comment| bare(&comment.to_string()).to_owned()).collect()
    }

    /// The statement at a place in the text, on one line.
    pub fn statement_at(&self, offset: usize) -> String {
        let holds = |statement: &ast::Stmt| usize::from(statement.syntax().text_range().end()) > offset;
        self.statements().find(holds).map(|statement| excerpt(&statement)).unwrap_or_default()
    }
}

/// Statements as one text. Each semicolon has a line of its own, where no comment hides it.
pub fn joined(statements: impl IntoIterator<Item = String>) -> String {
    statements.into_iter().flat_map(|statement| [statement, "\n;\n".to_owned()]).collect()
}

/// A statement on one line, cut where it is long.
fn excerpt(statement: &ast::Stmt) -> String {
    const LENGTH: usize = 100;
    let text = statement.syntax().text().to_string();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}

/// The lines that a text begins with and that carry the mark of a comment.
fn heading(text: &str, mark: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| line.starts_with(mark));
    lines.map(|line| line.trim_start_matches(mark).trim()).collect::<Vec<_>>().join("\n")
}

fn bare(comment: &str) -> &str {
    comment.trim_start_matches("--").trim_start_matches("/*").trim_end_matches("*/").trim()
}
