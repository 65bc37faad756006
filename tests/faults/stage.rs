//! What a fault happens to: the servers, a proxy before each, and Trellis, which knows only the proxies.

use std::time::{Duration, Instant};

use anyhow::Result;
use trellis::clock;
use trellis::identity::Signer;
use uuid::Uuid;

use crate::balancer::Balancer;
use crate::client::{Caller, Event, Kind, Load};
use crate::cluster::{Cluster, DATABASE, Server, until};
use crate::instance::{Instance, SECRET};
use crate::ledger::Entry;
use crate::proxy::Proxy;

/// How many clients write and read at the same time, and how long each rests in between: a modest load.
pub const CLIENTS: usize = 8;
const PACE: Duration = Duration::from_millis(150);

/// How long the fault may take to be overcome; what is promised is judged elsewhere.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a request of Trellis waits for a connection, by default.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a transaction may take to be undone whose request has gone: its connection's own limit, and PostgreSQL's next
/// look at the socket.
const AFTERMATH: Duration = Duration::from_millis(1_200);

/// How much time there is.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Clients are at work before the fault.
    pub before: Duration,
    /// How long a fault lasts at least, and one where nothing is answered: longer than anybody should wait, on a machine
    /// that others use too.
    pub fault: Duration,
    pub silence: Duration,
    /// How long nothing may fail until the fault counts as overcome.
    pub calm: Duration,
    /// How many requests are given up by their clients.
    pub given_up: usize,
}

impl Length {
    /// Enough for each fault to take effect.
    pub const SHORT: Self = Self {
        before: Duration::from_millis(300),
        fault: Duration::from_millis(800),
        silence: Duration::from_secs(6),
        calm: Duration::from_millis(400),
        given_up: 1_000,
    };
    pub const USUAL: Self = Self {
        before: Duration::from_millis(700),
        fault: Duration::from_millis(1_500),
        // Longer than a statement may take.
        silence: Duration::from_secs(7),
        calm: Duration::from_millis(700),
        given_up: 10_000,
    };
    pub const LONG: Self = Self { fault: Duration::from_secs(6), ..Self::USUAL };
}

/// Everything that a scenario may break.
pub struct Stage {
    pub cluster: Cluster,
    /// In the order of the servers.
    pub proxies: Vec<Proxy>,
    pub trellis: Instance,
    /// How Trellis finds the servers: at the proxies.
    pub addresses: Vec<String>,
    /// Another process of Trellis, and what shares requests out among them, where a scenario has them.
    pub second: Option<Instance>,
    pub balancer: Option<Balancer>,
    /// A user, who owns the projects.
    pub user: Uuid,
    pub projects: Vec<Uuid>,
    /// Where clients ask.
    pub entrance: String,
    pub load: Option<Load>,
    /// What was written beside the load.
    pub entries: Vec<Entry>,
    pub length: Length,
    /// Widens the times that are promised, for machines that others use too.
    pub slack: f64,
    /// What the scenario itself found to be broken.
    pub broken: Vec<String>,
    /// What it has to say besides.
    pub notes: Vec<String>,
}

impl Stage {
    /// Proxies, Trellis with the settings `words`, and a project for each client.
    pub async fn set(cluster: Cluster, words: &[&str], length: Length, slack: f64) -> Result<Self> {
        let mut proxies = Vec::new();
        for server in &cluster.servers {
            proxies.push(Proxy::start(&server.socket()).await?);
        }
        let (user, projects) = world(&cluster.servers[0]).await?;
        cluster.replicated().await?;
        let addresses: Vec<String> =
            proxies.iter().map(|proxy| format!("postgres://trellis@{}/{DATABASE}", proxy.address)).collect();
        // Where others use the machine too, a connection that is late is no sign of too many requests.
        let acquire_timeout_ms = ACQUIRE_TIMEOUT.mul_f64(slack).as_millis().to_string();
        let mut words = words.to_vec();
        if !words.contains(&"--acquire-timeout-ms") {
            words.extend(["--acquire-timeout-ms", &acquire_timeout_ms]);
        }
        let trellis = Instance::start(&cluster.directory.join("trellis.log"), &addresses, &words).await?;
        let entrance = trellis.url();
        Ok(Self {
            cluster,
            proxies,
            trellis,
            addresses,
            second: None,
            balancer: None,
            user,
            projects,
            entrance,
            load: None,
            entries: Vec::new(),
            length,
            slack,
            broken: Vec::new(),
            notes: Vec::new(),
        })
    }

