//! Processes of the built binary, and data directories that leave nothing behind, however a test ends.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::harness::{eventually, new_path};

/// How long a start or a stop of a private cluster may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// The built binary, without the settings of whoever runs the tests, but for the PostgreSQL that they run on.
pub fn trellis() -> Command {
    command(Path::new(env!("CARGO_BIN_EXE_trellis")))
}

/// A program, likewise.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    let settings = trellis::config::variables();
    assert!(settings.len() > 10, "the settings have variables: {settings:?}");
    let settings = settings.iter().map(String::as_str).filter(|name| *name != "TRELLIS_POSTGRES_BIN");
    for name in settings.chain(["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"]) {
        command.env_remove(name);
    }
    command
}

/// A data directory that no other test uses. Dropped, it ends the servers in it and is removed.
pub struct DataDirectory(PathBuf);

impl DataDirectory {
    /// The directory itself does not exist yet.
    pub fn new(stem: &str) -> Self {
        let path = new_path(stem);
        // As PostgreSQL's arguments name it.
        Self(fs::canonicalize(path.parent().unwrap()).unwrap().join(path.file_name().unwrap()))
    }

    /// A copy of one that a first start and Ctrl-C have left: to start it takes a tenth of the time of a first start.
    pub async fn with_demo(stem: &str) -> Self {
        static MADE: OnceCell<Made> = OnceCell::const_new();
        let made = MADE.get_or_init(Made::new).await;
        let copy = Self::new(stem);
        let status = Command::new("cp").arg("-a").args([&made.path, &copy.0]).status().unwrap();
        assert!(status.success(), "the data directory is copied");
        copy
    }

    /// One in a directory that is there.
    pub fn within(directory: &Path, name: &str) -> Self {
        Self(fs::canonicalize(directory).unwrap().join(name))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `trellis` with this data directory, a free port, and these words.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = trellis();
        command.arg("--data-dir").arg(&self.0).args(["--listen", "127.0.0.1:0"]).args(words);
        command
    }

    /// Serves, in a process of its own.
    pub fn serve(&self) -> Instance {
        Instance::spawn(&mut self.command(&[]))
    }

    /// The postmasters that this directory's pid files name, where their `-D` is in this directory.
    pub fn postmasters(&self) -> Vec<i32> {
        let servers = ["primary", "replica"].map(|name| self.0.join(name));
        let pid = |server: &PathBuf| {
            let file = fs::read_to_string(server.join("postmaster.pid")).ok()?;
            let pid: i32 = file.lines().next()?.trim().parse().ok()?;
            arguments(pid).iter().any(|argument| Path::new(argument) == server).then_some(pid)
        };
        servers.iter().filter_map(pid).collect()
    }

    /// Every process that works in this directory or names it in its arguments.
    pub fn processes(&self) -> Vec<i32> {
        let entries = fs::read_dir("/proc").expect("these tests read /proc, so they need Linux");
        let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        pids.filter(|pid| self.is_of(*pid)).collect()
    }

    /// Waits until nothing runs: a postmaster removes its pid file, which is its sign of having ended, just before it ends.
    pub async fn until_quiet(&self) {
        eventually("nothing of the data directory runs", || async {
            let processes = self.processes();
            if processes.is_empty() { Ok(()) } else { Err(processes) }
        })
        .await;
    }

    fn is_of(&self, pid: i32) -> bool {
        let works_here =
            fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|directory| directory.starts_with(&self.0));
        works_here || arguments(pid).iter().any(|argument| Path::new(argument).starts_with(&self.0))
    }

    /// Sends the postmasters a signal, and says how many there were.
    pub fn signal_postmasters(&self, signal: Signal) -> usize {
        let pids = self.postmasters();
        for pid in &pids {
            // One that ended in between needs no signal.
            let _ = kill(Pid::from_raw(*pid), signal);
        }
        pids.len()
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(10);
        self.signal_postmasters(Signal::SIGQUIT);
        while !self.processes().is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What [`DataDirectory::with_demo`] copies.
struct Made {
    path: PathBuf,
    _remover: Child,
    /// Closes with this process, which removes the directory.
    _input: ChildStdin,
}

impl Made {
    async fn new() -> Self {
        let data = DataDirectory::new("demo");
        let mut server = data.serve();
        server.greeting().await;
        assert_eq!(server.interrupted().await.code, Some(0));
        let path = data.path().to_owned();
        let mut remover = Command::new("sh")
            .args(["-c", "cat > /dev/null; rm -rf \"$1\"", "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::mem::forget(data);
        Self { path, _input: remover.stdin.take().unwrap(), _remover: remover }
    }
}

/// The arguments of a process; none for one that has ended.
fn arguments(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
}

/// What a process has written so far.
#[derive(Clone)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn collect(mut pipe: impl Read + Send + 'static) -> (Self, std::thread::JoinHandle<()>) {
        let written = Self(Arc::default());
        let into = written.clone();
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                into.0.lock().unwrap().extend_from_slice(&chunk[..length]);
            }
        });
        (written, reader)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// A process of the binary. Dropped, it is killed; the servers that it started are its data directory's matter.
