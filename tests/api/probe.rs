//! The built binary under hostile requests: raw bytes in, and what each cost the process, by the process's own account.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::harness::{SECRET, World};
use crate::instance::{Instance, trellis};

/// What one request may cost, in milliseconds of CPU. The promise is of the release binary, and even the debug binary,
/// which takes several times as long, keeps it.
pub const MAX_CPU_MS: f64 = 50.0;

/// How much more memory the process may hold after a sweep than before, in kB: what the allocator keeps.
const MAX_KEPT_KB: u64 = 16 * 1024;

/// Likewise where documents may have a mebibyte.
const MAX_KEPT_OF_LONG_KB: u64 = 96 * 1024;

/// How much it may grow once it has met requests of every kind: nothing is kept of each.
const MAX_GROWTH_KB: u64 = 4 * 1024;

/// The codes that an answer to a hostile request may have: the faults of who sends it.
const CODES: [&str; 7] = [
    "BAD_USER_INPUT",
    "FORBIDDEN",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "INVALID_CURSOR",
    "LIMIT_EXCEEDED",
    "UNAUTHENTICATED",
];

/// So many pieces of a document.
pub fn many(count: usize, piece: &dyn Fn(usize) -> String) -> String {
    (0..count).map(piece).collect()
}

/// A process of the binary that is being tried.
pub struct Probe {
    address: SocketAddr,
    token: String,
    instance: Instance,
    memory_before_kb: u64,
    may_keep_kb: u64,
}

/// What a request brought about.
pub struct Outcome {
    pub name: String,
    pub status: u16,
    pub body: Value,
    pub bytes: usize,
    pub cpu_ms: f64,
}

impl Probe {
    /// A server on the database of a world, for one of its users.
    pub async fn start(world: &World, user: Uuid, words: &[&str]) -> Self {
        let mut command = trellis();
        command.args(["--database-url", &world.addresses.primary, "--jwt-secret", SECRET]);
        command.args(["--listen", "127.0.0.1:0", "--primary-connections", "4", "--introspection", "true"]);
        let mut instance = Instance::spawn(command.args(words));
        let url = instance.url().await;
        let address = url.strip_prefix("http://").unwrap().parse().unwrap();
        let may_keep_kb = if words.is_empty() { MAX_KEPT_KB } else { MAX_KEPT_OF_LONG_KB };
        let mut probe = Self { address, token: world.token(user), instance, memory_before_kb: 0, may_keep_kb };
        // What is made once, such as the pools, is not the sweep's.
        probe.assert_alive().await;
        probe.memory_before_kb = probe.memory_kb("VmRSS");
        probe
    }

    /// A connection that stays open.
    pub async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).await.unwrap();
        // The end of a large body would wait for the acknowledgement of its beginning.
        stream.set_nodelay(true).unwrap();
        Connection { stream, head: self.head(), buffer: Vec::new() }
    }

    fn head(&self) -> String {
        format!(
            "POST /graphql HTTP/1.1\r\nhost: trellis\r\nauthorization: Bearer {}\r\n\
             accept: application/graphql-response+json\r\ncontent-type: application/json\r\n",
            self.token
        )
    }

    /// Sends bytes as a body over a connection of its own, and checks that the answer is one that may be given.
    pub async fn send(&self, name: impl Into<String>, body: &[u8]) -> Outcome {
        self.send_over(&mut self.connect().await, name, body).await
    }

    /// Likewise, over a connection. What seems to cost too much is sent again: other work on the machine makes the same
    /// instructions slower.
    pub async fn send_over(&self, connection: &mut Connection, name: impl Into<String>, body: &[u8]) -> Outcome {
        let name = name.into();
        let mut cheapest: Option<Outcome> = None;
        for _ in 0..5 {
            let before = self.cpu_ms();
            let (status, text) = connection.send(body).await;
            let cpu_ms = self.cpu_ms() - before;
            let body = assert_answer(&name, status, &text);
            if cheapest.as_ref().is_none_or(|outcome| cpu_ms < outcome.cpu_ms) {
                cheapest = Some(Outcome { name: name.clone(), status, body, bytes: text.len(), cpu_ms });
            }
            if cpu_ms <= MAX_CPU_MS / 2.0 {
                break;
            }
        }
        cheapest.unwrap()
    }

    /// Sends a document.
    pub async fn ask(&self, name: impl Into<String>, document: &str, variables: Value) -> Outcome {
        self.send(name, json!({ "query": document, "variables": variables }).to_string().as_bytes()).await
    }

    /// The process lives and answers.
    pub async fn assert_alive(&self) {
        let outcome = self.ask("alive", "{ viewer { name } }", json!({})).await;
        assert_eq!(outcome.body, json!({ "data": { "viewer": { "name": "ada" } } }));
    }

    /// From here on, the memory that the process holds is to stay what it is.
    pub fn settle(&mut self) {
        (self.memory_before_kb, self.may_keep_kb) = (self.memory_kb("VmRSS"), MAX_GROWTH_KB);
    }

    /// The process lives, and has given back what it took.
    pub async fn assert_well(&self) {
        self.assert_alive().await;
        let (before, after, most) = (self.memory_before_kb, self.memory_kb("VmRSS"), self.memory_kb("VmHWM"));
        let told = format!("the process held {before} kB, {most} kB at most, and holds {after} kB\n");
        std::io::stderr().write_all(told.as_bytes()).unwrap();
        assert!(after < before + self.may_keep_kb, "{told}");
    }

    /// CPU that its threads have used, in milliseconds. Unlike `stat`, whose unit is 10 ms, this counts nanoseconds.
    pub fn cpu_ms(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.instance.pid())).expect("the process lives");
        let used = tasks.map(|task| {
            let statistics = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
            statistics.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<u64>().ok()).unwrap_or_default()
        });
        std::time::Duration::from_nanos(used.sum()).as_secs_f64() * 1_000.0
    }

    /// What the process holds now, `VmRSS`, or has held at most, `VmHWM`.
    fn memory_kb(&self, which: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.instance.pid())).expect("the process lives");
        let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

