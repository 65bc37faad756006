//! A primary and two streaming replicas that may be broken: killed, frozen, promoted, thrown away.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, TryGetable};
use trellis::config::MigrateAction;
use trellis::database::administration;
use trellis::migrate;

pub const DATABASE: &str = "trellis";
const USER: &str = "trellis";

/// How long a server may take to start, on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// The servers. Dropped, they are stopped and removed; so they are when this process ends in any other way.
pub struct Cluster {
    pub directory: PathBuf,
    /// The primary first, as long as nobody is promoted.
    pub servers: Vec<Server>,
    keeper: Child,
    /// Closes with this process.
    input: Option<ChildStdin>,
    /// Whether the files stay.
    keep: bool,
    /// Small disks that are mounted for it.
    pub disks: Vec<PathBuf>,
}

/// One PostgreSQL server. It listens on a socket alone.
#[derive(Clone)]
pub struct Server {
    pub name: String,
    pub directory: PathBuf,
    programs: PathBuf,
    sockets: PathBuf,
    port: u16,
    owner: (u32, u32),
}

impl Cluster {
    /// Makes them, with a migrated database. A cluster of the binary does the first two: it finds PostgreSQL and the
    /// account for it, and removes everything once its standard input closes.
    pub async fn new(keep: bool) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let wanted = std::env::temp_dir().join(format!("trellis-faults-{}-{number}", std::process::id()));
        let mut keeper = crate::instance::program()
            .arg("--data-dir")
            .arg(&wanted)
            .args(["cluster", "--temporary"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let input = keeper.stdin.take();
        let mut lines = BufReader::new(keeper.stdout.take().context("the keeper's output")?).lines();
        let primary = lines.next().context("the cluster did not start")??;
        let _replica = lines.next().context("the replica did not start")??;
        let sockets = PathBuf::from(primary.split_once("?host=").context("the cluster names its sockets")?.1.trim());
        // It keeps its data elsewhere where PostgreSQL's account cannot reach the directory.
        let directory = if wanted.join("primary").exists() {
            wanted
        } else {
            sockets.parent().context("the sockets are in the data directory")?.to_owned()
        };
        let server = |name: &str, port| Server::new(&directory, &sockets, name, port);
        let servers = vec![server("primary", 5432)?, server("replica", 5433)?];
        let mut cluster = Self { directory, servers, keeper, input, keep, disks: Vec::new() };
        cluster.complete().await?;
        Ok(cluster)
    }

    async fn complete(&mut self) -> Result<()> {
        let second = self.servers[0].copied("replica-2", 5434)?;
        self.servers.push(second);
        administration::ensure_database(&self.servers[0].url("postgres"), DATABASE).await?;
        migrate::run(&self.servers[0].url(DATABASE), MigrateAction::Up, drop).await?;
        // The binary runs a temporary cluster without fsync; here it shall be as in earnest.
        let primary = self.servers[0].clone();
        for (server, slot) in self.servers.iter().zip(["", "trellis_replica", "faults_replica_2"]) {
            server.stop("fast").await?;
            server.settle(&primary, slot)?;
        }
        for server in &self.servers {
            server.start().await?;
        }
        self.replicated().await
    }

    /// Mounts a small disk, which is memory. Only root may.
    pub fn mount(&mut self, disk: &Path, bytes: u64) -> Result<()> {
        fs::create_dir_all(disk)?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(disk);
        run(command)?;
        self.disks.push(disk.to_owned());
        Ok(())
    }

    /// Waits until every replica has what the primary has.
    pub async fn replicated(&self) -> Result<()> {
        let position: String = self.servers[0].one("SELECT pg_current_wal_flush_lsn()::text").await?;
        for server in &self.servers[1..] {
            let reached = format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{position}'::pg_lsn, false)");
            until(&format!("{} has replayed {position}", server.name), || server.one::<bool>(&reached)).await?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in self.servers.iter().rev() {
            server.kill();
        }
        for disk in &self.disks {
            let mut command = Command::new("umount");
            command.arg("--lazy").arg(disk);
            let _ = run(command);
        }
        if self.keep {
            // Killed, it removes nothing.
            let _ = self.keeper.kill();
        }
        drop(self.input.take());
        let _ = self.keeper.wait();
        if !self.keep {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Asks again and again until it is so.
pub async fn until<F: Future<Output = Result<bool>>>(what: &str, ask: impl Fn() -> F) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(true) => return Ok(()),
            Err(error) if Instant::now() > deadline => bail!("not within {PATIENCE:?}: {what}: {error:#}"),
            Ok(false) if Instant::now() > deadline => bail!("not within {PATIENCE:?}: {what}"),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

impl Server {
    fn new(directory: &Path, sockets: &Path, name: &str, port: u16) -> Result<Self> {
        let directory = directory.join(name);
        // The first word is the program.
        let options = fs::read_to_string(directory.join("postmaster.opts"))?;
        let program = Path::new(options.split_whitespace().next().context("postmaster.opts is empty")?);
        let programs = program.parent().context("the program is in a directory")?.to_owned();
        let metadata = fs::metadata(&directory)?;
        let owner = (metadata.uid(), metadata.gid());
        Ok(Self { name: name.to_owned(), directory, programs, sockets: sockets.to_owned(), port, owner })
    }

    /// A replica of this one.
    fn copied(&self, name: &str, port: u16) -> Result<Self> {
        let directory = self.directory.with_file_name(name);
        DirBuilder::new().mode(0o700).create(&directory)?;
        chown(&directory, Some(self.owner.0), Some(self.owner.1))?;
        let mut command = self.program("pg_basebackup");
        command.arg("--pgdata").arg(&directory).arg("--host").arg(&self.sockets);
        command.args(["--port", &self.port.to_string(), "--username", USER, "--checkpoint", "fast"]);
        command.args(["--create-slot", "--slot", &format!("faults_{}", name.replace('-', "_"))]);
        run(command)?;
        run({
            let mut touch = self.account("touch");
            touch.arg(directory.join("standby.signal"));
            touch
        })?;
        Ok(Self { name: name.to_owned(), directory, port, ..self.clone() })
    }

    /// Writes down what the cluster of the binary gives at each start, and where a replica finds its primary.
    fn settle(&self, primary: &Self, slot: &str) -> Result<()> {
        let sockets = self.sockets.display();
        let mut settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{sockets}'\nport = {}\ncluster_name = '{}'\n",
            self.port, self.name
        );
        if !slot.is_empty() {
            writeln!(
                settings,
                "primary_conninfo = 'host={sockets} port={} user={USER}'\nprimary_slot_name = '{slot}'",
                primary.port
            )?;
        }
        let mut file = OpenOptions::new().append(true).open(self.directory.join("postgresql.auto.conf"))?;
        Ok(file.write_all(settings.as_bytes())?)
    }

    /// Has a replica follow another primary, from which it knows of no slot.
    pub async fn follow(&self, primary: &Self) -> Result<()> {
        let address = format!("host={} port={} user={USER}", self.sockets.display(), primary.port);
        self.set("primary_slot_name", None).await?;
        self.set("primary_conninfo", Some(&address)).await
    }

    /// Moves files of a server that does not run to another disk, and leaves a link.
    pub fn move_to(&self, name: &Path, disk: &Path) -> Result<()> {
        let (from, to) = (self.directory.join(name), disk.join("moved"));
        let mut copy = Command::new("cp");
        copy.arg("--archive").arg(&from).arg(&to);
        run(copy)?;
        fs::remove_dir_all(&from)?;
        Ok(symlink(&to, &from)?)
    }

    fn program(&self, name: &str) -> Command {
        self.account(self.programs.join(name))
    }

    /// A program that runs as the owner of the files: PostgreSQL refuses to be root.
    fn account(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if nix::unistd::Uid::effective().is_root() {
            command.uid(self.owner.0).gid(self.owner.1);
        }
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.sockets.join(format!(".s.PGSQL.{}", self.port))
    }

    /// The address of a database, past every proxy.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@localhost:{}/{database}?host={}", self.port, self.sockets.display())
    }

    /// Starts it, and waits until it accepts connections.
    pub async fn start(&self) -> Result<()> {
        let log = self.directory.join("server.log");
        // Again, because the processes of one that was killed are gone a moment later, and one that ended by itself
        // may be about to start by itself.
        until(&format!("{} starts", self.name), || async {
            if self.postmaster().is_some() && self.rows("SELECT 1").await.is_ok() {
                return Ok(true);
            }
            let mut command = self.program("pg_ctl");
            command.arg("start").arg("--pgdata").arg(&self.directory).args(["--wait", "--silent", "--log"]).arg(&log);
            tokio::task::block_in_place(|| run(command)).map(|()| true)
        })
        .await
    }

    /// Stops it in a mode of `pg_ctl`, where it runs.
    pub async fn stop(&self, mode: &str) -> Result<()> {
        if self.postmaster().is_none() {
            return Ok(());
        }
        let mut command = self.program("pg_ctl");
        command.arg("stop").arg("--pgdata").arg(&self.directory).args(["--wait", "--silent", "--mode", mode]);
        tokio::task::block_in_place(|| run(command))
    }

    /// The postmaster's process, where its file names one.
    fn postmaster(&self) -> Option<i32> {
        let file = fs::read_to_string(self.directory.join("postmaster.pid")).ok()?;
        let process: i32 = file.lines().next()?.trim().parse().ok()?;
        let works_in = fs::read_link(format!("/proc/{process}/cwd")).ok()?;
        (works_in == self.directory).then_some(process)
    }

    /// Sends all of its processes a signal. The postmaster stands still meanwhile, so that it makes no new ones.
    pub fn signal(&self, signal: Signal) -> usize {
        let Some(postmaster) = self.postmaster() else { return 0 };
        let send = |process, signal| {
            // One that ended in between needs no signal.
            let _ = kill(Pid::from_raw(process), signal);
        };
        send(postmaster, Signal::SIGSTOP);
        let children = children(postmaster);
        for child in &children {
            send(*child, signal);
        }
        send(postmaster, signal);
        children.len() + 1
    }

    /// Ends it as a loss of power would.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Waits until it answers nobody any more.
    pub async fn gone(&self) -> Result<()> {
        until(&format!("{} answers no more", self.name), || async {
            let answer = tokio::time::timeout(Duration::from_millis(250), self.rows("SELECT 1")).await;
            Ok(!answer.is_ok_and(|answer| answer.is_ok()))
        })
        .await
    }

    /// Runs a statement, on a connection of its own that goes past every proxy.
    pub async fn rows(&self, sql: &str) -> Result<Vec<QueryResult>> {
        let connection = administration::connect(&self.url(DATABASE)).await?;
        let rows = connection.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
        let _ = connection.close().await;
        rows.with_context(|| format!("{}: {sql}", self.name))
    }

    /// Runs statements that give no rows.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        let connection = administration::connect(&self.url(DATABASE)).await?;
        let done = connection.execute_unprepared(sql).await;
        let _ = connection.close().await;
        done.map(drop).with_context(|| format!("{}: {sql}", self.name))
    }

    /// The one value of a statement.
    pub async fn one<T: TryGetable>(&self, sql: &str) -> Result<T> {
        let rows = self.rows(sql).await?;
        Ok(rows.first().context("no row")?.try_get_by_index(0)?)
    }

    /// Changes a setting of the running server, or takes the change back.
    pub async fn set(&self, name: &str, value: Option<&str>) -> Result<()> {
        let change = match value {
            Some(value) => format!("ALTER SYSTEM SET {name} = '{value}'"),
            None => format!("ALTER SYSTEM RESET {name}"),
        };
        self.execute(&change).await?;
        self.rows("SELECT pg_reload_conf()").await.map(drop)
    }
}

/// The processes that a process has made.
fn children(parent: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent_of = |process: i32| -> Option<i32> {
        let status = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name before it may hold spaces and brackets.
        status.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    processes.filter(|process| parent_of(*process) == Some(parent)).collect()
}

fn run(mut command: Command) -> Result<()> {
    let ended = command.stderr(Stdio::piped()).output()?;
    ensure!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr).trim());
    Ok(())
}
