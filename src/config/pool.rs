//! Settings of the connections to the database.

use clap::Args;

/// What --help calls them.
pub(super) const HEADING: &str = "Database connections";

/// How many connections each pool has, and how long anything may take.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct PoolSettings {
    /// Processor cores of a database host. 2 x cores + disks is how many statements it works on at once, and how many
    /// connections all instances together have to it. By default as many as this machine has, which is right for the
    /// private mode; tell it where the database is elsewhere.
    #[arg(long, env = "TRELLIS_DATABASE_CORES", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1024), global = true)]
    pub database_cores: Option<u32>,

    /// Disks of a database host that work at the same time.
    #[arg(long, env = "TRELLIS_DATABASE_DISKS", default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u32).range(0..=1024), global = true)]
    pub database_disks: u32,

    /// Instances of Trellis that share the database. Each takes an equal part of the connections.
    #[arg(long, env = "TRELLIS_INSTANCES", default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1000), global = true)]
    pub instances: u32,

    /// Connections to the primary instead of the computed number. Too few: requests queue. Too many: the database's
    /// cores are shared by too many statements at once, and each is slower.
    #[arg(long, env = "TRELLIS_PRIMARY_CONNECTIONS", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1000), global = true)]
    pub primary_connections: Option<u32>,

    /// Connections to each replica, and to the primary for reports that no replica serves, instead of the computed
    /// numbers. They are capped apart from the others, so that a dashboard cannot starve the rest.
    #[arg(long, env = "TRELLIS_REPORT_CONNECTIONS", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1000), global = true)]
    pub report_connections: Option<u32>,

    /// Milliseconds to wait for a free connection before OVERLOADED.
    #[arg(long, env = "TRELLIS_ACQUIRE_TIMEOUT_MS", default_value_t = 1_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=60_000), global = true)]
    pub acquire_timeout_ms: u64,

    /// Percent of each pool's connections, and of the requests that are worked on, that one workspace and one caller may
    /// have at a time, rounded up and less than all: what is left is for the others. It holds as soon as the server has
    /// met a second workspace. 100 is no limit; then too, whoever has the fewest comes next.
    #[arg(long, env = "TRELLIS_WORKSPACE_SHARE", default_value_t = 75, value_name = "PERCENT",
        value_parser = clap::value_parser!(u32).range(1..=100), global = true)]
    pub workspace_share: u32,

    /// Milliseconds that one statement on the primary may take.
    #[arg(long, env = "TRELLIS_STATEMENT_TIMEOUT_MS", default_value_t = 5_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=600_000), global = true)]
    pub statement_timeout_ms: u64,

    /// Milliseconds that a statement may wait for a lock, then TIMEOUT: a migration, or whoever works on the database by
    /// hand, may hold one for long. Whoever waits keeps a connection from the others, and writes to one row come after each
    /// other. Too short: writes fail that would have had their turn. Too long: one lock that is held occupies every
    /// connection. A statement that may take less gives up when that is over.
    #[arg(long, env = "TRELLIS_LOCK_TIMEOUT_MS", default_value_t = 1_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=600_000), global = true)]
    pub lock_timeout_ms: u64,

    /// Milliseconds that one statement of a report may take.
    #[arg(long, env = "TRELLIS_REPORT_TIMEOUT_MS", default_value_t = 8_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=600_000), global = true)]
    pub report_timeout_ms: u64,

    /// Milliseconds after which a statement is told in the log, with its name, the operation and the request id, and
    /// without its values. 0 tells of none.
    #[arg(long, env = "TRELLIS_SLOW_STATEMENT_MS", default_value_t = 500, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(0..=600_000), global = true)]
    pub slow_statement_ms: u64,

    /// Milliseconds that a replica may be behind and still be read; past that the primary is.
    #[arg(long, env = "TRELLIS_MAX_STALENESS_MS", default_value_t = 30_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(500..=86_400_000), global = true)]
    pub max_staleness_ms: u64,

    /// Reads the rows of queries from replicas too, as reports always are. A client that sends its consistency tokens back
    /// sees what it has written; one that does not may see data as old as --max-staleness-ms. Mutations, and what is
    /// selected under them, stay on the primary.
    #[arg(long, env = "TRELLIS_READ_FROM_REPLICAS", value_parser = clap::builder::FalseyValueParser::new(), global = true)]
    pub read_from_replicas: bool,
}
