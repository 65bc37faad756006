//! Every setting, its default and why: the only reader of the environment.
#![expect(clippy::doc_markdown, reason = "the comments of settings are the text of --help, where backticks are noise")]

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::{HeaderValue, Uri};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::migrate::lint;
use crate::{bench, explain, seed};

/// The prefix of Trellis's own environment variables: an unknown one stops the start, since it is a typing mistake.
const PREFIX: &str = "TRELLIS_";

/// A GraphQL server for project management, on PostgreSQL.
///
/// Without DATABASE_URL it runs its own PostgreSQL, a primary and a streaming replica, in the data directory, and
/// fills it with a small demo. Each setting can be given as an option or as the environment variable named beside it.
#[derive(Debug, Parser)]
#[command(name = "trellis", version, max_term_width = 120, propagate_version = true)]
pub struct Arguments {
    /// What to do; to serve, when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Every setting.
    #[command(flatten)]
    pub settings: Settings,
}

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
    Doctor(crate::doctor::Options),
    /// Measures what the design claims, on generated data in a scratch database.
    Bench {
        /// What to measure.
        #[command(subcommand)]
        command: bench::Command,
    },
    /// Runs only the private PostgreSQL of the data directory, for psql and other tools, until Ctrl-C.
    Cluster {
        /// Not durable; ends when standard input closes, and deletes the data directory then. For tests.
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

/// Every setting of the server.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The directory of the private PostgreSQL and of the signing secret. Not used with --database-url.
    #[arg(long, env = "TRELLIS_DATA_DIR", default_value = ".trellis", value_name = "DIR", global = true)]
    pub data_dir: PathBuf,

    /// Where PostgreSQL's programs are (initdb, pg_ctl, …). Found by itself in the usual places.
    #[arg(long, env = "TRELLIS_POSTGRES_BIN", value_name = "DIR", global = true)]
    pub postgres_bin: Option<PathBuf>,

    /// The primary to use instead of a private PostgreSQL: postgres://user:password@host:5432/database.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true, global = true)]
    pub database_url: Option<String>,

    /// The primary's streaming replicas, separated by commas. Without any, reports read the primary.
    #[arg(
        long,
        env = "REPLICA_URLS",
        value_name = "URLS",
        value_delimiter = ',',
        hide_env_values = true,
        requires = "database_url",
        global = true
    )]
    pub replica_urls: Vec<String>,

    /// Applies pending migrations at the start. Always so in the private mode.
    #[arg(long, env = "TRELLIS_MIGRATE", value_parser = clap::builder::FalseyValueParser::new(), global = true)]
    pub migrate: bool,

    /// The address to serve on. 0.0.0.0:8080 serves every network that the machine is on.
    #[arg(long, env = "TRELLIS_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS", global = true)]
    pub listen: SocketAddr,

    /// The secret that signs and checks tokens (HS256) and seals consistency tokens, 32 bytes or more. Servers of one
    /// database share it. The private mode makes one and keeps it.
    #[arg(long, env = "TRELLIS_JWT_SECRET", value_name = "SECRET", hide_env_values = true, global = true)]
    pub jwt_secret: Option<String>,

    /// A file with the public key that checks tokens (PEM: RSA, P-256 or Ed25519), or a set of them (JWKS), instead of a
    /// secret. It is read again when it changes.
    #[arg(long, env = "TRELLIS_JWT_KEY_FILE", value_name = "FILE", global = true)]
    pub jwt_key_file: Option<PathBuf>,

    /// The issuer (iss) that tokens must name. Any, where nothing is said.
    #[arg(long, env = "TRELLIS_JWT_ISSUER", value_name = "NAME", global = true)]
    pub jwt_issuer: Option<String>,

    /// The audience (aud) that tokens must name. Any, where nothing is said.
    #[arg(long, env = "TRELLIS_JWT_AUDIENCE", value_name = "NAME", global = true)]
    pub jwt_audience: Option<String>,

    /// Whether the header `X-Debug: sql` shows a request's statements. On in the private mode, otherwise off: names
    /// and counts of statements tell a stranger how large the data is.
    #[arg(long, env = "TRELLIS_DEBUG_SQL", value_name = "BOOL", global = true)]
    pub debug_sql: Option<bool>,

    /// Whether clients may ask for the schema: introspection, `GET /schema.graphql`, and "Did you mean …?" in messages. On
    /// in the private mode, otherwise off: it helps those who write clients, and those who look for a way in.
    #[arg(long, env = "TRELLIS_INTROSPECTION", value_name = "BOOL", global = true)]
    pub introspection: Option<bool>,

    /// What is logged, as in `warn` or `info,trellis=debug`. `debug` and below slow the server down.
    #[arg(
        long,
        env = "TRELLIS_LOG",
        default_value = "info,sqlx=warn,sea_orm_migration=warn",
        value_name = "FILTER",
        global = true
    )]
    pub log: String,

    /// Writes the log as JSON, one object a line.
    #[arg(long, env = "TRELLIS_LOG_JSON", value_parser = clap::builder::FalseyValueParser::new(), global = true)]
    pub log_json: bool,

    /// Connections and their timeouts.
    #[command(flatten)]
    pub pools: PoolSettings,

    /// How it speaks HTTP.
    #[command(flatten)]
    pub http: HttpSettings,

    /// What one request may ask for.
    #[command(flatten)]
    pub limits: Limits,
}

