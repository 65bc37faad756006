//! How many connections each door has: 2 x cores + disks for a database host as a whole, of that an instance's share,
//! split over the doors that lead to the host.

use std::fmt::{Display, Formatter, Result as FormatResult};
use std::net::IpAddr;

use sea_orm::DbErr;
use sea_orm::sqlx::postgres::PgConnectOptions;

use super::Addresses;
use super::administration::parse_address;
use crate::config::PoolSettings;

/// The fewest connections with which a door works: two where one long report would hold up all others; the read-only one
/// of the primary is the only way of reports where there is no replica.
const LEAST_OF_PRIMARY: u32 = 2;
const LEAST_OF_REPLICA: u32 = 2;
const LEAST_OF_FALLBACK: u32 = 1;
const LEAST_OF_FALLBACK_ALONE: u32 = 2;

/// Beside the doors, one connection watches the server. It asks four times a second, and is not counted as work.
const WATCHER: u32 = 1;

/// How much of a share each door of reports has on the primary's host: a quarter, so that they cannot starve the rest.
const PART_OF_REPORTS: u32 = 4;

/// What a database host can work on at once, and how many instances of Trellis share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its processor cores.
    pub cores: u32,
    /// Its disks that can work at the same time.
    pub disks: u32,
    /// Instances of Trellis that are configured alike.
    pub instances: u32,
}

impl Budget {
    /// From the settings; without a word about cores, those of this machine.
    #[must_use]
    pub fn of(settings: &PoolSettings) -> Self {
        Self {
            cores: settings.database_cores.unwrap_or_else(cores_of_this_machine),
            disks: settings.database_disks,
            instances: settings.instances,
        }
    }

    /// Connections for the host as a whole. The rule is that of the PostgreSQL wiki, "Number Of Database Connections".
    #[must_use]
    pub fn total(self) -> u32 {
        2 * self.cores + self.disks
    }

    /// Connections for one instance, rounded down.
    #[must_use]
    pub fn share(self) -> u32 {
        self.total() / self.instances
    }
}

impl Display for Budget {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> FormatResult {
        let Self { cores, disks, .. } = self;
        let plural = |number: u32| if number == 1 { "" } else { "s" };
        write!(formatter, "2 x {cores} core{} + {disks} disk{} = {}", plural(*cores), plural(*disks), self.total())
    }
}

fn cores_of_this_machine() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

/// What a door is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Rows and writes.
    Primary,
    /// The primary for reports that no replica serves.
    PrimaryReadOnly,
    /// Reports.
    Replica,
}

/// The pool of one door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The door's name.
    pub door: String,
    /// What it is for.
    pub role: Role,
    /// How many connections it may have.
    pub connections: u32,
    /// Where it leads.
    server: Server,
}

/// One PostgreSQL server. Several may share a host, and so its cores and disks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    host: Host,
    /// What tells it from the others of its host: a socket's directory or nothing, and the port.
    place: (String, u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    ThisMachine,
    Other(String),
}

impl Server {
    fn of(options: &PgConnectOptions) -> Self {
        let name = options.get_host().to_ascii_lowercase();
        let is_loopback = |ip: IpAddr| ip.is_loopback();
        let is_loopback = name == "localhost" || name.trim_matches(['[', ']']).parse().is_ok_and(is_loopback);
        let (host, directory) = match options.get_socket() {
            Some(directory) => (Host::ThisMachine, directory.display().to_string()),
            None if name.starts_with('/') => (Host::ThisMachine, name),
            None if is_loopback => (Host::ThisMachine, String::new()),
            None => (Host::Other(name), String::new()),
        };
        Self { host, place: (directory, options.get_port()) }
    }
}

/// The pools of one instance.
#[derive(Clone, Debug)]
pub struct Pools {
    budget: Budget,
    of_primary: [Pool; 2],
    of_replicas: Vec<Pool>,
    /// Whether the settings tell how many cores a database host has.
    tells_cores: bool,
}

