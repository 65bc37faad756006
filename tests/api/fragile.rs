//! A primary and a replica of a test's own, which it may stop, freeze, start again and promote.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Url;
use trellis::config::MigrateAction;
use trellis::database::{Addresses, administration};
use trellis::migrate;

use crate::harness::{World, eventually, one};
use crate::instance::{DataDirectory, Instance};

/// A cluster that a test may break, with a migrated database.
pub struct Fragile {
    data: DataDirectory,
    pub addresses: Addresses,
    _cluster: Instance,
}

impl Fragile {
    pub async fn new() -> Self {
        let data = DataDirectory::new("fragile");
        let mut cluster = Instance::spawn(&mut data.command(&["cluster"]));
        let [primary, replica] = [cluster.line("primary").await, cluster.line("replica").await];
        administration::ensure_database(&primary, "trellis").await.unwrap();
        let in_database = |url: &str| url.replace("/postgres?", "/trellis?");
        let addresses = Addresses { primary: in_database(&primary), replicas: vec![in_database(&replica)] };
        migrate::run(&addresses.primary, MigrateAction::Up, drop).await.unwrap();
        Self { data, addresses, _cluster: cluster }
    }

    /// A server on this cluster.
    pub async fn world(&self, words: &[&str]) -> World {
        World::on(self.addresses.clone(), self.addresses.clone(), words).await
    }

    fn directory(&self, server: &str) -> PathBuf {
        self.data.path().join(server)
    }

    fn postmaster(&self, server: &str) -> Pid {
        let file = fs::read_to_string(self.directory(server).join("postmaster.pid")).unwrap();
        Pid::from_raw(file.lines().next().unwrap().trim().parse().unwrap())
    }

    /// Sends the postmaster of a server, `primary` or `replica`, a signal.
    pub fn signal(&self, server: &str, signal: Signal) {
        kill(self.postmaster(server), signal).unwrap();
    }

    /// Sends every process of a server a signal, its postmaster first.
    pub fn signal_all(&self, server: &str, signal: Signal) {
        let directory = self.directory(server);
        let postmaster = self.postmaster(server);
        kill(postmaster, signal).unwrap();
        for pid in self.data.processes() {
            let works_here = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == directory);
            if works_here && pid != postmaster.as_raw() {
                // One that ended in between needs no signal.
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
    }

    /// Stops a server at once, as if its machine had lost power, and waits until nothing of it is left.
    pub async fn crash(&self, server: &str) {
        self.end(server, Signal::SIGQUIT).await;
    }

    /// Ends a server by a signal, and waits until nothing of it is left.
    async fn end(&self, server: &str, signal: Signal) {
        let directory = self.directory(server);
        self.signal(server, signal);
        eventually("the server is gone", async || {
            let is_left = |pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == directory);
            if self.data.processes().iter().any(is_left) { Err("it is not yet") } else { Ok(()) }
        })
        .await;
    }

    /// Starts a server again, as it was started before.
    pub fn start(&self, server: &str) {
        let directory = self.directory(server);
        let owner = fs::metadata(&directory).unwrap();
        let command = fs::read_to_string(directory.join("postmaster.opts")).unwrap();
        let log = OpenOptions::new().append(true).create(true).open(self.data.path().join("again.log")).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{} &", command.trim())]).current_dir("/");
        shell.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        assert!(shell.uid(owner.uid()).gid(owner.gid()).status().unwrap().success());
    }

    /// Makes the replica a primary.
    pub async fn promote(&self, world: &World) {
        assert!(one(&world.replica_sql, "SELECT pg_promote(true)").await.try_get_by_index::<bool>(0).unwrap());
    }

    /// Has the servers change places: the primary stops in order, the replica is promoted, and the former primary follows
    /// it.
    pub async fn switch_over(&self, world: &World) {
        self.end("primary", Signal::SIGINT).await;
        self.promote(world).await;
        let url: Url = self.addresses.replicas[0].parse().unwrap();
        let host = url.query_pairs().find(|(name, _)| name == "host").unwrap().1.into_owned();
        let promoted = format!("host={host} port={} user={}", url.port().unwrap(), url.username());
        let former = self.directory("primary");
        let mut settings = OpenOptions::new().append(true).open(former.join("postgresql.auto.conf")).unwrap();
        writeln!(settings, "primary_conninfo = '{promoted}'").unwrap();
        let (signal, owner) = (former.join("standby.signal"), fs::metadata(&former).unwrap());
        fs::write(&signal, "").unwrap();
        chown(&signal, Some(owner.uid()), Some(owner.gid())).unwrap();
        self.start("primary");
    }

    /// Makes the replica a primary that does not know of being one: on the timeline of the other.
    pub async fn sever(&self) {
        self.crash("replica").await;
        fs::remove_file(self.directory("replica").join("standby.signal")).unwrap();
        self.start("replica");
    }

    /// Has the replica stand still; it goes on receiving.
    pub async fn pause_replay(&self, world: &World) {
        one(&world.replica_sql, "SELECT pg_wal_replay_pause()::text").await;
        eventually("the replay pauses", || async {
            let state = one(&world.replica_sql, "SELECT pg_get_wal_replay_pause_state()").await;
            let state: String = state.try_get_by_index(0).unwrap();
            if state == "paused" { Ok(()) } else { Err(state) }
        })
        .await;
    }

    /// Waits until the replica has received what the primary has written, whether or not it has replayed it.
    pub async fn received(&self, world: &World) {
        let position: String =
            one(&world.sql, "SELECT pg_current_wal_flush_lsn()::text").await.try_get_by_index(0).unwrap();
        eventually("the replica receives it", || async {
            let received = format!("SELECT pg_last_wal_receive_lsn() >= '{position}'::pg_lsn");
            let received: bool = one(&world.replica_sql, &received).await.try_get_by_index(0).unwrap();
            if received { Ok(()) } else { Err("it has not yet") }
        })
        .await;
    }

    /// Has the primary send the replica nothing any more.
    pub async fn cut_replication(&self, world: &World) {
        let rules = self.directory("primary").join("pg_hba.conf");
        let before = fs::read_to_string(&rules).unwrap();
        fs::write(&rules, format!("local replication all reject\n{before}")).unwrap();
        one(&world.sql, "SELECT pg_reload_conf()").await;
        eventually("the replica is cut off", || async {
            one(&world.sql, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication").await;
            let senders: i64 =
                one(&world.sql, "SELECT count(*) FROM pg_stat_replication").await.try_get_by_index(0).unwrap();
            let receivers: i64 =
                one(&world.replica_sql, "SELECT count(*) FROM pg_stat_wal_receiver").await.try_get_by_index(0).unwrap();
            if senders + receivers == 0 { Ok(()) } else { Err((senders, receivers)) }
        })
        .await;
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        // Who stands still cannot be told to end.
        for pid in self.data.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
        }
    }
}