/// How many connections each pool has, and how long anything may take.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database connections")]
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

    /// Milliseconds that one statement on the primary may take.
    #[arg(long, env = "TRELLIS_STATEMENT_TIMEOUT_MS", default_value_t = 5_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=600_000), global = true)]
    pub statement_timeout_ms: u64,

    /// Milliseconds that one statement of a report may take.
    #[arg(long, env = "TRELLIS_REPORT_TIMEOUT_MS", default_value_t = 8_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=600_000), global = true)]
    pub report_timeout_ms: u64,

    /// Milliseconds that a replica may be behind and still serve reports; past that the primary does.
    #[arg(long, env = "TRELLIS_MAX_STALENESS_MS", default_value_t = 30_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(500..=86_400_000), global = true)]
    pub max_staleness_ms: u64,
}

/// Who may call from a page, and how long a client may take.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpSettings {
    /// The origins whose pages may call, separated by commas: https://app.example,http://localhost:3000. None, where
    /// nothing is said. Pages of this server's own origin always may, and so may what is no browser.
    #[arg(long, env = "TRELLIS_CORS_ORIGINS", value_name = "ORIGINS", value_delimiter = ',', value_parser = origin,
        global = true)]
    pub cors_origins: Vec<HeaderValue>,

    /// Milliseconds that a connection may be silent between requests, or take for the head of one; then it is closed.
    /// A proxy that keeps connections open should let go of them sooner, or it sends into closed ones now and then.
    #[arg(long, env = "TRELLIS_IDLE_TIMEOUT_MS", default_value_t = 75_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=3_600_000), global = true)]
    pub idle_timeout_ms: u64,

    /// Milliseconds in which the body of a request must have arrived.
    #[arg(long, env = "TRELLIS_BODY_TIMEOUT_MS", default_value_t = 10_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=600_000), global = true)]
    pub body_timeout_ms: u64,
}

/// Reads an origin as browsers send it, such as `https://app.example`: they are compared as text.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let text = text.trim();
    let is_origin = text.parse::<Uri>().is_ok_and(|uri| match (uri.scheme_str(), uri.authority()) {
        (Some(scheme @ ("http" | "https")), Some(authority)) => {
            let own_port = if scheme == "http" { 80 } else { 443 };
            text == format!("{scheme}://{authority}").to_ascii_lowercase()
                && !authority.as_str().contains(['@', '*'])
                && authority.port_u16() != Some(own_port)
        }
        _ => false,
    });
    let origin = HeaderValue::from_str(text).ok().filter(|_| is_origin);
    origin.ok_or_else(|| {
        "an origin is a scheme, a host in lower case and a port that is not the scheme's own, as in \
                          https://app.example or http://localhost:3000"
            .to_owned()
    })
}

/// Rows in a page that says nothing about its size. The schema's descriptions promise it, so it is no setting.
pub const DEFAULT_PAGE: u16 = 25;
/// Rows in a page at most; likewise.
pub const MAX_PAGE: u16 = 100;

/// What one request may ask for. `server { limits }` shows these to clients.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits of a request")]
pub struct Limits {
    /// How many bytes a document may have; the request's body may have four times as many.
    #[arg(long, env = "TRELLIS_MAX_DOCUMENT_BYTES", default_value_t = 32_768, value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1_024..=1_048_576), global = true)]
    pub max_document_bytes: u32,

