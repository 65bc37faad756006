//! One PostgreSQL server of the cluster: starts it, stops it, asks it. Knows nothing of the other one.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use postgresql_commands::CommandBuilder;
use postgresql_commands::pg_ctl::{Mode, PgCtlBuilder, ShutdownMode};
use postgresql_commands::psql::PsqlBuilder;

use super::account::{Account, last_lines};
use super::location::Location;
use super::pidfile::{self, State};
use super::{Binaries, Durability, Error, SUPERUSER};

const POLL: Duration = Duration::from_millis(20);
const LARGEST_LOG_BYTES: u64 = 16 << 20;

/// Which server of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes the writes.
    Primary,
    /// Follows the primary through streaming replication.
    Replica,
}

impl Role {
    /// Only the socket's name depends on it: nothing listens on a network.
    pub(super) fn port(self) -> u16 {
        match self {
            Self::Primary => 5432,
            Self::Replica => 5433,
        }
    }

    /// How long a start may take, with the recovery after a crash. A replica that takes longer than
    /// its time is made anew, which is the quicker way then.
    fn patience(self) -> Duration {
        match self {
            Self::Primary => Duration::from_mins(5),
            Self::Replica => Duration::from_mins(1),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        })
    }
}

/// A server, running or not.
#[derive(Debug)]
pub(super) struct Server {
    pub role: Role,
    pub directory: PathBuf,
    pub socket: PathBuf,
    pub account: Account,
    pub binaries: Binaries,
    log: PathBuf,
    durability: Durability,
}

impl Server {
    pub fn new(role: Role, location: &Location, binaries: &Binaries, durability: Durability) -> Self {
        Self {
            role,
            directory: location.directory.join(role.to_string()),
            socket: location.socket.clone(),
            account: location.account.clone(),
            binaries: binaries.clone(),
            log: location.log.join(format!("{role}.log")),
            durability,
        }
    }

    /// Where the caller connects to `database`.
    pub fn url(&self, database: &str) -> String {
        // The socket's path has only characters that need no escape in a URL.
        let socket = self.socket.display();
        format!("postgres://{SUPERUSER}@localhost:{}/{database}?host={socket}", self.role.port())
    }

    /// Starts the server with `settings` of its own, where it does not run yet, and waits until it
    /// accepts connections.
    pub fn start(&self, settings: &[(&str, String)]) -> Result<(), Error> {
        let end = Instant::now() + self.role.patience();
        if self.settle(end)? == State::Ready {
            return Ok(());
        }
        self.remove_sockets()?;
        self.rotate_log()?;
        loop {
            let offset = fs::metadata(&self.log).map_or(0, |metadata| metadata.len());
            let Err(error) = self.account.run(self.start_command(settings)) else { return Ok(()) };
            // It may run all the same: started by a process that was killed just now.
            if self.settle(end)? == State::Ready {
                return Ok(());
            }
            let tail = self.log_since(offset);
            // The children of a killed server take a moment to notice.
            if tail.contains("is still in use") && Instant::now() < end {
                thread::sleep(POLL);
                continue;
            }
            let tail = if tail.is_empty() { error.to_string() } else { tail };
            return Err(self.error("did not start", &tail));
        }
    }

    /// Stops the server, where it runs.
    pub fn stop(&self) -> Result<(), Error> {
        if pidfile::state(&self.directory)? == State::Stopped {
            return Ok(());
        }
        let stop = |mode, patience: Duration| {
            let command = PgCtlBuilder::new()
                .program_dir(self.binaries.directory())
                .mode(Mode::Stop)
                .pgdata(&self.directory)
                .shutdown_mode(mode)
                .wait()
                .timeout(patience.as_secs());
            self.account.run(command.build())
        };
        if stop(ShutdownMode::Fast, Duration::from_mins(1)).is_ok() {
            return Ok(());
        }
        tracing::warn!(server = %self.role, "the server did not stop: stopping it without a checkpoint");
        stop(ShutdownMode::Immediate, Duration::from_secs(10))
            .map(drop)
            .map_err(|error| self.error("did not stop", &error.to_string()))
    }

