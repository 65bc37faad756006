//! Decides where a cluster's files and sockets are. Depends on paths and permissions alone, so that
//! every process that names the same data directory comes to the same answer.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Error;
use super::account::Account;

/// The kernel's limit for a socket's path, less the final zero byte.
const SOCKET_PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
const LONGEST_SOCKET_NAME: &str = "/.s.PGSQL.5432";
const USERS_LOCK: &str = "users.lock";
const TRANSITION_LOCK: &str = "transition.lock";

/// The directories of one cluster, and whose they are.
#[derive(Debug)]
pub(super) struct Location {
    pub directory: PathBuf,
    pub socket: PathBuf,
    pub log: PathBuf,
    pub account: Account,
}

impl Location {
    /// The place for the cluster of `data_dir`. Nothing is made yet.
    pub fn find(data_dir: &Path) -> Result<Self, Error> {
        let wanted = absolute(data_dir).map_err(Error::file("cannot find", data_dir))?;
        let (directory, account) = reachable(wanted)?;
        if !is_quotable(&directory) {
            return Err(Error::Path(directory));
        }
        let log = directory.join("log");
        let socket = socket_directory(&directory);
        Ok(Self { directory, socket, log, account })
    }

    /// Makes its directory where it is missing.
    pub fn make(&self) -> Result<(), Error> {
        create_with_parents(&self.directory, &self.account)
    }

    /// Refuses a directory in which there is anything but our locks.
    pub fn refuse_used(&self) -> Result<(), Error> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(Error::file("cannot read", &self.directory))?,
        };
        let is_lock = |entry: fs::DirEntry| [USERS_LOCK, TRANSITION_LOCK].iter().any(|lock| entry.file_name() == *lock);
        if entries.into_iter().all(|entry| entry.is_ok_and(is_lock)) {
            return Ok(());
        }
        Err(Error::Used(self.directory.clone()))
    }

    /// Makes the directories for logs and sockets; for the holder of the transition lock, since the
    /// last user of a cluster removes a socket directory under /tmp.
    pub fn make_directories(&self) -> Result<(), Error> {
        self.account.private_directory(&self.log)?;
        // Everybody can write to /tmp: a link or a directory of another user must not be taken over.
        if !self.socket.starts_with(&self.directory)
            && let Ok(there) = fs::symlink_metadata(&self.socket)
            && (!there.is_dir() || there.mode() & 0o077 != 0 || ![0, self.account.uid].contains(&there.uid()))
        {
            return Err(Error::SocketDirectory(self.socket.clone()));
        }
        self.account.private_directory(&self.socket)
    }

    /// Removes the socket directory where it is under /tmp.
    pub fn remove_socket_directory(&self) {
        if !self.socket.starts_with(&self.directory) {
            let _ = fs::remove_dir(&self.socket);
        }
    }

    /// The lock held, alone, by whoever starts or stops a server.
    pub fn transition_lock(&self) -> Result<File, Error> {
        self.lock_file(TRANSITION_LOCK)
    }

    /// The lock held, together, by everybody who uses the servers.
    pub fn users_lock(&self) -> Result<File, Error> {
        self.lock_file(USERS_LOCK)
    }

    fn lock_file(&self, name: &str) -> Result<File, Error> {
        let path = self.directory.join(name);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::file("is the cluster another user's? Cannot open", &path))?;
        self.account.own_path(&path)?;
        Ok(file)
    }
}

/// `path` without links and dots, whether or not it exists already.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match fs::canonicalize(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(absolute(parent)?.join(name)),
            _ => Err(error),
        },
        result => result,
    }
}

/// `wanted`, or for root a directory that the unprivileged user can reach instead.
fn reachable(wanted: PathBuf) -> Result<(PathBuf, Account), Error> {
    let account = Account::of(&wanted)?;
    if !account.is_other() {
        return Ok((wanted, account));
    }
    let name: String = wanted.file_name().unwrap_or_default().to_string_lossy().replace(|c| !is_plain(c), "_");
    let instead = PathBuf::from(format!("/var/lib/trellis/{name}-{}", short_hash(&wanted)));
    // Data that is there already stays in use, also after the permissions have changed.
    let moved = instead.join("primary").exists() && !wanted.join("primary").exists();
    let parent = wanted.parent().unwrap_or(Path::new("/"));
    if !moved && account.can_reach(parent) && (account.can_reach(&wanted) || is_ours(&wanted)) {
        return Ok((wanted, account));
    }
    tracing::info!(
        wanted = %wanted.display(),
        used = %instead.display(),
        uid = account.uid,
        "PostgreSQL does not run as root and its user cannot reach the data directory: it is kept elsewhere",
    );
    let account = Account::of(&instead)?;
    Ok((instead, account))
}

/// Root's own directory that is empty or was made by us: we may give it away.
fn is_ours(directory: &Path) -> bool {
    let owned = fs::metadata(directory).is_ok_and(|metadata| metadata.uid() == 0);
    let empty = || fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
    owned && (directory.join(USERS_LOCK).exists() || empty())
}

fn create_with_parents(directory: &Path, account: &Account) -> Result<(), Error> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    fs::create_dir_all(directory).map_err(Error::file("cannot make the directory", directory))?;
    if !account.is_other() {
        return Ok(());
    }
    for made in missing {
        // Root's umask may be 077.
        fs::set_permissions(made, fs::Permissions::from_mode(0o755)).map_err(Error::file("cannot open up", made))?;
    }
    if account.can_reach(directory) { Ok(()) } else { account.own_path(directory) }
}

/// `socket/` in the cluster's directory, or a short path under /tmp where that would be too long or
/// holds a character that means something in a list of hosts, a connection string or a URL.
fn socket_directory(directory: &Path) -> PathBuf {
    let socket = directory.join("socket");
    let plain =
        socket.to_str().is_some_and(|path| path.chars().all(|character| character == '/' || is_plain(character)));
    if plain && socket.as_os_str().len() + LONGEST_SOCKET_NAME.len() <= SOCKET_PATH_BYTES {
        return socket;
    }
    PathBuf::from(format!("/tmp/trellis-{}", short_hash(directory)))
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "._-+".contains(character)
}

fn is_quotable(path: &Path) -> bool {
    path.to_str().is_some_and(|path| !path.chars().any(|c| c.is_control() || "\"'$`\\".contains(c)))
}

/// FNV-1a: unlike the standard library's hash it is the same in every version of the compiler.
fn short_hash(path: &Path) -> String {
    let hash = path
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")[..12].to_owned()
}