    /// How many tokens (names, numbers, strings, brackets, …) a document may have, and how many values its variables.
    #[arg(long, env = "TRELLIS_MAX_TOKENS", default_value_t = 2_000, value_name = "N",
        value_parser = clap::value_parser!(u32).range(10..=1_000_000), global = true)]
    pub max_tokens: u32,

    /// How deep brackets may nest in a document, its fragments written out. Beyond 64 the reader of documents gives up.
    #[arg(long, env = "TRELLIS_MAX_NESTING", default_value_t = 64, value_name = "N",
        value_parser = clap::value_parser!(u16).range(4..=64), global = true)]
    pub max_nesting: u16,

    /// How deep lists and objects may nest in a value, in a document and in its variables.
    #[arg(long, env = "TRELLIS_MAX_VALUE_NESTING", default_value_t = 32, value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=64), global = true)]
    pub max_value_nesting: u16,

    /// How many items a list in a document or in its variables may have.
    #[arg(long, env = "TRELLIS_MAX_LIST_ITEMS", default_value_t = 200, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=100_000), global = true)]
    pub max_list_items: u32,

    /// How many operations a document may hold.
    #[arg(long, env = "TRELLIS_MAX_OPERATIONS", default_value_t = 10, value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=1_000), global = true)]
    pub max_operations: u16,

    /// How many variables an operation may declare.
    #[arg(long, env = "TRELLIS_MAX_VARIABLES", default_value_t = 50, value_name = "N",
        value_parser = clap::value_parser!(u16).range(0..=1_000), global = true)]
    pub max_variables: u16,

    /// How many directives, such as @include, a document may hold.
    #[arg(long, env = "TRELLIS_MAX_DIRECTIVES", default_value_t = 20, value_name = "N",
        value_parser = clap::value_parser!(u16).range(0..=1_000), global = true)]
    pub max_directives: u16,

    /// How many selections (fields, spreads, inline fragments) a document may hold, with its fragments written out. The
    /// introspection of tools has some 600.
    #[arg(long, env = "TRELLIS_MAX_SELECTIONS", default_value_t = 2_000, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000), global = true)]
    pub max_selections: u32,

    /// How many aliases an operation may hold, with its fragments written out.
    #[arg(long, env = "TRELLIS_MAX_ALIASES", default_value_t = 30, value_name = "N",
        value_parser = clap::value_parser!(u16).range(0..=10_000), global = true)]
    pub max_aliases: u16,

    /// How many root fields an operation may select.
    #[arg(long, env = "TRELLIS_MAX_ROOT_FIELDS", default_value_t = 10, value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=1_000), global = true)]
    pub max_root_fields: u16,

    /// How deep the fields of an operation may nest.
    #[arg(long, env = "TRELLIS_MAX_DEPTH", default_value_t = 12, value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=64), global = true)]
    pub max_depth: u16,

    /// How many fields an answer may hold at most: what is selected in a list counts for each row of its page.
    #[arg(long, env = "TRELLIS_MAX_COMPLEXITY", default_value_t = 5_000, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=10_000_000), global = true)]
    pub max_complexity: u32,

    /// How many errors an answer holds at most.
    #[arg(long, env = "TRELLIS_MAX_ERRORS", default_value_t = 10, value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=1_000), global = true)]
    pub max_errors: u16,

    /// Milliseconds after which a request is answered with TIMEOUT.
    #[arg(long, env = "TRELLIS_REQUEST_TIMEOUT_MS", default_value_t = 10_000, value_name = "MS",
        value_parser = clap::value_parser!(u32).range(1..=600_000), global = true)]
    pub request_timeout_ms: u32,
}

impl Arguments {
    /// Reads the command line and the environment. Ends the process with a clear line where either is wrong.
    #[must_use]
    pub fn read() -> Self {
        if let Some(unknown) = unknown_variable(std::env::vars_os().map(|(name, _)| name)) {
            let message = format!(
                "unknown setting {unknown} in the environment; `trellis --help` lists every setting with its variable\n"
            );
            Self::command().error(clap::error::ErrorKind::UnknownArgument, message).exit()
        }
        // A compose file sets what it does not know to nothing: an empty variable is one that is not there.
        let command = Self::command().mut_args(|argument| {
            let is_empty =
                argument.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
            if is_empty { argument.env(None::<&str>) } else { argument }
        });
        let parsed = Self::from_arg_matches(&command.get_matches());
        let arguments = parsed.unwrap_or_else(|error| error.exit());
        if let Err(message) = arguments.settings.check() {
            Self::command().error(clap::error::ErrorKind::ValueValidation, message).exit()
        }
        arguments
    }

    /// Reads settings from arguments alone, as tests do.
    ///
    /// # Errors
    /// An argument is unknown or has a bad value.
    pub fn from_words(words: &[&str]) -> Result<Self, clap::Error> {
        Self::try_parse_from(std::iter::once("trellis").chain(words.iter().copied()))
    }
}

impl Settings {
    /// What no single value shows to be wrong.
    fn check(&self) -> Result<(), String> {
        match &self.jwt_secret {
            Some(secret) if secret.len() < 32 => {
                Err(format!("TRELLIS_JWT_SECRET has {} bytes; it needs 32 or more\n", secret.len()))
            }
            _ => Ok(()),
        }
    }
}

/// The environment variables of every setting.
#[must_use]
pub fn variables() -> Vec<String> {
    let command = Arguments::command();
    let names = command.get_arguments().filter_map(clap::Arg::get_env);
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

fn unknown_variable(names: impl Iterator<Item = OsString>) -> Option<String> {
    let known = variables();
    names.map(|name| name.to_string_lossy().into_owned()).find(|name| name.starts_with(PREFIX) && !known.contains(name))
}