    /// Stops the server, does `work` with its directory, and starts it again, also where the work failed.
    pub fn at_rest(&self, work: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
        self.stop()?;
        let done = work(&self.directory).map_err(Error::file("cannot use the files in", &self.directory));
        self.start(&[])?;
        done
    }

    /// Runs `sql` on the maintenance database; columns come back separated by `|`.
    pub fn query(&self, sql: &str) -> Result<String, Error> {
        let command = PsqlBuilder::new()
            .program_dir(self.binaries.directory())
            .no_psqlrc()
            .no_password()
            .tuples_only()
            .no_align()
            .quiet()
            .variable(("ON_ERROR_STOP", "1"))
            .host(&self.socket)
            .port(self.role.port())
            .username(SUPERUSER)
            .dbname("postgres")
            .command(sql);
        self.account.run(command.build())
    }

    /// An error about this server, with the end of its log.
    pub fn error(&self, problem: &str, tail: &str) -> Error {
        let tail = if tail.is_empty() { String::new() } else { format!("\n{tail}") };
        Error::Server { role: self.role, problem: problem.to_owned(), log: self.log.clone(), tail }
    }

    /// The end of the server's log.
    pub fn log_tail(&self) -> String {
        let length = fs::metadata(&self.log).map_or(0, |metadata| metadata.len());
        self.log_since(length.saturating_sub(4096))
    }

    /// Waits until the server is neither starting nor stopping, or `end` has come.
    fn settle(&self, end: Instant) -> Result<State, Error> {
        loop {
            match pidfile::state(&self.directory)? {
                State::Changing if Instant::now() < end => thread::sleep(POLL),
                State::Changing => return Err(self.error("neither starts nor stops", &self.log_tail())),
                state => return Ok(state),
            }
        }
    }

    fn start_command(&self, own: &[(&str, String)]) -> std::process::Command {
        let mut settings = vec![
            ("listen_addresses", String::new()),
            ("unix_socket_directories", self.socket.display().to_string()),
            ("port", self.role.port().to_string()),
            ("cluster_name", format!("trellis/{}", self.role)),
        ];
        if self.durability == Durability::Temporary {
            for name in ["fsync", "full_page_writes"] {
                settings.push((name, "off".to_owned()));
            }
        }
        settings.extend_from_slice(own);
        // `pg_ctl` hands this to a shell; no value holds a single quote.
        let options: Vec<String> = settings.iter().map(|(name, value)| format!("-c '{name}={value}'")).collect();
        PgCtlBuilder::new()
            .program_dir(self.binaries.directory())
            .mode(Mode::Start)
            .pgdata(&self.directory)
            .log(&self.log)
            .options(&[options.join(" ")])
            .wait()
            .timeout(self.role.patience().as_secs())
            .build()
    }

    /// A socket's lock file names a process, whose number may be another's by now. The directory is
    /// this cluster's alone, and its server is known not to run.
    fn remove_sockets(&self) -> Result<(), Error> {
        let name = format!(".s.PGSQL.{}", self.role.port());
        for path in [self.socket.join(&name), self.socket.join(name + ".lock")] {
            remove_if_there(&path)?;
        }
        Ok(())
    }

    fn rotate_log(&self) -> Result<(), Error> {
        if fs::metadata(&self.log).is_ok_and(|metadata| metadata.len() > LARGEST_LOG_BYTES) {
            let old = self.log.with_extension("log.old");
            fs::rename(&self.log, &old).map_err(Error::file("cannot rename", &self.log))?;
        }
        Ok(())
    }

    fn log_since(&self, offset: u64) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.log).and_then(|mut file| {
            file.seek(SeekFrom::Start(offset))?;
            file.read_to_end(&mut bytes)
        });
        read.map(|_| last_lines(&String::from_utf8_lossy(&bytes))).unwrap_or_default()
    }
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("cannot remove", path)(error)),
        _ => Ok(()),
    }
}