impl Pools {
    /// Splits the budget of each host over the doors that lead there; what the settings say of a door goes before that.
    ///
    /// # Errors
    /// An address is not a PostgreSQL URL.
    pub fn plan(addresses: &Addresses, settings: &PoolSettings) -> Result<Self, DbErr> {
        let budget = Budget::of(settings);
        let primary = Server::of(&parse_address(&addresses.primary)?);
        let replicas = addresses.replicas.iter().map(|address| Ok(Server::of(&parse_address(address)?)));
        let replicas = replicas.collect::<Result<Vec<Server>, DbErr>>()?;

        let part = budget.share() / PART_OF_REPORTS;
        let least = if replicas.is_empty() { LEAST_OF_FALLBACK_ALONE } else { LEAST_OF_FALLBACK };
        let fallback = settings.report_connections.unwrap_or(part.max(least));
        let of_replica = |server: &Server| {
            let neighbours = replicas.iter().filter(|other| other.host == server.host).count();
            let neighbours = u32::try_from(neighbours).unwrap_or(u32::MAX);
            let shared = if server.host == primary.host { part } else { budget.share() / neighbours };
            settings.report_connections.unwrap_or(shared.max(LEAST_OF_REPLICA))
        };
        let of_replicas: Vec<u32> = replicas.iter().map(of_replica).collect();
        let beside_primary = replicas.iter().zip(&of_replicas).filter(|(server, _)| server.host == primary.host);
        let for_reports = fallback + beside_primary.map(|(_, connections)| connections).sum::<u32>();
        let rest = budget.share().saturating_sub(for_reports).max(LEAST_OF_PRIMARY);

        let pool = |role, door: &str, connections, server| Pool { door: door.to_owned(), role, connections, server };
        let for_rows = settings.primary_connections.unwrap_or(rest);
        let of_primary = [
            pool(Role::Primary, "primary", for_rows, primary.clone()),
            pool(Role::PrimaryReadOnly, "primary-read-only", fallback, primary),
        ];
        let numbered = (1..).zip(replicas.into_iter().zip(of_replicas));
        let of_replicas: Vec<Pool> = numbered
            .map(|(number, (server, connections))| {
                pool(Role::Replica, &format!("replica-{number}"), connections, server)
            })
            .collect();
        Ok(Self { budget, of_primary, of_replicas, tells_cores: settings.database_cores.is_some() })
    }

    /// The pools of the doors of the primary: for rows and writes, and read-only.
    #[must_use]
    pub fn of_primary(&self) -> &[Pool; 2] {
        &self.of_primary
    }

    /// The pools of the doors of the replicas, in the order of their addresses.
    #[must_use]
    pub fn of_replicas(&self) -> &[Pool] {
        &self.of_replicas
    }

    /// The pool that a replica has for writes once it is promoted: as large as the primary's, and empty until then.
    #[must_use]
    pub fn after_promotion(&self, replica: &Pool) -> Pool {
        let [of_primary, _] = &self.of_primary;
        Pool { door: format!("{}-writes", replica.door), server: replica.server.clone(), ..of_primary.clone() }
    }

    fn all(&self) -> impl Iterator<Item = &Pool> {
        self.of_primary.iter().chain(&self.of_replicas)
    }

    /// Whether this machine's cores stand for those of another host, since the settings do not tell those.
    #[must_use]
    pub fn assumes_cores(&self) -> bool {
        self.all().any(|pool| self.assumes_cores_of(pool))
    }

    fn assumes_cores_of(&self, pool: &Pool) -> bool {
        !self.tells_cores && pool.server.host != Host::ThisMachine
    }

    /// What all doors to a door's server ask of it.
    #[must_use]
    pub fn load(&self, door: &Pool) -> Load {
        let to_server = self.all().filter(|other| other.server == door.server);
        let to_host = self.all().filter(|other| other.server.host == door.server.host);
        Load {
            doors: to_server
                .map(|pool| (pool.door.clone(), pool.connections))
                .chain([("watcher".to_owned(), WATCHER)])
                .collect(),
            on_host: to_host.map(|pool| pool.connections).sum(),
            budget: self.budget,
            assumes_cores: self.assumes_cores_of(door),
        }
    }
}

