//! Clients that write and read at the same time, and remember every answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::ledger::{Entry, Outcome, Write};

const WRITE: &str = "mutation FaultWrite($input: TaskCreateInput!) {
  taskCreate(input: $input) { task { id } userErrors { code message } consistencyToken }
}";

/// What it selects is read after it was committed, and cannot be null: where that fails, so does the whole payload.
const MAKE_URGENT: &str = "mutation FaultMakeUrgent($input: TasksUpdateInput!) {
  tasksUpdate(input: $input) { tasks { project { name } } userErrors { code } }
}";

/// Rows and a report, so that both ways to a replica are asked.
const READ: &str = "query FaultRead($id: ID!) {
  project(id: $id) { tasks(first: 1) { totalCount } report { totals { total } freshness { source replica } } }
}";

/// How long a client waits for an answer. Longer than any deadline of the server: an answer that comes later is none.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a client waits after a failure, so that the end of a fault is seen soon.
const PAUSE: Duration = Duration::from_millis(25);

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Write,
    /// With the token of the client's last write.
    ReadWithToken,
    ReadWithoutToken,
}

/// One answer, or the lack of it.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: Kind,
    pub began: Instant,
    pub took: Duration,
    /// OK, the code of the first error, or what happened instead of an answer.
    pub code: String,
    /// A 503 said when to come again; true for everything else.
    pub says_when: bool,
    /// Where a report came from: `primary`, or the replica's name.
    pub source: Option<String>,
    /// The client's own write was missing.
    pub stale: bool,
    /// It was a write, and it was done, whatever could be read of it then.
    pub done: bool,
}

impl Event {
    pub fn is_ok(&self) -> bool {
        self.code == OK
    }

    pub fn ended(&self) -> Instant {
        self.began + self.took
    }
}

pub const OK: &str = "OK";
/// No connection was made, so nothing was sent.
pub const REFUSED: &str = "connection refused";
/// The connection ended before the answer was whole.
pub const CUT: &str = "connection cut";
/// Nothing came.
pub const SILENCE: &str = "no answer";
/// The code of a write whose COMMIT was sent and not answered.
const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";
/// The code of a read whose token is of a write that a promotion has lost.
pub const WRITE_LOST: &str = "WRITE_LOST_IN_FAILOVER";

/// Who asks whom.
#[derive(Clone)]
pub struct Caller {
    http: reqwest::Client,
    url: String,
    bearer: String,
}

/// What came back.
pub struct Reply {
    pub code: String,
    pub body: Value,
    says_when: bool,
}

impl Reply {
    /// Rows or report count fewer tasks than these.
    pub fn is_older_than(&self, tasks: u64) -> bool {
        let project = &self.body["data"]["project"];
        let counts = [&project["tasks"]["totalCount"], &project["report"]["totals"]["total"]];
        // A count that is null without an error is of a project that is not there yet.
        self.code == OK && counts.iter().any(|count| count.as_u64().unwrap_or(0) < tasks)
    }
}

