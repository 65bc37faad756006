//! A server's directory in the making has a name of its own until it is complete, so that an
//! interrupted start never leaves half a server behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::Error;
use super::server::Server;

/// An empty directory beside the one that `server` will have.
pub(super) fn new_directory(server: &Server) -> Result<PathBuf, Error> {
    // A program of a killed Trellis may still be writing to the name that it was given.
    let new = server.directory.with_extension(format!("new-{}", std::process::id()));
    server.account.private_directory(&new)?;
    Ok(new)
}

/// Gives a complete directory its name, in a way that a loss of power does not undo.
pub(super) fn put_in_place(new: &Path, directory: &Path) -> Result<(), Error> {
    let sync =
        |path: &Path| File::open(path).and_then(|path| path.sync_all()).map_err(Error::file("cannot sync", path));
    sync(new)?;
    fs::rename(new, directory).map_err(Error::file("cannot rename", new))?;
    sync(directory.parent().unwrap_or(Path::new("/")))
}

/// Removes from a cluster's `directory` what interrupted starts left.
pub(super) fn remove_leftovers(directory: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(Error::file("cannot read", directory))?.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("primary.new-") || name.starts_with("replica.new-") {
            // What is still being written to goes at a later start.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}