/// A connection that is kept alive.
pub struct Connection {
    stream: TcpStream,
    head: String,
    buffer: Vec<u8>,
}

impl Connection {
    /// Sends a body, and gives status and text of the answer.
    pub async fn send(&mut self, body: &[u8]) -> (u16, String) {
        let mut request = format!("{}content-length: {}\r\n\r\n", self.head, body.len()).into_bytes();
        request.extend_from_slice(body);
        // A server that refuses early may close before it has read everything.
        let _ = self.stream.write_all(&request).await;
        self.buffer.clear();
        loop {
            if let Some(answer) = complete(&self.buffer) {
                return answer;
            }
            let read = self.stream.read_buf(&mut self.buffer).await.expect("the server answers");
            assert!(read > 0, "the server closed without an answer: {}", String::from_utf8_lossy(&self.buffer));
        }
    }
}

/// Status and text, where the answer is complete.
fn complete(bytes: &[u8]) -> Option<(u16, String)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.unwrap_or_else(|| panic!("an answer has a length: {head}")).parse().unwrap();
    let body = bytes.get(end + 4..end + 4 + length)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some((status, String::from_utf8(body.to_vec()).unwrap()))
}

/// Checks that an answer to whatever it may be is JSON, with data or with errors that have a code of the list.
pub fn assert_answer(name: &str, status: u16, text: &str) -> Value {
    assert!((200..500).contains(&status), "{name}: {status} {text}");
    let body: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{name}: {text}"));
    let errors = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(body.get("data").is_some() || !errors.is_empty(), "{name}: {text}");
    assert!(errors.len() <= 10, "{name}: {text}");
    for error in errors {
        let code = error["extensions"]["code"].as_str().unwrap_or_default();
        assert!(CODES.contains(&code), "{name}: {text}");
        assert!(error["message"].as_str().unwrap().len() <= 510, "{name}: {text}");
    }
    body
}

/// The outcomes of a sweep.
pub struct Sweep {
    name: &'static str,
    statuses: BTreeMap<u16, usize>,
    /// The ten that cost most, the dearest first.
    dearest: Vec<Outcome>,
    cpu_ms: f64,
}

impl Sweep {
    pub fn new(name: &'static str) -> Self {
        Self { name, statuses: BTreeMap::new(), dearest: Vec::new(), cpu_ms: 0.0 }
    }

    /// How many requests were answered with a status.
    pub fn answered(&self, status: u16) -> usize {
        self.statuses.get(&status).copied().unwrap_or_default()
    }

    pub fn add(&mut self, outcome: Outcome) {
        *self.statuses.entry(outcome.status).or_default() += 1;
        self.cpu_ms += outcome.cpu_ms;
        let place = self.dearest.partition_point(|dearer| dearer.cpu_ms >= outcome.cpu_ms);
        self.dearest.insert(place, outcome);
        self.dearest.truncate(10);
    }

    /// Prints the ten that cost most, and checks that there were so many and that none cost too much.
    pub fn finish(self, expected: usize) {
        self.print();
        assert_eq!(self.statuses.values().sum::<usize>(), expected, "{}", self.name);
        let worst = &self.dearest[0];
        assert!(worst.cpu_ms < MAX_CPU_MS, "{}: {} cost {:.1} ms of CPU", self.name, worst.name, worst.cpu_ms);
    }

    /// Past the capture of the tests' output: the table is for whoever reads the log of a run.
    fn print(&self) {
        let count = self.statuses.values().sum::<usize>();
        let mean_ms = self.cpu_ms / f64::from(u32::try_from(count).unwrap());
        let mut table = format!("\n{}: {count} requests, {:?}, {mean_ms:.2} ms of CPU each", self.name, self.statuses);
        table.push_str("; the ten that cost most\n");
        for Outcome { name, status, bytes, cpu_ms, body } in &self.dearest {
            let code = body["errors"][0]["extensions"]["code"].as_str().unwrap_or("OK");
            let name: String = name.chars().take(100).filter(|character| !character.is_control()).collect();
            writeln!(table, "{cpu_ms:8.1} ms  {status}  {code:26} {bytes:8} B  {name}").unwrap();
        }
        std::io::stderr().write_all(table.as_bytes()).unwrap();
    }
}