impl Caller {
    pub fn new(url: String, bearer: String) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        Ok(Self { http, url, bearer })
    }

    /// The same, asking somebody else.
    pub fn at(&self, url: String) -> Self {
        Self { url, ..self.clone() }
    }

    pub async fn ask(&self, document: &str, variables: Value, token: Option<&str>) -> Reply {
        let mut request = self.http.post(&self.url).bearer_auth(&self.bearer);
        request = request.header("accept", "application/graphql-response+json");
        if let Some(token) = token {
            request = request.header("x-consistency-token", token);
        }
        let sent = request.json(&json!({ "query": document, "variables": variables })).send().await;
        match Self::received(sent).await {
            Ok(reply) => reply,
            Err(error) => {
                let code = match () {
                    () if error.is_timeout() => SILENCE,
                    () if error.is_connect() => REFUSED,
                    () => CUT,
                };
                Reply { code: code.to_owned(), body: Value::Null, says_when: true }
            }
        }
    }

    async fn received(sent: reqwest::Result<reqwest::Response>) -> reqwest::Result<Reply> {
        let response = sent?;
        let status = response.status();
        let says_when = status.as_u16() != 503 || response.headers().contains_key("retry-after");
        let body: Value = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
        // A lost write is told beside what was read.
        let codes = [&body["errors"][0]["extensions"]["code"], &body["extensions"]["consistency"]["code"]];
        let code = match codes.into_iter().find_map(Value::as_str) {
            Some(code) => code.to_owned(),
            None if status.is_success() => OK.to_owned(),
            None => format!("HTTP {}", status.as_u16()),
        };
        Ok(Reply { code, body, says_when })
    }

    /// Counts a project's tasks, in two ways.
    pub async fn read(&self, project: Uuid, token: Option<&str>) -> Reply {
        self.ask(READ, json!({ "id": project }), token).await
    }

    /// Writes a task.
    pub async fn write(&self, Write { project, title, key }: &Write, token: Option<&str>) -> (Reply, Outcome) {
        let input = json!({ "projectId": project, "title": title, "idempotencyKey": key });
        let mut reply = self.ask(WRITE, json!({ "input": input }), token).await;
        let payload = &reply.body["data"]["taskCreate"];
        if let Some(id) = payload["task"]["id"].as_str().and_then(|id| id.parse().ok()) {
            let token = payload["consistencyToken"].as_str().map(str::to_owned);
            return (reply, Outcome::Acknowledged { id, token });
        }
        if let Some(code) = payload["userErrors"][0]["code"].as_str() {
            reply.code = code.to_owned();
        }
        let outcome = Outcome::unacknowledged(&reply.code);
        (reply, outcome)
    }

    /// Changes a task.
    pub async fn make_urgent(&self, task: Uuid, token: Option<&str>) -> (Reply, Outcome) {
        let input = json!({ "ids": [task], "priority": "URGENT" });
        let mut reply = self.ask(MAKE_URGENT, json!({ "input": input }), token).await;
        if let Some(code) = reply.body["data"]["tasksUpdate"]["userErrors"][0]["code"].as_str() {
            reply.code = code.to_owned();
        }
        // An error of what is selected says that the write was done.
        let is_below = reply.body["errors"][0]["path"].as_array().is_some_and(|path| path.len() > 1);
        let is_done = reply.body["data"]["tasksUpdate"]["userErrors"] == json!([]);
        let outcome = if is_done || is_below {
            let token = reply.body["extensions"]["consistency"]["token"].as_str().map(str::to_owned);
            Outcome::Acknowledged { id: task, token }
        } else {
            Outcome::unacknowledged(&reply.code)
        };
        (reply, outcome)
    }
}

impl Outcome {
    /// That of a write whose answer does not say that it was done.
    fn unacknowledged(code: &str) -> Self {
        match code {
            OUTCOME_UNKNOWN | CUT | SILENCE => Self::Unknown,
            _ => Self::Refused(code.to_owned()),
        }
    }
}

/// Clients at work.
pub struct Load {
    events: Arc<Mutex<Vec<Event>>>,
    clients: Vec<JoinHandle<Vec<Entry>>>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// A client for each project. Each writes once, a second time if it `updates`, and reads three times, and again after
    /// `pace`.
    pub fn start(callers: Vec<Caller>, projects: &[Uuid], name: &str, pace: Duration, updates: bool) -> Self {
        let (stop, stopped) = watch::channel(false);
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let clients = callers.into_iter().zip(projects).enumerate().map(|(number, (caller, project))| {
            let client = Client {
                caller,
                project: *project,
                name: format!("{name} {number}"),
                gives_keys: number % 2 == 0,
                updates,
                events: Arc::clone(&events),
                entries: Vec::new(),
                acknowledged: 0,
                token: None,
            };
            tokio::spawn(client.run(pace, stopped.clone()))
        });
        Self { clients: clients.collect(), events, stop }
    }

    /// All answers until now.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the answers that are still to come, and gives everything that was written.
    pub async fn stop(self) -> Result<(Vec<Entry>, Vec<Event>)> {
        self.stop.send_replace(true);
        let mut entries = Vec::new();
        for client in self.clients {
            entries.extend(client.await?);
        }
        let events = std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((entries, events))
    }
}

