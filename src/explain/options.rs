//! The options of `trellis explain`.
#![expect(clippy::doc_markdown, reason = "the comments of options are the text of --help, where backticks are noise")]

use std::path::PathBuf;

use clap::{ArgGroup, Args};

/// What to explain, and how to show it.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("subject").required(true).args(["query", "statement", "all", "list"])))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Options {
    /// The GraphQL document to run, a query or a mutation; - reads standard input. Mutations are rolled back.
    #[arg(long, value_name = "FILE")]
    pub(super) query: Option<PathBuf>,

    /// Which of the document's operations, where it has several.
    #[arg(long, value_name = "NAME", requires = "query")]
    pub(super) operation: Option<String>,

    /// The document's variables, a JSON object.
    #[arg(long, value_name = "FILE", requires = "query")]
    pub(super) variables: Option<PathBuf>,

    /// The e-mail address of the user who sends the document. Without it, an owner of the oldest workspace.
    #[arg(long = "as", value_name = "ADDRESS", requires = "query")]
    pub(super) user: Option<String>,

    /// A statement that the server can send, with values from the database; all its variants.
    #[arg(long, value_name = "NAME")]
    pub(super) statement: Option<String>,

    /// Every statement that the server can send, likewise.
    #[arg(long)]
    pub(super) all: bool,

    /// Lists the statements' names, and what each is for.
    #[arg(long)]
    pub list: bool,

    /// Only variants whose description has this in it, as in `first page` or `status`.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["query", "list"])]
    pub(super) variant: Option<String>,

    /// Takes values from the largest project, instead of ten ordinary ones.
    #[arg(long, conflicts_with_all = ["query", "list"])]
    pub(super) largest: bool,

    /// Shows the generic plan: the one for any values, which PostgreSQL may choose from a prepared statement's sixth
    /// execution on.
    #[arg(long)]
    pub(super) generic: bool,

    /// Shows the text of each statement and its values too.
    #[arg(long)]
    pub(super) sql: bool,

    /// Shows the plans only of statements of which there is something to say.
    #[arg(long)]
    pub(super) brief: bool,

    /// Writes JSON: { user, planning, statements, findings, errors }.
    ///
    /// A statement is { name, variant, target, door, keys, rows, ms, planning_ms, buffers, indexes, sql, values,
    /// findings, explain }, where `explain` is what PostgreSQL's EXPLAIN (FORMAT JSON) said. A finding is { kind, node,
    /// table, index, figures, observation, advice }; its kind is one of sequential_scan, sort, misestimate,
    /// function_on_column, unused_leading_column, heap_fetches, rows_removed, spill. Errors are those that the server
    /// would send.
    #[arg(long, conflicts_with_all = ["sql", "brief", "list"])]
    pub(super) json: bool,

    /// Ends with exit code 1 where there is something to be said of a plan, for use in scripts.
    #[arg(long)]
    pub(super) fail_on_findings: bool,
}
