//! One workspace that asks for as much as it can: what is left for the others, who comes next, and what is told.
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::StatusCode;
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use trellis::clock;
use trellis::entities::member::Role;
use uuid::Uuid;

use crate::harness::{Answer, World, eventually};
use crate::metrics::scrape;

/// A workspace, its people, and a row of each kind in it.
struct Workspace {
    people: Vec<Uuid>,
    id: Uuid,
    project: Uuid,
    task: Uuid,
}

impl Workspace {
    /// A workspace of several people, which the server has not met yet.
    async fn new(world: &World, slug: &str) -> Self {
        let owner = world.user(slug).await;
        let id = world.workspace(slug, owner).await;
        let mut people = vec![owner];
        for number in 1..4 {
            let person = world.user(&format!("{slug}-{number}")).await;
            world.member(id, person, Role::Member).await;
            people.push(person);
        }
        let project = world.project(id, "P").await;
        let task = world.task(project, "T").await;
        world.comment(task, owner, "C").await;
        Self { people, id, project, task }
    }

    /// Values for every document of this file.
    fn variables(&self) -> Value {
        let input = json!({ "id": self.task, "title": "Changed" });
        json!({ "id": self.id, "project": self.project, "task": self.task, "input": input })
    }

    /// Everybody is shown the workspace, so that the server knows whose they are.
    async fn meet(&self, world: &World) {
        for person in &self.people {
            world.ask(*person, WORKSPACE, self.variables()).await.data();
        }
    }
}

/// Reads the table of workspaces alone.
const WORKSPACE: &str = "query($id: ID!) { workspace(id: $id) { name } }";
const TASK: &str = "query($task: ID!) { task(id: $task) { title } }";
const COMMENTS: &str = "query($task: ID!) { task(id: $task) { comments(first: 1) { nodes { id } } } }";
const PROJECT: &str = "query($project: ID!) { project(id: $project) { tasks(first: 1) { nodes { title } } } }";
const UPDATE: &str = "mutation($input: TaskUpdateInput!) { taskUpdate(input: $input) { task { title } } }";
const REPORT: &str = "query($project: ID!) { project(id: $project) { report { totals { total } } } }";
/// Keeps the report's connection, which is in a transaction, for as long as it waits for the comments.
const REPORT_AND_COMMENTS: &str = "query($project: ID!) { project(id: $project) { report { totals { total } }
    tasks(first: 1) { nodes { comments(first: 1) { nodes { id } } } } } }";

/// A server that has met two workspaces.
async fn two(words: &[&str]) -> (World, Workspace, Workspace) {
    let world = World::with(words).await;
    let (greedy, quiet) = (Workspace::new(&world, "greedy").await, Workspace::new(&world, "quiet").await);
    greedy.meet(&world).await;
    quiet.meet(&world).await;
    (world, greedy, quiet)
}

/// Keeps everybody from something until it is rolled back.
async fn held_up(world: &World, sql: &str) -> DatabaseTransaction {
    let transaction = world.sql.begin().await.unwrap();
    transaction.execute_unprepared(sql).await.unwrap();
    transaction
}

const LOCK_COMMENTS: &str = "LOCK TABLE comments IN ACCESS EXCLUSIVE MODE";
const LOCK_TASKS: &str = "LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE";

/// Clients that send the same again and again.
#[derive(Default)]
struct Hammer {
    clients: JoinSet<()>,
    told: Arc<Mutex<BTreeSet<String>>>,
    is_over: Arc<AtomicBool>,
}

impl Hammer {
    fn start(world: &World, people: &[Uuid], document: &str, variables: &Value) -> Self {
        let mut hammer = Self::default();
        hammer.join(world, people, document, variables);
        hammer
    }

    /// Sixteen clients more, who send a document as people in turn.
    fn join(&mut self, world: &World, people: &[Uuid], document: &str, variables: &Value) {
        for person in people.iter().cycle().take(16) {
            let body = json!({ "query": document, "variables": variables });
            let request = world.http().post(world.url("/graphql")).bearer_auth(world.token(*person)).json(&body);
            let (told, is_over) = (Arc::clone(&self.told), Arc::clone(&self.is_over));
            self.clients.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let answer = Answer::of(request.try_clone().unwrap().send().await.unwrap()).await;
                    let message = answer.body["errors"][0]["message"].as_str().unwrap_or("none");
                    let code = answer.codes().first().copied().unwrap_or("OK");
                    told.lock().unwrap().insert(format!("{code}: {message}"));
                }
            });
        }
    }

    /// Waits until one of the clients is told that the share is taken.
    async fn is_refused(&self) {
        eventually("somebody is told", async || {
            let told = self.told.lock().unwrap().clone();
            if told.contains(SHARE_TAKEN) { Ok(()) } else { Err(told) }
        })
        .await;
    }

    /// Lets go of what they wait for, and ends it.
    async fn stop(self, lock: DatabaseTransaction) {
        self.is_over.store(true, Ordering::Relaxed);
        lock.rollback().await.unwrap();
        self.clients.join_all().await;
    }
}

