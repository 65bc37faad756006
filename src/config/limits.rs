//! Settings of what one request may ask for.

use std::time::Duration;

use clap::Args;

/// Rows in a page that says nothing about its size. The schema's descriptions promise it, so it is no setting.
pub const DEFAULT_PAGE: u16 = 25;
/// Rows in a page at most; likewise.
pub const MAX_PAGE: u16 = 100;

/// What --help calls them.
pub(super) const HEADING: &str = "Limits of a request";

/// What one request may ask for. `server { limits }` shows these to clients.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct Limits {
    /// How many bytes the body of a request may have, unpacked too, --max-document-bytes or more. By default four times as
    /// many as that: variables come on top, and JSON has an escape for each line break.
    #[arg(long, env = "TRELLIS_MAX_BODY_BYTES", value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1_024..=16_777_216), global = true)]
    pub max_body_bytes: Option<u32>,

    /// How many bytes a document may have.
    #[arg(long, env = "TRELLIS_MAX_DOCUMENT_BYTES", default_value_t = 32_768, value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1_024..=1_048_576), global = true)]
    pub max_document_bytes: u32,

    /// How many tokens (names, numbers, strings, brackets, …) a document may have, and how many values its variables.
    #[arg(long, env = "TRELLIS_MAX_TOKENS", default_value_t = 2_000, value_name = "N",
        value_parser = clap::value_parser!(u32).range(10..=1_000_000), global = true)]
    pub max_tokens: u32,

    /// How many bytes a name in a document may have: an unknown one is compared with every known one.
    #[arg(long, env = "TRELLIS_MAX_NAME_BYTES", default_value_t = 128, value_name = "BYTES",
        value_parser = clap::value_parser!(u16).range(64..=4_096), global = true)]
    pub max_name_bytes: u16,

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

    /// How many selections (fields, spreads, inline fragments) a document may hold, with its fragments written out. A
    /// field counts once more for each fragment that it stands in. The introspection of tools has some 300.
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

    /// How many fields an answer about the schema may hold. Tools ask for half as many.
    #[arg(long, env = "TRELLIS_MAX_INTROSPECTION", default_value_t = 12_000, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=10_000_000), global = true)]
    pub max_introspection: u32,

    /// How often a request may select estimateCost. Each time costs as much as a request that is refused.
    #[arg(long, env = "TRELLIS_MAX_ESTIMATES", default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u16).range(0..=1_000), global = true)]
    pub max_estimates: u16,

    /// How many bytes the long texts of an answer may have: descriptions of tasks, and bodies of comments.
    #[arg(long, env = "TRELLIS_MAX_ANSWER_BYTES", default_value_t = 16_777_216, value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(100_000..=1_000_000_000), global = true)]
    pub max_answer_bytes: u32,

    /// How many errors an answer holds at most.
    #[arg(long, env = "TRELLIS_MAX_ERRORS", default_value_t = 10, value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=1_000), global = true)]
    pub max_errors: u16,

    /// Milliseconds after which a request is answered with TIMEOUT; one that has begun to write, with OUTCOME_UNKNOWN.
    #[arg(long, env = "TRELLIS_REQUEST_TIMEOUT_MS", default_value_t = 10_000, value_name = "MS",
        value_parser = clap::value_parser!(u32).range(1..=600_000), global = true)]
    pub request_timeout_ms: u32,
}

/// A body may be this many times as large as a document.
const BODY_PER_DOCUMENT: u32 = 4;

impl Limits {
    /// Bytes of a body.
    #[must_use]
    pub fn max_body_bytes(&self) -> u32 {
        self.max_body_bytes.unwrap_or(self.max_document_bytes.saturating_mul(BODY_PER_DOCUMENT))
    }

    /// How long a request may take.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.request_timeout_ms))
    }
}
