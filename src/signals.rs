//! The signals that end a process in order: SIGINT, which Ctrl-C sends, and SIGTERM.

use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind, signal};

/// Listens for them. One that comes while nobody waits is remembered.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// Listens from now on: from here a signal ends nothing by itself.
    ///
    /// # Errors
    /// The process cannot listen.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one.
    pub async fn received(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
        }
    }

    /// Works, unless a signal comes first: the work is then dropped where it is.
    ///
    /// # Errors
    /// The work failed, or a signal came.
    pub async fn unless<T>(&mut self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            name = self.received() => anyhow::bail!("{name}: interrupted; what is done stays, and the same command goes on from there"),
            done = work => done,
        }
    }
}