async fn in_use(world: &World, door: &str) -> f64 {
    scrape(world).await[&format!("trellis_pool_connections{{door=\"{door}\",state=\"in_use\"}}")]
}

async fn waiting(world: &World, door: &str) -> f64 {
    scrape(world).await[&format!("trellis_pool_waiting{{door=\"{door}\"}}")]
}

/// Waits until so many connections of a door are taken, and half of the clients wait for others.
async fn eventually_taken(world: &World, door: &str, taken: f64) {
    eventually("the connections are taken", async || {
        let (in_use, waiting) = (in_use(world, door).await, waiting(world, door).await);
        if in_use == taken && waiting >= 8.0 { Ok(()) } else { Err((door, in_use, waiting)) }
    })
    .await;
}

/// Whoever waits for a connection gives up soon, and whoever has one and waits for the lock does not.
const HELD_UP: [&str; 4] = ["--acquire-timeout-ms", "200", "--request-timeout-ms", "60000"];

const SHARE_TAKEN: &str =
    "OVERLOADED: Your workspace has as much of the server as one may have. Try again in a moment.";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_hammers_in_one_workspace_leaves_a_connection_of_each_door_to_the_others() {
    // Rows and writes have four connections, reports on the replica three.
    // A report needs one of each: those who wait for the comments give up, so that others come to their report.
    let (world, greedy, quiet) = two(&["--acquire-timeout-ms", "200", "--lock-timeout-ms", "1000"]).await;
    let lock_row = format!("SELECT FROM tasks WHERE id = '{}' FOR UPDATE", greedy.task);
    let cases = [
        ("primary", 3.0, LOCK_COMMENTS, COMMENTS, PROJECT),
        ("primary", 3.0, &lock_row, UPDATE, UPDATE),
        ("replica-1", 2.0, LOCK_COMMENTS, REPORT_AND_COMMENTS, REPORT),
    ];
    for (door, taken, lock, hammering, asking) in cases {
        let lock = held_up(&world, lock).await;
        let hammer = Hammer::start(&world, &greedy.people, hammering, &greedy.variables());
        eventually("the share is taken", async || match in_use(&world, door).await {
            in_use if in_use == taken => Ok(()),
            in_use => Err(in_use),
        })
        .await;
        for (number, person) in quiet.people.iter().cycle().take(20).enumerate() {
            let answer = world.ask(*person, asking, quiet.variables()).await;
            assert_eq!(answer.status, StatusCode::OK, "{door} {number}: {}", answer.text);
            assert!(answer.codes().is_empty(), "{door} {number}: {}", answer.text);
        }
        hammer.is_refused().await;
        hammer.stop(lock).await;
        // And nothing is left of it.
        world.ask(greedy.people[0], hammering, greedy.variables()).await.data();
    }
    let samples = scrape(&world).await;
    let timeouts = |name: &str| samples[&format!("trellis_pool_{name}_total{{door=\"primary\"}}")];
    assert!(timeouts("share_timeouts") > 0.0 && timeouts("share_timeouts") <= timeouts("timeouts"), "{samples:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_whom_no_workspace_is_known_have_one_share_together() {
    let (world, _, quiet) = two(&HELD_UP).await;
    let mut strangers = Vec::new();
    for number in 0..16 {
        strangers.push(world.user(&format!("stranger-{number}")).await);
    }
    let lock = held_up(&world, LOCK_TASKS).await;
    let hammer = Hammer::start(&world, &strangers, TASK, &json!({ "task": clock::new_id() }));
    eventually_taken(&world, "primary", 3.0).await;
    for person in quiet.people.iter().cycle().take(20) {
        world.ask(*person, WORKSPACE, quiet.variables()).await.data();
    }
    hammer.is_refused().await;
    hammer.stop(lock).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_counts_for_the_workspace_that_it_is_about() {
    let (world, greedy, quiet) = two(&HELD_UP).await;
    let both = quiet.people[0];
    world.member(greedy.id, both, Role::Member).await;
    let lock = held_up(&world, LOCK_COMMENTS).await;
    let others = &greedy.people[1..];
    let hammer = Hammer::start(&world, others, COMMENTS, &greedy.variables());
    eventually_taken(&world, "primary", 3.0).await;
    // Known by the last request to be about the quiet one, and by the first row to be about the greedy one.
    let answer = world.ask(both, PROJECT, quiet.variables()).await;
    assert!(answer.codes().is_empty(), "{}", answer.text);
    let answer = world.ask(both, PROJECT, greedy.variables()).await;
    assert_eq!(answer.codes(), ["OVERLOADED"], "{}", answer.text);
    assert!(answer.text.contains("Your workspace has as much"), "{}", answer.text);
    let answer = world.ask(both, WORKSPACE, greedy.variables()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    assert_eq!(answer.headers["retry-after"], "1");
    hammer.stop(lock).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_caller_with_many_workspaces_has_one_share() {
    let (world, _, quiet) = two(&HELD_UP).await;
    let ada = world.user("ada").await;
    let mut tasks = Vec::new();
    for number in 0..6 {
        let id = world.workspace(&format!("own-{number}"), ada).await;
        tasks.push(world.task(world.project(id, "P").await, "T").await);
    }
    let lock = held_up(&world, LOCK_COMMENTS).await;
    let documents = tasks.into_iter().map(|task| json!({ "task": task }));
    let mut hammer = Hammer::default();
    documents.for_each(|variables| hammer.join(&world, &[ada], COMMENTS, &variables));
    eventually_taken(&world, "primary", 3.0).await;
    for person in quiet.people.iter().cycle().take(20) {
        world.ask(*person, WORKSPACE, quiet.variables()).await.data();
    }
    hammer.stop(lock).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_met_one_workspace_gives_it_everything() {
    // Those who wait give up, and what they had is shared anew.
    let world = World::with(&["--acquire-timeout-ms", "200", "--lock-timeout-ms", "1000"]).await;
    let (only, second) = (Workspace::new(&world, "only").await, Workspace::new(&world, "second").await);
    only.meet(&world).await;
    let lock = held_up(&world, LOCK_COMMENTS).await;
    let hammer = Hammer::start(&world, &only.people, COMMENTS, &only.variables());
    eventually_taken(&world, "primary", 4.0).await;
    eventually("somebody of the second workspace is met", async || {
        let answer = world.ask(second.people[0], WORKSPACE, second.variables()).await;
        if answer.codes().is_empty() { Ok(()) } else { Err(answer.text) }
    })
    .await;
    eventually_taken(&world, "primary", 3.0).await;
    hammer.stop(lock).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_wait_the_one_whose_workspace_was_served_least_comes_next() {
    let words = ["--primary-connections", "1", "--acquire-timeout-ms", "60000", "--request-timeout-ms", "60000"];
    let (world, greedy, quiet) = two(&words).await;
    let lock = held_up(&world, LOCK_TASKS).await;
    let (world, answered) = (&world, AtomicUsize::new(0));
    let ask = async |person: Uuid, document: &str, variables: Value| {
        world.ask(person, document, variables).await;
        answered.fetch_add(1, Ordering::SeqCst)
    };
    let first = greedy.people.iter().cycle().take(10).map(|person| ask(*person, TASK, greedy.variables()));
    let last = async {
        eventually("all of them wait", async || match waiting(world, "primary").await {
            9.0 => Ok(()),
            waiting => Err(waiting),
        })
        .await;
        let asked = ask(quiet.people[0], WORKSPACE, quiet.variables());
        let unlocked = async {
            eventually("the last one waits too", async || match waiting(world, "primary").await {
                10.0 => Ok(()),
                waiting => Err(waiting),
            })
            .await;
            lock.rollback().await.unwrap();
        };
        tokio::join!(asked, unlocked).0
    };
    let (_, place) = tokio::join!(futures_util::future::join_all(first), last);
    assert!(place <= 5, "{place} of ten who came before were answered before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_workspace_leaves_places_for_requests_to_the_others() {
    let (world, greedy, quiet) = two(&["--max-requests", "8", "--request-timeout-ms", "60000"]).await;
    let lock = held_up(&world, LOCK_COMMENTS).await;
    let hammer = Hammer::start(&world, &greedy.people, COMMENTS, &greedy.variables());
    eventually("the share is taken", async || {
        let in_flight = scrape(&world).await["trellis_requests_in_flight"];
        if in_flight == 6.0 { Ok(()) } else { Err(in_flight) }
    })
    .await;
    for person in quiet.people.iter().cycle().take(20) {
        world.ask(*person, WORKSPACE, quiet.variables()).await.data();
    }
    hammer.is_refused().await;
    hammer.stop(lock).await;
    let samples = scrape(&world).await;
    assert!(samples["trellis_requests_refused_total{reason=\"share\"}"] > 0.0, "{samples:?}");
    assert!(!samples.contains_key("trellis_requests_refused_total{reason=\"requests\"}"), "{samples:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_away_while_waiting_takes_no_connection_along() {
    let words = ["--primary-connections", "2", "--acquire-timeout-ms", "60000", "--request-timeout-ms", "60000"];
    let (world, greedy, quiet) = two(&words).await;
    let lock = held_up(&world, LOCK_COMMENTS).await;
    let mut clients = JoinSet::new();
    for of in [&greedy, &quiet].into_iter().cycle().take(20) {
        let body = json!({ "query": COMMENTS, "variables": of.variables() });
        let request = world.http().post(world.url("/graphql")).bearer_auth(world.token(of.people[0])).json(&body);
        clients.spawn(async move { request.send().await.unwrap() });
    }
    eventually_taken(&world, "primary", 2.0).await;
    clients.shutdown().await;
    eventually("nobody waits, and nothing is lent", async || {
        match (in_use(&world, "primary").await, waiting(&world, "primary").await) {
            (0.0, 0.0) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    lock.rollback().await.unwrap();
    for of in [&greedy, &quiet] {
        world.ask(of.people[0], COMMENTS, of.variables()).await.data();
    }
}
