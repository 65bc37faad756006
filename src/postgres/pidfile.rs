//! Reads `postmaster.pid`. Refuses to take an unrelated process, which got the number of a server
//! that was killed, for that server: `pg_ctl` would wait for it, or stop it.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal;
use nix::unistd::Pid;

use super::Error;

/// What the server of a directory is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is no server.
    Stopped,
    /// It is starting or stopping.
    Changing,
    /// It accepts connections.
    Ready,
}

/// The state of the server of `directory`; removes a pid file that would keep it from starting.
pub(super) fn state(directory: &Path) -> Result<State, Error> {
    let path = directory.join("postmaster.pid");
    let mut content = read(&path)?;
    if content.as_deref().is_some_and(str::is_empty) {
        // A server writes it at once; empty for longer, it is left over from a loss of power.
        thread::sleep(Duration::from_millis(100));
        content = read(&path)?;
    }
    let Some(content) = content else { return Ok(State::Stopped) };
    let mut lines = content.lines();
    let pid = lines.next().and_then(|line| line.trim().parse::<i32>().ok());
    let status = lines.nth(6).unwrap_or_default().trim();
    match pid {
        // PostgreSQL itself deals with the file of a process that is gone, and looks for remaining
        // children with its help.
        Some(pid) if signal::kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) => Ok(State::Stopped),
        Some(pid) if is_server_of(pid, directory) => {
            Ok(if matches!(status, "ready" | "standby") { State::Ready } else { State::Changing })
        }
        _ => {
            tracing::info!(path = %path.display(), "removing the pid file of a server that is gone");
            fs::remove_file(&path).map_err(Error::file("cannot remove", &path))?;
            Ok(State::Stopped)
        }
    }
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("cannot read", path)(error)),
    }
}

/// A server's working directory is its data directory. A zombie has none.
#[cfg(target_os = "linux")]
fn is_server_of(pid: i32, directory: &Path) -> bool {
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(working_directory) => working_directory == directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        // Root in a container may not look at other users' processes, except for their arguments.
        Err(_) => fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| {
            arguments.split(|byte| *byte == 0).any(|argument| argument == directory.as_os_str().as_encoded_bytes())
        }),
    }
}

#[cfg(not(target_os = "linux"))]
fn is_server_of(pid: i32, directory: &Path) -> bool {
    std::process::Command::new("ps")
        .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&*directory.to_string_lossy()))
}
