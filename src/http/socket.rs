//! The socket of a connection: it fails where the client does not take what it is sent.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// What a client must take at least on average, in bytes a second: a tenth of what the slowest networks of telephones carry.
/// Else it could keep a connection for as long as it likes by taking a byte now and then.
const BYTES_PER_SECOND: u32 = 4_096;

/// A stream to a client.
pub(super) struct Socket {
    stream: TcpStream,
    /// How long the client may keep the server waiting.
    patience: Duration,
    /// How long it has, and has not made up for by what it took.
    waited: Duration,
    waiting: Option<Waiting>,
}

/// Bytes are there that the client does not take.
struct Waiting {
    since: Instant,
    end: Pin<Box<Sleep>>,
}

impl Socket {
    pub fn new(stream: TcpStream, patience: Duration) -> Self {
        // The last packet of a long answer would wait until the client has acknowledged the one before.
        let _ = stream.set_nodelay(true);
        Self { stream, patience, waited: Duration::ZERO, waiting: None }
    }

    /// What came of writing, and whether the client has kept it waiting for too long.
    fn written(&mut self, context: &mut Context<'_>, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            let waited = self.waiting.take().map(|Waiting { since, .. }| since.elapsed()).unwrap_or_default();
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let earned = Duration::from_secs(1) * bytes / BYTES_PER_SECOND;
            self.waited = (self.waited + waited).saturating_sub(earned);
        } else if written.is_pending() {
            let left = self.patience.saturating_sub(self.waited);
            let waiting =
                self.waiting.get_or_insert_with(|| Waiting { since: Instant::now(), end: Box::pin(sleep(left)) });
            ready!(waiting.end.as_mut().poll(context));
            // What was sent and not taken would stay in the system's memory.
            let _ = self.stream.set_zero_linger();
            return Poll::Ready(Err(Error::from(ErrorKind::TimedOut)));
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
