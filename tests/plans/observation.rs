//! Two seeded databases, and what PostgreSQL does there for every statement of the registry.

use std::collections::HashMap;
use std::process::Command;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use tokio::sync::OnceCell;
use trellis::database::{Addresses, Database, Meter, Needs, Operation, Planning, Sent, administration};
use trellis::metrics::Metrics;
use trellis::plan::{Node, Plan};
use trellis::registry::{self, Kind, Parents, Registered, Sample};

use crate::cluster::{new_addresses, one, settings};
use crate::expectations::FILTERS;

/// Seals what nobody gets to see.
const SECRET: &str = "a secret of the tests, of 32 bytes or more";

/// What a database is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    pub tasks: u64,
    pub projects: u64,
    pub workspaces: u64,
}

/// The two whose pages are compared: a project has some 1,600 tasks in both.
pub const SMALL: Data = Data { tasks: 100_000, projects: 50, workspaces: 2 };
pub const LARGE: Data = Data { tasks: 1_000_000, projects: 500, workspaces: 20 };

/// A project has some 8 tasks, and PostgreSQL, which does not know which one is asked for, plans for so many; but one has
/// 10,000. A plan that is good for the small ones alone shows there.
pub const SCATTERED: Data = Data { tasks: 50_000, projects: 5_000, workspaces: 20 };

pub const DATA: [Data; 3] = [SMALL, LARGE, SCATTERED];

/// The largest project has 20 of 100 tasks: 20,000, 200,000 and 10,000.
const SKEW: &str = "20";

/// Ordinary projects, of some seven workspaces.
pub const ORDINARY: Parents = Parents::Ordinary(10);

/// What PostgreSQL did for a statement.
pub struct Observed {
    pub parents: Parents,
    pub planning: Planning,
    pub kind: Kind,
    pub name: &'static str,
    pub variant: String,
    /// How many parents the statement answered.
    pub keys: usize,
    pub plan: Plan,
}

/// A seeded database.
pub struct Seeded {
    pub data: Data,
    /// Pages of 8 kB, by table.
    pub pages: HashMap<String, i32>,
    /// The projects of the workspace that has the most.
    pub projects_of_workspace: i64,
    pub observed: Vec<Observed>,
}

/// The databases, seeded and asked once for all tests. The smaller ones are asked while the largest is being filled.
pub async fn seeded() -> &'static [Seeded; 3] {
    static SEEDED: OnceCell<[Seeded; 3]> = OnceCell::const_new();
    SEEDED
        .get_or_init(|| async {
            let [first, second, third] = DATA.map(|data| Box::pin(seed_and_observe(data)));
            tokio::join!(first, second, third).into()
        })
        .await
}

async fn seed_and_observe(data: Data) -> Seeded {
    let started = Instant::now();
    let addresses = seed(data).await;
    println!("{} tasks are there after {} s", data.tasks, started.elapsed().as_secs());
    let sql = administration::connect(&addresses.primary).await.unwrap();
    let mut pages = HashMap::new();
    let tables = "SELECT relname::text, relpages FROM pg_class \
                  WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    for row in sql.query_all_raw(Statement::from_string(DbBackend::Postgres, tables)).await.unwrap() {
        pages.insert(row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap());
    }
    let most = "SELECT count(*) FROM projects WHERE deleted_at IS NULL GROUP BY workspace_id ORDER BY 1 DESC LIMIT 1";
    let projects_of_workspace = one(&sql, most).await.try_get_by_index(0).unwrap();
    let observed = observe(&sql, &addresses).await;
    sql.close().await.unwrap();
    println!("their {} plans are there after {} s", observed.len(), started.elapsed().as_secs());
    Seeded { data, pages, projects_of_workspace, observed }
}

