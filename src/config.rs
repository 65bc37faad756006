//! Every setting, its default and why: the only reader of the environment.
#![expect(clippy::doc_markdown, reason = "the comments of settings are the text of --help, where backticks are noise")]

mod command;
mod http;
mod limits;
mod pool;
mod telemetry;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser};

pub use command::{Command, MigrateAction, MigrateCommand};
pub use http::{HttpSettings, Trust};
pub use limits::{DEFAULT_PAGE, Limits, MAX_PAGE};
pub use pool::PoolSettings;
pub use telemetry::TelemetrySettings;

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
    #[command(flatten, next_help_heading = "Settings")]
    pub settings: Settings,
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

    /// What is told about requests, besides the log.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,

    /// How it speaks HTTP.
    #[command(flatten)]
    pub http: HttpSettings,

    /// What one request may ask for.
    #[command(flatten)]
    pub limits: Limits,
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
        let parsed = Self::from_arg_matches(&with_short_help(command).get_matches());
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
            _ => self.check_body().and_then(|()| self.check_documents()).and_then(|()| self.check_rate_limit()),
        }
    }

    fn check_body(&self) -> Result<(), String> {
        let (body, document) = (self.limits.max_body_bytes(), self.limits.max_document_bytes);
        if body >= document {
            return Ok(());
        }
        Err(format!(
            "TRELLIS_MAX_BODY_BYTES is {body}; a document may have TRELLIS_MAX_DOCUMENT_BYTES, {document}, and could never \
             be sent\n"
        ))
    }

    fn check_documents(&self) -> Result<(), String> {
        if self.http.documents.is_none() && self.http.trusted_documents != Trust::Off {
            return Err("TRELLIS_TRUSTED_DOCUMENTS needs a manifest: name it by TRELLIS_DOCUMENTS\n".to_owned());
        }
        Ok(())
    }

    fn check_rate_limit(&self) -> Result<(), String> {
        let (burst, dearest) = (self.http.rate_limit_burst(&self.limits), self.limits.max_complexity);
        if self.http.rate_limit == 0 || burst >= dearest {
            return Ok(());
        }
        Err(format!(
            "TRELLIS_RATE_LIMIT_BURST is {burst}; a request may cost TRELLIS_MAX_COMPLEXITY, {dearest}, and could never \
             be sent\n"
        ))
    }
}

/// Has each subcommand's help leave out the groups of settings that it has no use for. It takes them all the same.
fn with_short_help(mut command: clap::Command) -> clap::Command {
    // From here on each subcommand has the settings as its own.
    command.build();
    hide_unused(command)
}

fn hide_unused(command: clap::Command) -> clap::Command {
    command.mut_subcommands(|subcommand| {
        let unused: &[&str] = match subcommand.get_name() {
            "serve" => &[],
            "explain" => &[telemetry::HEADING, http::HEADING],
            "doctor" => &[telemetry::HEADING, http::HEADING, limits::HEADING],
            _ => &[pool::HEADING, telemetry::HEADING, http::HEADING, limits::HEADING],
        };
        hide_unused(subcommand.mut_args(|argument| {
            let is_unused = argument.get_help_heading().is_some_and(|heading| unused.contains(&heading));
            if is_unused { argument.hide(true) } else { argument }
        }))
    })
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
