//! Finds an installed PostgreSQL. Refuses to download one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use postgresql_commands::CommandBuilder;
use postgresql_commands::postgres::PostgresBuilder;

use super::Error;
use super::account::Account;

/// The oldest version that Trellis is tested with.
const OLDEST_VERSION: u32 = 15;
const PROGRAMS: [&str; 5] = ["initdb", "pg_ctl", "postgres", "pg_basebackup", "psql"];

/// The directory with PostgreSQL's programs, and their version.
#[derive(Debug, Clone)]
pub struct Binaries {
    directory: PathBuf,
    major: u32,
}

impl Binaries {
    /// Finds the programs in `bin_dir`, or without one wherever they are usually installed.
    ///
    /// # Errors
    ///
    /// [`Error::NotInstalled`], or [`Error::BinDirectory`] where `bin_dir` does not hold them.
    pub fn find(bin_dir: Option<&Path>) -> Result<Self, Error> {
        Self::find_for(&Account::own(), bin_dir, None)
    }

    /// As [`Binaries::find`], for programs that `account` can run and that can open the files which
    /// the major version `made_by` wrote: a new major version does not read an old one's.
    pub(super) fn find_for(
        account: &Account,
        bin_dir: Option<&Path>,
        made_by: Option<(u32, &Path)>,
    ) -> Result<Self, Error> {
        let mut other = None;
        if let Some(path) = bin_dir {
            let found = Self::at(account, path.to_path_buf())
                .map_err(|reason| Error::BinDirectory { path: path.to_path_buf(), reason })?;
            if made_by.is_none_or(|(major, _)| major == found.major) {
                return Ok(found);
            }
            other = Some(found);
        } else {
            let mut seen = Vec::new();
            for source in [from_pg_config, from_path, from_usual_directories] {
                for directory in source() {
                    if seen.contains(&directory) {
                        continue;
                    }
                    seen.push(directory.clone());
                    match Self::at(account, directory) {
                        Ok(found) if made_by.is_none_or(|(major, _)| major == found.major) => return Ok(found),
                        Ok(found) => other = other.or(Some(found)),
                        Err(_) => {}
                    }
                }
            }
        }
        match (other, made_by) {
            (Some(found), Some((made_by, directory))) => {
                Err(Error::OtherVersion { directory: directory.to_path_buf(), made_by, found: found.major })
            }
            _ => Err(Error::NotInstalled),
        }
    }

    /// Where the programs are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The major version, for example 15.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    fn at(account: &Account, directory: PathBuf) -> Result<Self, String> {
        if let Some(missing) = PROGRAMS.iter().find(|program| !directory.join(program).is_file()) {
            return Err(format!("{missing} is not there"));
        }
        let postgres = PostgresBuilder::new().program_dir(&directory).version().build();
        let said = account.run(postgres).map_err(|error| error.to_string())?;
        match major_version(&said) {
            Some(major) if major >= OLDEST_VERSION => Ok(Self { directory, major }),
            Some(major) => Err(format!("its version is {major}, and {OLDEST_VERSION} or newer is needed")),
            None => Err(format!("its version is not understood: {said}")),
        }
    }
}

/// Reads "postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)", "… 18beta1" and "… 19devel".
fn major_version(said: &str) -> Option<u32> {
    let version = said.split_whitespace().nth(2)?;
    let digits = version.find(|character: char| !character.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().ok()
}

fn from_pg_config() -> Vec<PathBuf> {
    match Command::new("pg_config").arg("--bindir").output() {
        Ok(output) if output.status.success() => {
            vec![PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())]
        }
        _ => Vec::new(),
    }
}

fn from_path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

fn from_usual_directories() -> Vec<PathBuf> {
    [
        ("/usr/lib/postgresql", ""),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
        ("/usr", "pgsql-"),
    ]
    .iter()
    .flat_map(|(parent, prefix)| versions_in(Path::new(parent), prefix))
    .collect()
}

/// The `bin` of each directory called `prefix` and a version number, the highest version first.
fn versions_in(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, directory)| directory).collect()
}
