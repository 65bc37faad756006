//! What the options ask for, with every default settled: the same data set always has the same rows.

use anyhow::{Context, ensure};
use chrono::{DateTime, Days, NaiveTime, Utc};
use sha2::{Digest, Sha256};

use super::Options;
use super::chance::Chance;

/// A generated data set. All ids and texts follow from these values, and from nothing else.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// How many tasks.
    pub tasks: u64,
    /// How many projects the tasks are in.
    pub projects: u64,
    /// How many workspaces the projects are in.
    pub workspaces: u64,
    /// How many comments a task has on average.
    pub comments_per_task: u64,
    /// The share of the tasks that the largest project has, in percent; none leaves it to the law of sizes.
    pub skew: Option<u64>,
    /// The end of the history, which begins [`DAYS`] earlier.
    pub until: DateTime<Utc>,
    key: [u8; 32],
}

/// Changes when the generator does, so that a later version never continues an earlier one's rows as if they were its own.
const GENERATOR: u32 = 1;

/// How long the history is: two years.
pub const DAYS: u64 = 730;

/// How many tasks are written in one transaction, with their comments: what an interruption can lose, for each
/// connection.
pub const CHUNK: u64 = 1_000;

impl DataSet {
    /// Settles the defaults: 2,000 tasks a project, 25 projects a workspace.
    ///
    /// # Errors
    /// The number of tasks is missing, or the skew is less than what the largest project has anyway.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        let tasks = options.tasks.context("the number of tasks is missing: --tasks N")?;
        let projects = options.projects.unwrap_or((tasks / 2_000).max(5));
        let workspaces = options.workspaces.unwrap_or((projects / 25).max(1));
        let (comments_per_task, skew, seed) = (options.comments_per_task, options.skew, options.seed);
        let until = options.until.and_time(NaiveTime::MIN).and_utc();
        let text = format!(
            "generator={GENERATOR} tasks={tasks} projects={projects} workspaces={workspaces} \
             comments_per_task={comments_per_task} skew={skew:?} seed={seed} until={until}"
        );
        let key = Sha256::digest(text).into();
        let data = Self { tasks, projects, workspaces, comments_per_task, skew, until, key };
        if let (Some(skew), [natural, others @ ..]) = (skew, data.natural_weights().as_slice()) {
            let share = 100 * natural / (natural + others.iter().sum::<u64>());
            ensure!(
                skew > share || others.is_empty(),
                "the largest of {projects} projects has {share} % of the tasks anyway: --skew must be more than that"
            );
        }
        Ok(data)
    }

    /// Eight hexadecimal digits that tell this data set from others, in addresses of users and workspaces.
    #[must_use]
    pub fn tag(&self) -> String {
        self.key[..4].iter().fold(String::new(), |tag, byte| format!("{tag}{byte:02x}"))
    }

    /// The tag as a number: the first half of the keys of its advisory locks.
    #[must_use]
    pub fn lock_key(&self) -> i32 {
        i32::from_be_bytes([self.key[0], self.key[1], self.key[2], self.key[3]])
    }

    /// The address of the user who owns every workspace.
    #[must_use]
    pub fn email(&self) -> String {
        format!("owner@{}.example.com", self.tag())
    }

    /// The beginning of the history: the first task.
    #[must_use]
    pub fn since(&self) -> DateTime<Utc> {
        self.until - Days::new(DAYS)
    }

    /// In how many transactions the tasks are written.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.tasks.div_ceil(CHUNK)
    }

    /// The numbers of a chunk's tasks.
    #[must_use]
    pub fn chunk(&self, number: u64) -> std::ops::Range<u64> {
        number * CHUNK..self.tasks.min((number + 1) * CHUNK)
    }

    /// The chance of a part of the data set. Each part has its own, so that it does not matter in which order they are
    /// made.
    pub(super) fn chance(&self, part: &str, number: u64) -> Chance {
        let seed =
            Sha256::new().chain_update(self.key).chain_update(part).chain_update(number.to_be_bytes()).finalize();
        Chance::new(seed.into())
    }

    /// How likely a task is in each project, the largest first; the sum is at most 2^54.
    pub(super) fn weights(&self) -> Vec<u64> {
        let mut weights = self.natural_weights();
        if let (Some(skew), [largest, others @ ..]) = (self.skew, weights.as_mut_slice())
            && !others.is_empty()
        {
            *largest = others.iter().sum::<u64>() * skew / (100 - skew);
        }
        weights
    }

    /// Sizes fall with the square root of the rank: of 500 projects the largest has 2.3 %, the smallest 0.1 %.
    fn natural_weights(&self) -> Vec<u64> {
        (1..=self.projects).map(|rank| ((1 << 60) / rank).isqrt()).collect()
    }
}
