//! Makes and starts the primary. Never changes or removes one that is complete.

use std::fs::OpenOptions;
use std::io::Write;

use postgresql_commands::CommandBuilder;
use postgresql_commands::initdb::InitDbBuilder;

use super::making::{new_directory, put_in_place};
use super::server::Server;
use super::{Durability, Error, SUPERUSER};

/// Written into `postgresql.conf` once, so that its owner can change them; the replica gets a copy.
const SETTINGS: &str = "
# Trellis: a small private server. Socket, port and durability are given at the start.
max_connections = 200
shared_buffers = 256MB
random_page_cost = 1.1
jit = off
wal_level = replica
# A replica that stays away for longer is made anew.
max_slot_wal_keep_size = 2GB
# On the replica: its long reports are not cancelled by the primary's vacuum.
hot_standby_feedback = on
# A vacuum after a large write need not wait long until the replica has said that it looks at nothing older; the default
# is 10 s.
wal_receiver_status_interval = 1s
# A replica that lost the primary tries again soon; the default is 5 s.
wal_retrieve_retry_interval = 500ms
";

/// Starts the primary, making it first where there is none.
pub(super) fn start(primary: &Server, durability: Durability) -> Result<(), Error> {
    if !primary.directory.exists() {
        make(primary, durability)?;
    }
    primary.start(&[])
}

fn make(primary: &Server, durability: Durability) -> Result<(), Error> {
    let new = new_directory(primary)?;
    let init = |ctype: &str| {
        let mut command = InitDbBuilder::new()
            .program_dir(primary.binaries.directory())
            .pgdata(&new)
            .username(SUPERUSER)
            .auth("trust")
            .encoding("UTF8")
            .locale("C")
            .lc_ctype(ctype)
            .data_checksums()
            .no_instructions();
        if durability == Durability::Temporary {
            command = command.no_sync();
        }
        primary.account.run(command.build())
    };
    // Order by code point, and letters of every language known as letters, which `lower` and
    // `pg_trgm` need. A system without that locale knows ASCII letters only.
    init("C.UTF-8").or_else(|error| {
        tracing::warn!(%error, "initdb refused the locale C.UTF-8, trying C");
        init("C")
    })?;
    let file = new.join("postgresql.conf");
    OpenOptions::new()
        .append(true)
        .open(&file)
        .and_then(|mut file| file.write_all(SETTINGS.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(Error::file("cannot write", &file))?;
    put_in_place(&new, &primary.directory)
}
