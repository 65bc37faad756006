//! What is known of a server right now, for those who choose one, and for those who wait for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::LogPosition;
use super::connections::unreachable;

/// How long a replica may take until it is asked whether it is there, and how long for a sign of life then. Where none
/// comes, what is asked of it is asked elsewhere.
const FIRST_DOUBT: Duration = Duration::from_millis(30);
const SILENCE: Duration = Duration::from_millis(70);

/// What a server said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// How far its log is: on the primary written, on a replica replayed.
    pub(super) position: LogPosition,
    /// Whether it follows another server.
    pub(super) is_in_recovery: bool,
    /// When it was started, in microseconds: what it said before that means nothing any more.
    pub(super) started: i64,
    /// Everything that was committed before this instant is in its data; none where that is not known yet.
    pub(super) as_of: Option<DateTime<Utc>>,
    /// It is, or was until a moment ago, too far behind to be read.
    pub(super) is_late: bool,
    /// It was away, and has not been back for long enough to be counted on.
    pub(super) is_on_probation: bool,
}

/// A server's health. The watcher writes it, everybody reads it.
#[derive(Debug)]
pub(super) struct Health {
    /// None where the server does not answer.
    seen: watch::Sender<Option<Seen>>,
    /// How often the server has been looked at, well or not; and how often it answered.
    looks: watch::Sender<u64>,
    answers: watch::Sender<u64>,
    nudge: Notify,
    waiting: AtomicUsize,
    /// Whether it followed another server when it last answered.
    follows: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            seen: watch::Sender::new(None),
            looks: watch::Sender::default(),
            answers: watch::Sender::default(),
            nudge: Notify::new(),
            waiting: AtomicUsize::new(0),
            follows: AtomicBool::new(false),
        }
    }
}

/// As long as it lives, the server is looked at often.
pub(super) struct Waiting<'a>(&'a Health);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Health {
    /// What the server said last; none where it does not answer.
    pub(super) fn seen(&self) -> Option<Seen> {
        *self.seen.borrow()
    }

    /// Whether it follows another server, or did when it last answered.
    pub(super) fn follows(&self) -> bool {
        self.follows.load(Ordering::Relaxed)
    }

    /// The server was looked at.
    pub(super) fn publish(&self, seen: Option<Seen>) {
        self.seen.send_replace(seen);
        if let Some(seen) = seen {
            self.follows.store(seen.is_in_recovery, Ordering::Relaxed);
            self.answers.send_modify(|answers| *answers += 1);
        }
        self.looks.send_modify(|looks| *looks += 1);
    }

    /// The server is not to be used until it has been looked at.
    pub(super) fn suspect(&self) {
        self.seen.send_replace(None);
        self.nudge.notify_one();
    }

    /// Has the server looked at soon.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Has the server looked at often, while the answer lives.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.nudge.notify_one();
        Waiting(self)
    }

    /// Whether somebody waits for the server to get further.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Until somebody wants the server looked at.
    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// Until the server has been looked at once more.
    pub(super) async fn looked_at(&self) {
        let mut looks = self.looks.subscribe();
        self.nudge();
        let _ = looks.changed().await;
    }

    /// Until the server has said something that is good.
    pub(super) async fn until(&self, is_good: impl Fn(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        let _ = seen.wait_for(|seen| seen.as_ref().is_some_and(&is_good)).await;
    }

    /// Work that the server does, for as long as it gives signs of life.
    pub(super) async fn unless_silent<T>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let mut work = std::pin::pin!(work);
        if let Ok(done) = timeout(FIRST_DOUBT, &mut work).await {
            return done;
        }
        let mut answers = self.answers.subscribe();
        self.nudge();
        let sign = timeout(SILENCE, answers.changed());
        tokio::select! {
            done = &mut work => return done,
            sign = sign => if sign.is_err() {
                self.suspect();
                return Err(unreachable("the server gives no sign of life"));
            },
        }
        // It is busy, and alive.
        work.await
    }
}
