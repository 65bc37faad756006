//! The private PostgreSQL behind the default mode: a primary and a streaming replica, made, started,
//! shared and stopped here. It refuses to download a PostgreSQL, to run one as root, to listen on a
//! network, and to know anything of databases, tables and pools.
//!
//! A cluster's directory holds `primary/`, `replica/`, `log/`, `socket/` and two lock files. What depends
//! on the place is given at each start, so the directory may be moved while it is not in use. Everything
//! here blocks; an async caller uses `spawn_blocking`.

mod account;
mod binaries;
mod error;
mod location;
mod making;
mod pidfile;
mod primary;
mod replica;
mod server;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Instant;

pub use binaries::Binaries;
pub use error::Error;
pub use server::Role;

use location::Location;
use server::Server;

/// The superuser that initdb makes, whom the sockets trust: only the account of the servers and root
/// can reach them.
const SUPERUSER: &str = "trellis";

/// Whether the servers' files must outlive a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Everything on: for a data directory that is kept.
    Kept,
    /// `fsync` and `full_page_writes` off: for a directory that [`Cluster::remove`] deletes afterwards, so that it must be
    /// new or empty.
    Temporary,
}

/// A share in a running primary and its replica; several processes may hold one at the same time.
///
/// Dropping it does what [`Cluster::release`] does, except for the report of a failure, which is logged.
#[derive(Debug)]
pub struct Cluster {
    location: Location,
    primary: Server,
    replica: Server,
    /// The lock shared by all users of the cluster; `None` once it is released.
    share: Option<File>,
}

impl Cluster {
    /// Uses the cluster of `data_dir` if it is running, else starts it, making it first where there is none.
    ///
    /// # Errors
    ///
    /// Says what to do, and where the servers' log is. Temporary, also where anything is in `data_dir`.
    pub fn acquire(data_dir: &Path, durability: Durability) -> Result<Self, Error> {
        Self::acquire_using(None, data_dir, durability)
    }

    /// As [`Cluster::acquire`], with the `PostgreSQL` programs in `bin_dir`, where that is given.
    ///
    /// # Errors
    ///
    /// As [`Cluster::acquire`]; also where `bin_dir` lacks a program or its version is not the one that
    /// the data was made by.
    pub fn acquire_using(bin_dir: Option<&Path>, data_dir: &Path, durability: Durability) -> Result<Self, Error> {
        let began = Instant::now();
        let location = Location::find(data_dir)?;
        if durability == Durability::Temporary {
            location.refuse_used()?;
        }
        location.make()?;
        let directory = location.directory.join("primary");
        let made_by = made_by(&directory).map(|major| (major, directory.as_path()));
        let binaries = Binaries::find_for(&location.account, bin_dir, made_by)?;
        let mut cluster = Self {
            primary: Server::new(Role::Primary, &location, &binaries, durability),
            replica: Server::new(Role::Replica, &location, &binaries, durability),
            share: None,
            location,
        };
        // Declared after the cluster, so that the lock is free again when a failure drops the cluster,
        // which takes it.
        let transition = cluster.begin_transition()?;
        if durability == Durability::Temporary {
            // Another process may have come first.
            cluster.location.refuse_used()?;
        }
        let share = cluster.location.users_lock()?;
        share.lock_shared().map_err(Error::file("cannot lock a file in", cluster.directory()))?;
        cluster.share = Some(share);
        cluster.location.make_directories()?;
        making::remove_leftovers(cluster.directory())?;
        primary::start(&cluster.primary, durability)?;
        replica::start(&cluster.replica, &cluster.primary, durability)?;
        drop(transition);
        tracing::info!(
            directory = %cluster.directory().display(),
            version = binaries.major(),
            total_ms = began.elapsed().as_millis(),
            "the private PostgreSQL is ready",
        );
        Ok(cluster)
    }

    /// The URL of `database`, a name without special characters, on the primary.
    #[must_use]
    pub fn primary_url(&self, database: &str) -> String {
        self.primary.url(database)
    }

    /// The URL of `database`, a name without special characters, on the replica.
    #[must_use]
    pub fn replica_url(&self, database: &str) -> String {
        self.replica.url(database)
    }

    /// Where the servers' files really are: for root this may be another directory than the one asked for.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.location.directory
    }

    /// Stops the primary, does `work` with its directory, and starts it again; the replica follows by itself. Where
    /// another process uses the cluster, nothing is done: `false`.
    ///
    /// # Errors
    ///
    /// Where the work failed, or the primary did not stop or start.
    pub fn with_primary_at_rest(&mut self, work: impl FnOnce(&Path) -> io::Result<()>) -> Result<bool, Error> {
        let _transition = self.begin_transition()?;
        // The own share would be in the way of the lock that shows that there is no other. Nobody takes or gives up a
        // share during the transition.
        self.share = None;
        let users = self.location.users_lock()?;
        let done = match users.try_lock() {
            Ok(()) => self.primary.at_rest(work).map(|()| true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(Error::file("cannot lock a file in", self.directory())(error)),
        };
        drop(users);
        let share = self.location.users_lock()?;
        share.lock_shared().map_err(Error::file("cannot lock a file in", self.directory()))?;
        self.share = Some(share);
        done
    }

    /// Lets go of the cluster; the last one to let go stops the replica, then the primary.
    ///
    /// Close the pools first: the servers end the connections that are left.
    ///
    /// # Errors
    ///
    /// Where a server did not stop.
    pub fn release(mut self) -> Result<(), Error> {
        self.let_go(|_| Ok(()))
    }

    /// Lets go of a temporary cluster, and removes its directory. Where another process uses it meanwhile, all of it stays.
    ///
    /// # Errors
    ///
    /// Where a server did not stop, or a file cannot be removed.
    pub fn remove(mut self) -> Result<(), Error> {
        self.let_go(|directory| fs::remove_dir_all(directory))
    }

    /// What comes `last` is done only where nobody else uses the cluster.
    fn let_go(&mut self, last: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
        // Closing the file gives up the share; the kernel does the same for a process that is killed.
        if self.share.take().is_none() {
            return Ok(());
        }
        let _transition = self.begin_transition()?;
        let users = self.location.users_lock()?;
        match users.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => {
                return Err(Error::file("cannot lock a file in", self.directory())(error));
            }
        }
        // The replica first, or it would keep trying to reach the primary; the primary in any case.
        let replica = self.replica.stop();
        self.primary.stop()?;
        self.location.remove_socket_directory();
        replica?;
        last(self.directory()).map_err(Error::file("cannot remove", self.directory()))
    }

    /// Waits for its turn to start or stop servers; dropping the file ends the turn.
    fn begin_transition(&self) -> Result<File, Error> {
        let file = self.location.transition_lock()?;
        let locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                tracing::info!(directory = %self.directory().display(), "another process starts or stops the cluster");
                file.lock()
            }
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        locked.map_err(Error::file("cannot lock a file in", self.directory()))?;
        Ok(file)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.let_go(|_| Ok(())) {
            tracing::warn!(%error, "the private PostgreSQL was not stopped");
        }
    }
}

/// The major version that made the files of `primary`, where there are any.
fn made_by(primary: &Path) -> Option<u32> {
    fs::read_to_string(primary.join("PG_VERSION")).ok()?.trim().parse().ok()
}
