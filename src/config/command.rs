//! What the binary can do: its subcommands.

use clap::Subcommand;

use crate::migrate::{lint, rehearsal};
use crate::{bench, doctor, explain, seed};

/// What the binary can do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Answers GraphQL over HTTP until it is stopped with Ctrl-C or SIGTERM. This is the default.
    Serve,
    /// Brings the database's schema up, takes it down, says where it stands, or checks how it would get there.
    Migrate {
        /// What to do.
        #[command(subcommand)]
        command: MigrateCommand,
    },
    /// Fills the database: an empty one with the demo, or with --tasks any one with generated data at size.
    ///
    /// The demo is 3 workspaces, 10 people and 300 tasks; it is not made where there are users.
    ///
    /// With --tasks, a data set is added to what is there: tasks over two years with their comments, in projects of
    /// different sizes, a tenth of them deleted. The same options give the same ids and texts, on every day and machine;
    /// other options give another data set beside it. It is written in transactions of 1,000 tasks: a run that was
    /// interrupted is continued by the same command, and of two runs at once each does a part.
    Seed(seed::Options),
    /// Prints the GraphQL schema.
    Schema {
        /// Compares it with ./schema.graphql instead, and fails where they differ.
        #[arg(long)]
        check: bool,
    },
    /// Shows how PostgreSQL runs statements: plan, rows estimated and real, buffers, indexes, and what to do.
    ///
    /// With --query, a document is executed as the server would execute it, and each statement that it took is
    /// explained on the server that ran it. With --statement, one that the server can send. Both run in transactions
    /// that are rolled back.
    Explain(explain::Options),
    /// Prints a bearer token for a user, signed with the configured secret.
    Token {
        /// The user's e-mail address.
        #[arg(long, value_name = "ADDRESS")]
        email: String,
        /// How long the token is valid, in hours.
        #[arg(long, default_value_t = 24 * 30, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..))]
        hours: u32,
    },
    /// Examines the database servers: what is wrong, what it means, what to do. Reads only.
    Doctor(doctor::Options),
    /// Measures what the design claims, on generated data in a scratch database.
    Bench {
        /// What to measure.
        #[command(subcommand)]
        command: bench::Command,
    },
    /// Runs only the private PostgreSQL of the data directory, for psql and other tools, until Ctrl-C.
    Cluster {
        /// Not durable; ends when standard input closes, and deletes the data directory then, which must be new or empty. For
        /// tests.
        #[arg(long)]
        temporary: bool,
    },
}

/// What to do with migrations.
#[derive(Clone, Debug, Subcommand)]
pub enum MigrateCommand {
    /// What to do with the database's schema.
    #[command(flatten)]
    Action(MigrateAction),
    /// Checks the SQL of every migration for what blocks, rewrites or breaks the version before. Needs no database.
    ///
    /// Each finding says what to write instead, and any finding is a failure. A comment in the SQL lets one through:
    /// `-- allow RULE: reason`.
    Lint(lint::Options),
    /// Runs migrations on generated data while others read and write, and says what each step does to them.
    ///
    /// In a scratch database with as many rows as production has: those that are pending, a named one, or a file of SQL.
    /// How long does it take, under which lock, who waits for it and how long, what does it write anew?
    Rehearse(rehearsal::Options),
}

/// What to do with the database's schema.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum MigrateAction {
    /// Applies every pending migration.
    Up,
    /// Takes the newest migrations back. Their data is lost.
    Down {
        /// How many.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        steps: u32,
    },
    /// Lists every migration and whether it is applied.
    Status,
}