    pub fn primary(&self) -> &Server {
        &self.cluster.servers[0]
    }

    pub fn replicas(&self) -> &[Server] {
        &self.cluster.servers[1..]
    }

    /// A client of its own.
    pub fn caller(&self) -> Result<Caller> {
        Caller::new(self.entrance.clone(), Signer::new(SECRET).mint(self.user, 24)?)
    }

    /// A project that no client of the load writes to.
    pub async fn new_project(&self) -> Result<Uuid> {
        let id = clock::new_id();
        project(self.primary(), id, self.user).await?;
        Ok(id)
    }

    /// Lets the clients begin.
    pub fn begin(&mut self, name: &str, updates: bool) -> Result<()> {
        let callers = (0..CLIENTS).map(|_| self.caller()).collect::<Result<_>>()?;
        self.load = Some(Load::start(callers, &self.projects, name, PACE, updates));
        Ok(())
    }

    /// Notes a promise that was broken, where it was.
    pub fn require(&mut self, is_kept: bool, broken: impl Into<String>) {
        if !is_kept {
            self.broken.push(broken.into());
        }
    }

    pub fn events(&self) -> Vec<Event> {
        self.load.as_ref().map(Load::events).unwrap_or_default()
    }

    /// Waits until nothing has failed for a while that began after `healed`, and says how long after it the last
    /// failure ended, or the first write and the first read succeeded.
    pub async fn settled(&self, healed: Instant) -> Option<Duration> {
        loop {
            let events: Vec<Event> = self.events().into_iter().filter(|event| event.began >= healed).collect();
            let first = |kind| {
                let good = events.iter().filter(|event| event.kind == kind && event.is_ok());
                good.map(Event::ended).min()
            };
            let last_bad = events.iter().filter(|event| !event.is_ok()).map(Event::ended).max();
            if let (Some(write), Some(read)) = (first(Kind::Write), first(Kind::ReadWithToken)) {
                let overcome = last_bad.unwrap_or(write.max(read));
                if overcome.elapsed() >= self.length.calm {
                    return Some(overcome - healed);
                }
            }
            if healed.elapsed() > PATIENCE {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Notes it as broken where something took longer than promised.
    pub fn require_within(&mut self, promised: Duration, took: Duration, what: &str) {
        let is_kept = took <= promised.mul_f64(self.slack);
        self.require(is_kept, format!("{what} took {} ms instead of {}", took.as_millis(), promised.as_millis()));
    }

    /// Waits until a write has failed: before, the fault is none.
    pub async fn write_fails(&self) -> Result<()> {
        let failed = || self.events().iter().any(|event| event.kind == Kind::Write && !event.is_ok());
        until("a write fails", || async { Ok(failed()) }).await
    }

    /// Counts the sessions of Trellis, on all servers, that stay in a transaction though nobody asks any more.
    pub async fn left_in_transaction(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE application_name LIKE 'trellis %' AND state LIKE 'idle in transaction%'";
        let end = Instant::now() + AFTERMATH.mul_f64(self.slack);
        loop {
            let mut left = 0;
            for server in &self.cluster.servers {
                left += u64::try_from(server.one::<i64>(sql).await?)?;
            }
            if left == 0 || Instant::now() > end {
                return Ok(left);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A user with a workspace, and in it a project for each client.
async fn world(primary: &Server) -> Result<(Uuid, Vec<Uuid>)> {
    let (user, projects) = (clock::new_id(), (0..CLIENTS).map(|_| clock::new_id()).collect::<Vec<_>>());
    primary
        .execute(&format!(
            "INSERT INTO users (id, email, name) VALUES ('{user}', '{user}@example.com', 'A user');
             INSERT INTO workspaces (id, name, slug) VALUES ('{user}', 'A workspace', 'w-{user}');
             INSERT INTO members (id, workspace_id, user_id, role) VALUES ('{user}', '{user}', '{user}', 'owner')"
        ))
        .await?;
    for id in &projects {
        project(primary, *id, user).await?;
    }
    Ok((user, projects))
}

/// A project in the workspace, whose id is the user's.
async fn project(primary: &Server, id: Uuid, user: Uuid) -> Result<()> {
    let values = format!("('{id}', '{user}', 'A project', 'active')");
    primary.execute(&format!("INSERT INTO projects (id, workspace_id, name, status) VALUES {values}")).await
}
