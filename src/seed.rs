//! Fills a database: with the demo, or with generated data at size.

mod chance;
mod data_set;
pub mod demo;
mod filling;
mod frame;
mod history;
mod words;

pub use data_set::DataSet;
pub use filling::{Filled, Table, fill};

use anyhow::Context;
use chrono::NaiveDate;
use indicatif::{HumanBytes, HumanCount};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::database::administration;

/// Fixed, since all ids follow from it.
const UNTIL: &str = "2026-11-01";

/// What to fill a database with.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many tasks to generate; without it, the demo is made.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=50_000_000))]
    pub tasks: Option<u64>,

    /// How many projects the tasks are in. One for 2,000 tasks where nothing is said, and 5 at least.
    #[arg(long, requires = "tasks", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub projects: Option<u64>,

    /// How many workspaces the projects are in. One for 25 projects where nothing is said. Each has some 200
    /// members, or 100 where it is the only one.
    #[arg(long, requires = "tasks", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub workspaces: Option<u64>,

    /// How many comments a task has on average: many have none, some have many.
    #[arg(long, requires = "tasks", default_value_t = 2, value_name = "N",
        value_parser = clap::value_parser!(u64).range(0..=50))]
    pub comments_per_task: u64,

    /// The share of all tasks that is in the largest project, in percent. Where nothing is said, sizes fall with the
    /// square root of the rank: of 500 projects, the largest has 2.3 % and the smallest 0.1 %.
    #[arg(long, requires = "tasks", value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(1..=99))]
    pub skew: Option<u64>,

    /// Another number gives other ids and texts.
    #[arg(long, requires = "tasks", default_value_t = 1, value_name = "NUMBER")]
    pub seed: u64,

    /// The day on which the two years of history end. It is fixed, since all ids follow from it.
    #[arg(long, requires = "tasks", default_value = UNTIL, value_name = "DATE")]
    pub until: NaiveDate,

    /// How many connections copy at once. As many as this machine has cores where nothing is said.
    #[arg(long, requires = "tasks", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub connections: Option<u16>,
}

impl Options {
    /// Those of `trellis seed --tasks N --comments-per-task N`.
    ///
    /// # Errors
    /// The day on which the history ends is none.
    pub fn of(tasks: u64, comments_per_task: u64) -> anyhow::Result<Self> {
        Ok(Self {
            tasks: Some(tasks),
            projects: None,
            workspaces: None,
            comments_per_task,
            skew: None,
            seed: 1,
            until: UNTIL.parse()?,
            connections: None,
        })
    }
}

/// Fills a database with what the options ask for, and says what it did, a line each.
///
/// # Errors
/// The database cannot be reached, has no schema yet, or goes away; what was committed stays, and a next run with the
/// same options goes on from there.
pub async fn run(address: &str, options: &Options, mut say: impl FnMut(String)) -> anyhow::Result<()> {
    if options.tasks.is_none() {
        let filled = demo::run(address).await?;
        say(if filled { "filled with the demo" } else { "left as it is: there are users already" }.to_owned());
        return Ok(());
    }
    let data = DataSet::new(options)?;
    let connections = options.connections.unwrap_or_else(cores);
    let Filled { tasks, comments, copying, vacuuming, tables } = fill(address, &data, connections).await?;
    if tasks == 0 {
        say(format!("left as it is: these {} tasks are there already", HumanCount(data.tasks)));
    } else {
        let rate = u128::from(tasks + comments) * 1_000 / copying.as_millis().max(1);
        say(format!(
            "filled with {} tasks and {} comments in {:.1} s, {rate} rows/s",
            HumanCount(tasks),
            HumanCount(comments),
            copying.as_secs_f64()
        ));
    }
    say(format!("vacuumed and analyzed in {:.1} s", vacuuming.as_secs_f64()));
    for Table { name, heap_bytes, index_bytes } in tables {
        say(format!("{name}: {} and {} of indexes", HumanBytes(heap_bytes), HumanBytes(index_bytes)));
    }
    say(format!("for a token of the owner of all its workspaces: trellis token --email {}", data.email()));
    Ok(())
}

/// The e-mail address of whom to be when trying what a database was filled with: the demo's user, or else who owns the
/// most workspaces; none where nobody owns any.
///
/// # Errors
/// The database cannot be reached, or has no schema yet.
pub async fn owner(address: &str) -> anyhow::Result<Option<String>> {
    const OWNER: &str = "
SELECT u.email FROM members m JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL
WHERE m.role = 'owner' AND m.deleted_at IS NULL
GROUP BY u.email ORDER BY u.email = $1 DESC, count(*) DESC, u.email LIMIT 1";
    let connection = administration::connect(address).await.context("the database cannot be reached")?;
    let find = Statement::from_sql_and_values(DbBackend::Postgres, OWNER, [demo::EMAIL.into()]);
    let email = connection.query_one_raw(find).await?.map(|row| row.try_get_by_index(0)).transpose()?;
    connection.close().await?;
    Ok(email)
}

fn cores() -> u16 {
    std::thread::available_parallelism().ok().and_then(|cores| u16::try_from(cores.get()).ok()).unwrap_or(1).min(64)
}
