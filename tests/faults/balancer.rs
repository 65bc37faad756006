//! `HAProxy` in front of several processes of Trellis.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::until;

/// A running `HAProxy`. Dropped, it is killed.
pub struct Balancer {
    pub address: SocketAddr,
    child: Child,
}

impl Balancer {
    /// In front of servers, each of which gets every other request for as long as its /readyz says 200.
    pub async fn start(directory: &Path, servers: &[SocketAddr]) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let servers = servers.iter().enumerate();
        let lines: Vec<String> =
            servers.map(|(number, server)| format!("    server trellis-{number} {server}")).collect();
        let file = directory.join("haproxy.cfg");
        let lines = lines.join("\n");
        fs::write(
            &file,
            format!(
                "defaults\n    mode http\n    timeout connect 1s\n    timeout client 20s\n    timeout server 20s\n    \
                 timeout check 2s\n    option redispatch\nfrontend entrance\n    bind {address}\n    default_backend trellis\n\
                 backend trellis\n    balance roundrobin\n    option httpchk GET /readyz\n    \
                 default-server check inter 200ms fall 2 rise 1\n{lines}\n"
            ),
        )?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("haproxy cannot be started")?;
        let balancer = Self { address, child };
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(1)).build()?;
        let url = format!("http://{address}/readyz");
        until("HAProxy has found a server", || async { Ok(client.get(&url).send().await?.status().is_success()) })
            .await?;
        Ok(balancer)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