struct Client {
    caller: Caller,
    project: Uuid,
    name: String,
    /// Every other client does: a write without one must not be applied twice either, and is never sent again.
    gives_keys: bool,
    /// It changes every task that it has written.
    updates: bool,
    events: Arc<Mutex<Vec<Event>>>,
    entries: Vec<Entry>,
    /// How many of its writes were acknowledged before `token` was given, and not reported as lost since.
    acknowledged: u64,
    token: Option<String>,
}

impl Client {
    async fn run(mut self, pace: Duration, stopped: watch::Receiver<bool>) -> Vec<Entry> {
        while !*stopped.borrow() {
            let next = tokio::time::Instant::now() + pace;
            let mut good = self.write().await;
            if self.updates {
                good &= self.make_urgent().await;
            }
            for kind in [Kind::ReadWithToken, Kind::ReadWithoutToken, Kind::ReadWithToken] {
                good &= self.read(kind).await;
            }
            let pause = if good { next } else { next.min(tokio::time::Instant::now() + PAUSE) };
            tokio::time::sleep_until(pause).await;
        }
        self.entries
    }

    async fn write(&mut self) -> bool {
        let title = format!("{} {}", self.name, self.entries.len());
        let began = Instant::now();
        let new = if self.gives_keys { Write::with_key } else { Write::without_key };
        let write = new(self.project, title);
        let (reply, outcome) = self.caller.write(&write, self.token.as_deref()).await;
        if reply.code == WRITE_LOST {
            self.acknowledged = 0;
        }
        let code = if matches!(outcome, Outcome::Acknowledged { .. }) { OK.to_owned() } else { reply.code };
        if let Outcome::Acknowledged { token, .. } = &outcome {
            self.acknowledged += 1;
            self.token.clone_from(token);
        }
        let done = matches!(outcome, Outcome::Acknowledged { .. });
        self.entries.push(Entry { write, outcome, urgent: None, told: Instant::now() });
        self.record_write(began, code, reply.says_when, done)
    }

    /// Changes the task that was written last, if it was.
    async fn make_urgent(&mut self) -> bool {
        let Some(entry) = self.entries.last_mut() else { return true };
        let Outcome::Acknowledged { id, .. } = entry.outcome else { return true };
        let began = Instant::now();
        let (reply, outcome) = self.caller.make_urgent(id, self.token.as_deref()).await;
        if let Outcome::Acknowledged { token: Some(token), .. } = &outcome {
            self.token = Some(token.clone());
        }
        let done = matches!(outcome, Outcome::Acknowledged { .. });
        entry.urgent = Some(outcome);
        self.record_write(began, reply.code, reply.says_when, done)
    }

    fn record_write(&self, began: Instant, code: String, says_when: bool, done: bool) -> bool {
        let took = began.elapsed();
        self.record(Event { kind: Kind::Write, began, took, code, says_when, source: None, stale: false, done })
    }

    async fn read(&mut self, kind: Kind) -> bool {
        let token = if kind == Kind::ReadWithToken { self.token.clone() } else { None };
        // Before the first write there is nothing to compare with.
        if kind == Kind::ReadWithToken && token.is_none() {
            return true;
        }
        let began = Instant::now();
        let reply = self.caller.read(self.project, token.as_deref()).await;
        let took = began.elapsed();
        let stale = reply.is_older_than(self.acknowledged);
        if reply.code == WRITE_LOST {
            self.acknowledged = 0;
            self.token = None;
        }
        let freshness = &reply.body["data"]["project"]["report"]["freshness"];
        let source = freshness["replica"].as_str().or(freshness["source"].as_str()).map(str::to_lowercase);
        self.record(Event {
            kind,
            began,
            took,
            code: reply.code,
            says_when: reply.says_when,
            source,
            stale,
            done: false,
        })
    }

    fn record(&self, event: Event) -> bool {
        let good = event.is_ok();
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        good
    }
}
