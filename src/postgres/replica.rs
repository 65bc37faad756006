//! Makes and starts the replica, and sees to it that it streams. One that cannot is thrown away and
//! made anew: everything it holds is the primary's. Never removes one that was promoted.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use postgresql_commands::CommandBuilder;
use postgresql_commands::pg_basebackup::PgBaseBackupBuilder;

use super::making::{new_directory, put_in_place};
use super::pidfile::{self, State};
use super::server::Server;
use super::{Durability, Error, SUPERUSER};

const SLOT: &str = "trellis_replica";
/// With this file in its directory a server follows another one.
const SIGNAL: &str = "standby.signal";
/// How long a replica may neither stream nor get further: ten attempts to connect.
const STALL: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// Starts the replica of a `primary` that runs, and waits until it streams.
pub(super) fn start(replica: &Server, primary: &Server, durability: Durability) -> Result<(), Error> {
    if replica.directory.exists() {
        refuse_promoted(replica)?;
        match check(replica, primary).and_then(|()| stream(replica, primary)) {
            Ok(()) => return Ok(()),
            Err(reason) => tracing::warn!(%reason, "the replica cannot follow the primary: making it anew"),
        }
        replica.stop()?;
        fs::remove_dir_all(&replica.directory).map_err(Error::file("cannot remove", &replica.directory))?;
    }
    make(replica, primary, durability)?;
    stream(replica, primary)
}

/// A directory has the signal when it gets its name, and loses it when its server is promoted.
fn refuse_promoted(replica: &Server) -> Result<(), Error> {
    let has = |name: &str| replica.directory.join(name).exists();
    if has("PG_VERSION") && !has(SIGNAL) { Err(Error::Promoted(replica.directory.clone())) } else { Ok(()) }
}

/// What is known to be wrong without a try.
fn check(replica: &Server, primary: &Server) -> Result<(), Error> {
    let wrong = |problem: &str| Err(replica.error(problem, ""));
    if system_identifier(&replica.directory)? != system_identifier(&primary.directory)? {
        return wrong("is another primary's");
    }
    let status = primary.query(&format!(
        "SELECT coalesce((SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{SLOT}'), 'missing')"
    ))?;
    match status.as_str() {
        "lost" => wrong("was away for too long: the primary no longer has what it missed"),
        "missing" => primary.query(&format!("SELECT pg_create_physical_replication_slot('{SLOT}')")).map(drop),
        _ => Ok(()),
    }
}

/// The first field of `pg_control`, made by initdb and copied by a base backup.
fn system_identifier(directory: &Path) -> Result<[u8; 8], Error> {
    let path = directory.join("global/pg_control");
    let mut identifier = [0; 8];
    File::open(&path)
        .and_then(|mut file| file.read_exact(&mut identifier))
        .map_err(Error::file("cannot read", &path))?;
    Ok(identifier)
}

fn make(replica: &Server, primary: &Server, durability: Durability) -> Result<(), Error> {
    let new = new_directory(replica)?;
    // The slot of an earlier replica may be lost, or in use by a backup whose Trellis was killed.
    primary.query(&format!(
        "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots \
         WHERE slot_name = '{SLOT}' AND active_pid IS NOT NULL"
    ))?;
    primary.query(&format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{SLOT}'"
    ))?;
    let mut command = PgBaseBackupBuilder::new()
        .program_dir(replica.binaries.directory())
        .pgdata(&new)
        .host(&primary.socket)
        .port(primary.role.port())
        .username(SUPERUSER)
        .no_password()
        .create_slot()
        .slot(SLOT)
        .wal_method("stream")
        .checkpoint("fast");
    if durability == Durability::Temporary {
        command = command.no_sync();
    }
    replica.account.run(command.build())?;
    let signal = new.join(SIGNAL);
    File::create(&signal).and_then(|file| file.sync_all()).map_err(Error::file("cannot write", &signal))?;
    replica.account.own_path(&signal)?;
    put_in_place(&new, &replica.directory)
}

/// Starts the replica and waits until it streams, for as long as it makes any progress.
fn stream(replica: &Server, primary: &Server) -> Result<(), Error> {
    if pidfile::state(&replica.directory)? == State::Stopped {
        copy_settings(replica, primary)?;
    }
    let socket = primary.socket.display();
    replica.start(&[
        ("primary_conninfo", format!("host={socket} port={} user={SUPERUSER}", primary.role.port())),
        ("primary_slot_name", SLOT.to_owned()),
    ])?;
    let mut progress = String::new();
    let mut end = Instant::now() + STALL;
    loop {
        let answer = replica.query(
            "SELECT (SELECT status FROM pg_stat_wal_receiver), pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()",
        )?;
        let (status, reached) = answer.split_once('|').unwrap_or_default();
        if status == "streaming" && primary_streams(primary)? {
            return Ok(());
        }
        // The status is no progress: it changes with each attempt to connect.
        if reached != progress {
            reached.clone_into(&mut progress);
            end = Instant::now() + STALL;
        } else if Instant::now() > end {
            return Err(replica.error("does not stream", &replica.log_tail()));
        }
        thread::sleep(POLL);
    }
}

/// A change of the primary's settings is the replica's too: it would stop replaying, still connected,
/// if its `max_connections` were the smaller one.
fn copy_settings(replica: &Server, primary: &Server) -> Result<(), Error> {
    for name in ["postgresql.conf", "postgresql.auto.conf"] {
        let copy = replica.directory.join(name);
        // As root we must not write through a link that the owner of the directory put there.
        let _ = fs::remove_file(&copy);
        fs::copy(primary.directory.join(name), &copy).map_err(Error::file("cannot write", &copy))?;
        replica.account.own_path(&copy)?;
    }
    Ok(())
}

/// The replica says that it streams as soon as it is connected; the primary knows whether it still
/// has what the replica asks for.
fn primary_streams(primary: &Server) -> Result<bool, Error> {
    let count = primary.query(&format!(
        "SELECT count(*) FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid \
         WHERE slot_name = '{SLOT}' AND state = 'streaming'"
    ))?;
    Ok(count == "1")
}
