//! A process of the built binary that serves.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cluster::until;

/// How long a server that was told to stop may take; what it promises is judged elsewhere.
const PATIENCE: Duration = Duration::from_mins(1);

pub const SECRET: &str = "a secret of the faults, of 32 bytes or more";

/// The binary, without the settings of whoever runs this.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trellis"));
    for name in trellis::config::variables() {
        command.env_remove(name);
    }
    command
}

/// A server. Dropped, it is killed.
pub struct Instance {
    pub address: SocketAddr,
    /// What it is told, so that it can be started again as it was.
    words: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Instance {
    /// Starts one on a port of its own, and waits until it is ready.
    pub async fn start(log: &Path, databases: &[String], words: &[&str]) -> Result<Self> {
        // Free for a moment at least; a server that is started again keeps its address.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let [primary, replicas] = [&databases[..1], &databases[1..]].map(|some| some.join(","));
        let listen = address.to_string();
        let mut told: Vec<String> =
            ["--listen", &listen, "--database-url", &primary, "--jwt-secret", SECRET].map(str::to_owned).to_vec();
        if !replicas.is_empty() {
            told.extend(["--replica-urls".to_owned(), replicas]);
        }
        told.extend(words.iter().copied().map(str::to_owned));
        let mut instance = Self { address, words: told, log: log.to_owned(), child: None };
        instance.start_again()?;
        instance.ready().await?;
        Ok(instance)
    }

    /// Starts it as it was, where it has ended.
    pub fn start_again(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = program();
        command.args(&self.words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Waits until it says that it is ready, and nothing is degraded: without a primary it would answer as well.
    pub async fn ready(&self) -> Result<()> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        until(&format!("Trellis is ready; its log is {}", self.log.display()), || async {
            let answer = client.get(format!("http://{}/readyz", self.address)).send().await?;
            Ok(answer.status().is_success() && answer.text().await?.contains("\"status\":\"ready\""))
        })
        .await
    }

    /// Waits until requests of clients come to it.
    pub async fn is_asked(&self) -> Result<()> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        until(&format!("clients ask the Trellis at {}", self.address), || async {
            let figures = client.get(format!("http://{}/metrics", self.address)).send().await?.text().await?;
            Ok(figures.contains("trellis_requests_total{operation=\"mutation\",code=\"OK\"}"))
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("http://{}/graphql", self.address)
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.child.as_ref().context("it has been started")?.id();
        Ok(kill(Pid::from_raw(process.try_into()?), signal)?)
    }

    /// Waits for its end, and says how it ended and how long that took.
    pub async fn ended(&mut self) -> Result<(ExitStatus, Duration)> {
        let began = Instant::now();
        loop {
            let child = self.child.as_mut().context("it has been started")?;
            if let Some(status) = child.try_wait()? {
                return Ok((status, began.elapsed()));
            }
            ensure!(began.elapsed() < PATIENCE, "Trellis has not ended within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