/// A database with so many tasks and projects, where nothing but the seed's own VACUUM ANALYZE ever vacuums or analyzes: plans and
/// heap fetches do not depend on when autovacuum comes by. One connection fills it, so that the rows lie in the table as
/// they were made: where a page's rows lie is a part of what it costs.
async fn seed(data: Data) -> Addresses {
    // The replica follows the cluster; the plans are those of the primary.
    let addresses = Addresses { replicas: Vec::new(), ..new_addresses().await };
    let sql = administration::connect(&addresses.primary).await.unwrap();
    for table in ["users", "workspaces", "members", "projects", "tasks", "comments", "idempotency_keys"] {
        sql.execute_unprepared(&format!("ALTER TABLE {table} SET (autovacuum_enabled = off)")).await.unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_trellis"));
    for name in trellis::config::variables() {
        command.env_remove(name);
    }
    command.args(["--database-url", &addresses.primary, "seed", "--skew", SKEW, "--connections", "1"]);
    for (option, number) in [("--tasks", data.tasks), ("--projects", data.projects), ("--workspaces", data.workspaces)]
    {
        command.args([option, &number.to_string()]);
    }
    let ended = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    sql.execute_unprepared(IDEMPOTENCY_KEYS).await.unwrap();
    sql.execute_unprepared("VACUUM (ANALYZE) idempotency_keys").await.unwrap();
    sql.close().await.unwrap();
    addresses
}

/// What a day of 20,000 writes leaves, which the seed does not make.
const IDEMPOTENCY_KEYS: &str = "
INSERT INTO idempotency_keys (id, user_id, key, fingerprint, created_at)
SELECT gen_random_uuid(), (SELECT id FROM users ORDER BY id LIMIT 1), number::text, '', now() - number * interval '4.4 s'
FROM generate_series(1, 20000) AS number";

/// Every statement that reads, with both plans, on two connections; then those that write: what they leave, though it is
/// rolled back, makes an index-only scan look into the table.
async fn observe(sql: &DatabaseConnection, addresses: &Addresses) -> Vec<Observed> {
    let pools = settings(&["--acquire-timeout-ms", "60000"]).pools;
    let database = Database::connect(addresses, &pools, SECRET, &Metrics::default()).await.unwrap();
    let route = database.route(Operation::Query, &Meter::default(), Needs::default()).await.unwrap();
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for parents in [ORDINARY, Parents::Largest] {
        let sample = Sample::of(sql, parents).await.unwrap();
        for registered in registry::representative(&sample) {
            let Registered { kind, variant, statement } = registered;
            let reader = if kind == Kind::Report { &route.reports.reader } else { &route.rows };
            let sent = reader.sent(statement);
            let list = if kind == Kind::Write { &mut writes } else { &mut reads };
            for planning in [Planning::Custom, Planning::Generic] {
                list.push((parents, kind, variant.clone(), sent.clone(), planning));
            }
        }
    }
    let asked = &database;
    let explain = |(parents, kind, variant, sent, planning): (Parents, Kind, String, Sent, Planning)| async move {
        let (name, keys) = (sent.statement().name(), sent.statement().key_count());
        let plan = Plan::parse(&asked.explain(&sent, planning).await.unwrap()).unwrap();
        Observed { parents, planning, kind, name, variant, keys, plan }
    };
    let mut all: Vec<Observed> = stream::iter(reads).map(explain).buffered(2).collect().await;
    all.extend(stream::iter(writes).then(explain).collect::<Vec<_>>().await);
    database.close().await;
    all
}

impl Seeded {
    /// What sets a database apart from the others.
    pub fn title(&self) -> String {
        format!("{} tasks in {} projects", self.data.tasks, self.data.projects)
    }
}

impl Observed {
    /// What sets a statement apart from all others of its database.
    pub fn title(&self) -> String {
        let Self { name, variant, parents, planning, .. } = self;
        format!("{name}: {variant} ({parents:?}, {planning:?})")
    }

    /// The words of the variant.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.variant.split(", ")
    }

    pub fn has(&self, word: &str) -> bool {
        self.words().any(|own| own == word)
    }

    /// The filters of a list or a count.
    pub fn filters(&self) -> Vec<&str> {
        self.words().filter(|word| FILTERS.contains(word)).collect()
    }

    /// The nodes that ran.
    pub fn nodes(&self) -> Vec<&Node> {
        self.plan.nodes().into_iter().filter(|node| node.has_run()).collect()
    }

    /// Pages of tables and indexes that were touched.
    pub fn buffers(&self) -> f64 {
        f64::from(u32::try_from(self.plan.root.buffers.shared()).unwrap())
    }

    pub fn keys(&self) -> f64 {
        f64::from(u32::try_from(self.keys).unwrap())
    }
}