pub struct Instance {
    child: Child,
    out: Written,
    err: Written,
    readers: Vec<std::thread::JoinHandle<()>>,
}

/// What a process that has ended left.
#[derive(Debug)]
pub struct Ended {
    /// None where a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// What the private mode tells a person who has just started it.
#[derive(Debug)]
pub struct Greeting {
    pub page: String,
    pub api: String,
    pub schema: String,
    pub user: String,
    pub token: String,
    /// To be pasted into a shell.
    pub curl: String,
}

impl Instance {
    pub fn spawn(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (out, out_reader) = Written::collect(child.stdout.take().unwrap());
        let (err, err_reader) = Written::collect(child.stderr.take().unwrap());
        Self { child, out, err, readers: vec![out_reader, err_reader] }
    }

    /// Waits for something that the process brings about, and shows what it wrote where that does not come.
    pub async fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            // What it wrote last may have come after the look.
            if ended.is_some() || Instant::now() > deadline {
                if ended.is_some() {
                    self.readers.drain(..).for_each(|reader| reader.join().unwrap());
                }
                let (out, err) = (self.out.text(), self.err.text());
                return look(self).unwrap_or_else(|| panic!("{what}: did not come; {ended:?}\n{out}\n{err}"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until it serves in the private mode.
    pub async fn greeting(&mut self) -> Greeting {
        let text = self
            .until("the greeting", |instance| {
                let text = instance.out.text();
                text.contains("\nCtrl-C").then_some(text)
            })
            .await;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(' '));
            let words = line.unwrap_or_else(|| panic!("there is a line for {name}: {text}"));
            words.split_whitespace().next().expect("the line has a value").to_owned()
        };
        let curl = text.split("Try:\n\n").nth(1).and_then(|rest| rest.split("\n\n").next());
        Greeting {
            page: value("page"),
            api: value("API"),
            schema: value("schema"),
            user: value("user"),
            token: value("token"),
            curl: curl.expect("there is a command to try").to_owned(),
        }
    }

    /// Waits until it serves, and gives the URL to which a path is added.
    pub async fn url(&mut self) -> String {
        self.until("the address in the log", |instance| {
            let log = instance.err.text();
            let address = log.lines().find_map(|line| line.split_once("serving address=")?.1.split_whitespace().next());
            address.map(|address| format!("http://{address}"))
        })
        .await
    }

    /// Waits for a line of the log that has these words, and gives it.
    pub async fn logs(&mut self, words: &str) -> String {
        self.until(words, |instance| {
            let log = instance.err.text();
            let mut lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines.find(|line| line.contains(words)).map(str::to_owned)
        })
        .await
    }

    /// Whether the log has these words by now.
    pub fn has_logged(&self, words: &str) -> bool {
        self.err.text().contains(words)
    }

    /// Waits for a line that begins with a word, and gives the rest of it.
    pub async fn line(&mut self, word: &str) -> String {
        self.until(word, |instance| {
            let text = instance.out.text();
            let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines.find_map(|line| Some(line.strip_prefix(word)?.trim().to_owned()))
        })
        .await
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        let status = self.until("its end", |instance| instance.child.try_wait().unwrap()).await;
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        Ended { code: status.code(), out: self.out.text(), err: self.err.text() }
    }

    /// Kills it, and waits until it is dead.
    pub async fn killed(self) {
        self.signal(Signal::SIGKILL);
        assert_eq!(self.ended().await.code, None);
    }

    /// Stops it as Ctrl-C does.
    pub async fn interrupted(self) -> Ended {
        self.signal(Signal::SIGINT);
        self.ended().await
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end.
pub async fn run(command: &mut Command) -> Ended {
    Instance::spawn(command).ended().await
}

impl Ended {
    /// Asserts that it failed, and that one line on standard error says all of this.
    pub fn assert_refused(&self, words: &[&str]) {
        assert!(self.code.is_some_and(|code| code != 0), "it failed: {self:?}");
        let says_it = |line: &str| words.iter().all(|word| line.contains(word));
        assert!(self.err.lines().any(says_it), "a line has {words:?}: {self:?}");
        assert!(!self.err.contains("panicked"), "it did not crash: {self:?}");
    }
}

/// What the API answers to a document, as JSON.
pub async fn ask(api: &str, token: &str, document: &str) -> Value {
    let request = reqwest::Client::new().post(api).bearer_auth(token).json(&json!({ "query": document }));
    request.send().await.unwrap().json().await.unwrap()
}
