//! The operating system user that PostgreSQL's programs run as. Refuses to run any of them as root.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User};

use super::Error;

/// A user, and whether this process must switch to it.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub uid: u32,
    gid: u32,
    /// We are root, and this user is not.
    switch: bool,
}

impl Account {
    /// The user for the cluster in `directory`: ourselves, or, where we are root, the owner of the
    /// files that are there, else `postgres`, else `nobody`.
    pub fn of(directory: &Path) -> Result<Self, Error> {
        let own = Self::own();
        if own.uid != 0 {
            return Ok(own);
        }
        if let Ok(primary) = fs::metadata(directory.join("primary"))
            && primary.uid() != 0
        {
            return Ok(Self { uid: primary.uid(), gid: primary.gid(), switch: true });
        }
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), switch: true })
            .ok_or(Error::NoAccount)
    }

    /// This process's user, root included: only for asking a program for its version.
    pub fn own() -> Self {
        Self { uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw(), switch: false }
    }

    /// Whether this process is root and runs the programs as somebody else.
    pub fn is_other(&self) -> bool {
        self.switch
    }

    /// Whether the user may pass through every existing directory above and at `path`.
    pub fn can_reach(&self, path: &Path) -> bool {
        path.ancestors().filter_map(|ancestor| fs::metadata(ancestor).ok()).all(|metadata| {
            let bit = if metadata.uid() == self.uid {
                0o100
            } else if metadata.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            metadata.mode() & bit != 0
        })
    }

    /// Gives `path` to the user, where this process is root; never what a link points to.
    pub fn own_path(&self, path: &Path) -> Result<(), Error> {
        if self.switch {
            lchown(path, Some(self.uid), Some(self.gid)).map_err(Error::file("cannot change the owner of", path))?;
        }
        Ok(())
    }

    /// Makes sure that `path` is a directory of the user that nobody else can enter.
    pub fn private_directory(&self, path: &Path) -> Result<(), Error> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(_) if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) => {}
            Err(error) => return Err(Error::file("cannot make the directory", path)(error)),
        }
        self.own_path(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(Error::file("cannot protect", path))
    }

    /// Runs a program to its end as the user and gives what it printed.
    ///
    /// The environment is emptied: a `PGOPTIONS`, `PGHOSTADDR` or `PGSSLMODE` of the caller would
    /// otherwise reach the servers and the replica's connection. A process group of its own keeps a
    /// Ctrl-C in the terminal away from it.
    pub fn run(&self, mut command: Command) -> Result<String, Error> {
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.current_dir("/").stdin(Stdio::null()).process_group(0);
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
        let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let output = match command.output() {
            Ok(output) => output,
            Err(error) => return Err(Error::Program { program, detail: error.to_string() }),
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = [output.stderr, output.stdout].concat();
        Err(Error::Program { program, detail: last_lines(&String::from_utf8_lossy(&said)) })
    }
}

/// The end of a text that may be long, short enough for an error message.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