/// What the doors to one server ask of it and of its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The doors of one instance to the server and its watcher, each with its connections.
    pub doors: Vec<(String, u32)>,
    /// Connections of one instance to the server's host, these included.
    pub on_host: u32,
    /// What the host can work on at once.
    pub budget: Budget,
    /// Whether that follows from the cores of this machine although the host is another one.
    pub assumes_cores: bool,
}

/// How many connections a server takes from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Its `max_connections`.
    pub max_connections: u32,
    /// Of these, what it keeps for others: `superuser_reserved_connections`, and `reserved_connections` since 16.
    pub reserved: u32,
    /// The limit of our role or of our database, whichever is lower, where there is one that holds for us.
    pub limit: Option<u32>,
}

impl Capacity {
    /// What is left.
    #[must_use]
    pub fn available(self) -> u32 {
        let left = self.max_connections.saturating_sub(self.reserved);
        self.limit.map_or(left, |limit| limit.min(left))
    }
}

/// Connections beside the pools: a run of migrations opens two, one for its lock.
const ADMINISTRATION: u32 = 2;

/// Whether a server has room for all instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has, and its host can work on all of it at once.
    Fits,
    /// It has, but its host is asked for more than it can work on at once.
    OverBudget,
    /// It has not: some day a connection is refused.
    NoRoom,
}

impl Verdict {
    /// What follows from it; nothing where all fits.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Fits => "",
            Self::OverBudget => "more than cores and disks can work on at once, so each statement is slower",
            Self::NoRoom => "not enough: some day a connection is refused",
        }
    }

    /// What to do; nothing where all fits.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Fits => "",
            Self::OverBudget => {
                "tell TRELLIS_DATABASE_CORES and TRELLIS_DATABASE_DISKS if the host has more, or lower \
                 TRELLIS_INSTANCES, TRELLIS_PRIMARY_CONNECTIONS or TRELLIS_REPORT_CONNECTIONS"
            }
            Self::NoRoom => {
                "raise max_connections, or lower TRELLIS_INSTANCES, TRELLIS_PRIMARY_CONNECTIONS or \
                 TRELLIS_REPORT_CONNECTIONS"
            }
        }
    }
}

/// A server's load against its capacity. Displayed, it is the whole sum in a line, and what to do where it does not add
/// up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arithmetic {
    /// What we ask for.
    pub load: Load,
    /// What there is.
    pub capacity: Capacity,
}

impl Arithmetic {
    /// Connections of all instances to the server.
    #[must_use]
    pub fn needed(&self) -> u32 {
        let one = self.load.doors.iter().map(|(_, connections)| connections).sum::<u32>();
        one.saturating_mul(self.load.budget.instances).saturating_add(ADMINISTRATION)
    }

    /// What the numbers say.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let on_host = self.load.on_host.saturating_mul(self.load.budget.instances);
        if self.needed() > self.capacity.available() {
            Verdict::NoRoom
        } else if on_host > self.load.budget.total() {
            Verdict::OverBudget
        } else {
            Verdict::Fits
        }
    }

    /// The whole sum.
    #[must_use]
    pub fn sum(&self) -> String {
        let Load { doors, on_host, budget, .. } = &self.load;
        let Capacity { max_connections, reserved, limit } = self.capacity;
        let instances = budget.instances;
        let names: Vec<String> = doors.iter().map(|(name, connections)| format!("{name} {connections}")).collect();
        let (names, needed, available) = (names.join(" + "), self.needed(), self.capacity.available());
        let source = match limit {
            Some(limit) if limit == available => "the role's or database's limit".to_owned(),
            _ => format!("max_connections {max_connections} - {reserved} reserved"),
        };
        let all = on_host.saturating_mul(instances);
        format!(
            "{instances} x ({names}) + {ADMINISTRATION} for administration = {needed} connections of {available} \
             ({source}); on the host {instances} x {on_host} = {all} of {budget}"
        )
    }
}

impl Display for Arithmetic {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> FormatResult {
        let verdict = self.verdict();
        match verdict {
            Verdict::Fits => write!(formatter, "{}", self.sum()),
            _ => write!(formatter, "{}: {}; {}", self.sum(), verdict.meaning(), verdict.remedy()),
        }
    }
}
