//! A proxy between Trellis and one database server, which behaves like a broken network when it is told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of the bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// They go on.
    Pass,
    /// Nobody listens, and what was open is reset: the machine is there, and no server on it.
    Refuse,
    /// A connection is accepted, and reset; so is what was open.
    Reset,
    /// Sockets are open, and no byte comes through; what was sent meanwhile comes afterwards.
    Silence(Way),
    /// Each piece comes later, on both ways.
    Delay(Duration),
    /// So many bytes come through in a second, on each way of each connection.
    Throttle(usize),
    /// Each connection is reset once so many bytes more have come from the server.
    CutAfter(usize),
    /// A connection is reset in the middle of these bytes, where they come along.
    CutWithin(Way, &'static [u8]),
}

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
    Both,
}

impl Way {
    fn covers(self, way: Self) -> bool {
        self == way || self == Self::Both
    }
}

/// A listener on a port of its own, in front of a server's socket.
pub struct Proxy {
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    line: Arc<Line>,
    listens: JoinHandle<std::io::Result<Infallible>>,
}

struct Line {
    server: PathBuf,
    mode: watch::Receiver<Mode>,
    /// Bytes or connections that the mode did something to.
    hits: AtomicU64,
}

impl Proxy {
    /// In front of a server's socket.
    pub async fn start(server: &Path) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mode, seen) = watch::channel(Mode::Pass);
        let line = Arc::new(Line { server: server.to_owned(), mode: seen, hits: AtomicU64::new(0) });
        let listens = tokio::spawn(listen(listener, address, Arc::clone(&line)));
        Ok(Self { address, mode, line, listens })
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How many connections it ended until now, and how many pieces of what went along it withheld, delayed or cut.
    pub fn hits(&self) -> u64 {
        self.line.hits.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its connections end with the mode's sender.
        self.listens.abort();
    }
}

async fn listen(first: TcpListener, address: SocketAddr, line: Arc<Line>) -> std::io::Result<Infallible> {
    let mut listener = Some(first);
    let mut mode = line.mode.clone();
    loop {
        if *mode.borrow_and_update() == Mode::Refuse {
            listener = None;
            mode.changed().await.map_err(std::io::Error::other)?;
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => TcpListener::bind(address).await?,
        };
        tokio::select! {
            accepted = open.accept() => {
                let (client, _) = accepted?;
                let line = Arc::clone(&line);
                tokio::spawn(async move { line.carry(client).await });
            }
            changed = mode.changed() => changed.map_err(std::io::Error::other)?,
        }
        listener = Some(open);
    }
}

/// Why a connection was ended from here.
struct Cut;

impl<E: std::error::Error> From<E> for Cut {
    fn from(_: E) -> Self {
        Self
    }
}

impl Line {
    /// Carries bytes both ways until one side closes, or the mode ends it.
    async fn carry(&self, mut client: TcpStream) {
        if let Ok(mut server) = UnixStream::connect(&self.server).await {
            let _ = client.set_nodelay(true);
            let mut mode = self.mode.clone();
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let ended = tokio::select! {
                _ = mode.wait_for(|mode| matches!(mode, Mode::Refuse | Mode::Reset)) => {
                    self.hit();
                    Err(Cut)
                }
                ended = self.pump(from_client, to_server, Way::ToServer) => ended,
                ended = self.pump(from_server, to_client, Way::ToClient) => ended,
            };
            if ended.is_ok() {
                return;
            }
        }
        let _ = client.set_zero_linger();
    }

    async fn pump(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        way: Way,
    ) -> Result<(), Cut> {
        let mut modes = self.mode.clone();
        let (mut buffer, mut counted) = (vec![0; 16 << 10], 0);
        loop {
            let length = from.read(&mut buffer).await?;
            let piece = &buffer[..length];
            // An end is as silent as a byte.
            let is_heard = |mode: &Mode| !matches!(mode, Mode::Silence(silent) if silent.covers(way));
            if !is_heard(&modes.borrow()) {
                self.hit();
            }
            let mode = modes.wait_for(is_heard).await?.clone();
            if length == 0 {
                return Ok(());
            }
            if !matches!(mode, Mode::CutAfter(_)) {
                counted = 0;
            }
            match mode {
                Mode::Pass | Mode::Silence(_) => to.write_all(piece).await?,
                Mode::Refuse | Mode::Reset => return Err(Cut),
                Mode::Delay(time) => {
                    self.hit();
                    tokio::time::sleep(time).await;
                    to.write_all(piece).await?;
                }
                Mode::Throttle(rate) => {
                    self.hit();
                    for part in piece.chunks((rate / 20).max(1)) {
                        to.write_all(part).await?;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
                Mode::CutAfter(limit) if way == Way::ToClient && counted + length > limit => {
                    return self.cut(&mut to, &piece[..limit - counted]).await;
                }
                Mode::CutAfter(_) => {
                    counted += length;
                    to.write_all(piece).await?;
                }
                Mode::CutWithin(where_, bytes) => {
                    let found = piece.windows(bytes.len()).position(|window| window == bytes);
                    if let Some(at) = found.filter(|_| where_.covers(way)) {
                        return self.cut(&mut to, &piece[..at + bytes.len() / 2]).await;
                    }
                    to.write_all(piece).await?;
                }
            }
        }
    }

    fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    async fn cut(&self, to: &mut (impl AsyncWrite + Unpin), rest: &[u8]) -> Result<(), Cut> {
        to.write_all(rest).await?;
        self.hit();
        Err(Cut)
    }
}
