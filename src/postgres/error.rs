//! What can go wrong with the private cluster, each time with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::server::Role;

/// Why the private cluster could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No usable PostgreSQL on this machine.
    #[error(
        "PostgreSQL 15 or newer was not found: install it (`apt-get install postgresql` or \
         `brew install postgresql@18`), or set DATABASE_URL to use a server of your own"
    )]
    NotInstalled,
    /// The directory that was named for the programs does not hold a usable PostgreSQL.
    #[error("{} holds no usable PostgreSQL: {reason}", path.display())]
    BinDirectory {
        /// The directory that was named.
        path: PathBuf,
        /// What is missing there.
        reason: String,
    },
    /// The data was written by a major version that is not installed.
    #[error(
        "{} was made by PostgreSQL {made_by}, and only version {found} was found: install \
         PostgreSQL {made_by}, or use another data directory",
        directory.display()
    )]
    OtherVersion {
        /// The primary's directory.
        directory: PathBuf,
        /// The major version in its `PG_VERSION`.
        made_by: u32,
        /// The major version that is installed.
        found: u32,
    },
    /// `pg_ctl` puts paths into a shell command between double quotes.
    #[error(
        "{} cannot be a data directory: PostgreSQL needs a path in UTF-8 without quotes, `$`, \
         backquotes, backslashes and control characters",
        .0.display()
    )]
    Path(PathBuf),
    /// It would be deleted with all that is in it.
    #[error(
        "{} is not empty, and --temporary deletes its data directory at the end: give --data-dir a path where nothing is \
         yet, or leave --temporary out, which keeps everything",
        .0.display()
    )]
    Used(PathBuf),
    /// The replica has become a primary, and may hold what no other server has.
    #[error(
        "{} was promoted: what has been written to it since is nowhere else, so it is left as it is. To go on from it, \
         `cd {} && mv primary primary.old && mv replica primary`; to lose what was written to it, remove it. Both while \
         nothing runs there",
        .0.display(), .0.parent().unwrap_or(Path::new("/")).display()
    )]
    Promoted(PathBuf),
    /// Started as root, and there is nobody else to run PostgreSQL as.
    #[error("PostgreSQL refuses to run as root: create a user `postgres`, or start as another user")]
    NoAccount,
    /// The socket directory under /tmp is somebody else's.
    #[error(
        "{} is not a directory that only this cluster's user can enter: remove it, or use a data \
         directory with a shorter path",
        .0.display()
    )]
    SocketDirectory(PathBuf),
    /// A file could not be read, written, locked or moved.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried, as the start of a sentence.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// One of PostgreSQL's programs could not be run, or said no.
    #[error("{program} failed: {detail}")]
    Program {
        /// The program's name.
        program: String,
        /// The last lines of what it said.
        detail: String,
    },
    /// A server did not start or did not stop.
    #[error("the {role} {problem}; the log is {}{tail}", log.display())]
    Server {
        /// Which of the two.
        role: Role,
        /// What it did not do.
        problem: String,
        /// Its whole log.
        log: PathBuf,
        /// The log's last lines, after a line break.
        tail: String,
    },
}

impl Error {
    /// For `map_err` on file operations.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { action, path, source }
    }
}
