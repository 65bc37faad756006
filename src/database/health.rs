//! What is known of a server right now, for those who choose one, and for those who wait for one.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::LogPosition;

/// How long a server may take for anything until it is looked at all the time.
const FIRST_DOUBT: Duration = Duration::from_millis(30);

/// How long it may give no sign of life then, until what is asked of a replica is asked elsewhere; or so many times as long
/// as it takes to answer these days. On two cores with eight programs that never rest, one look in 35 took more than
/// 70 ms, and one in 250 also three times as long as those before it.
const SILENCE: Duration = Duration::from_millis(70);
const SLOWNESS: u32 = 3;

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
    /// How often the server has been looked at, well or not.
    looks: watch::Sender<u64>,
    /// Its last answer, as how long the slowest of late took.
    answers: watch::Sender<Duration>,
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

    /// The server was looked at and answered, the slowest time of late after so long.
    pub(super) fn answered(&self, seen: Seen, slowest: Duration) {
        self.seen.send_replace(Some(seen));
        self.follows.store(seen.is_in_recovery, Ordering::Relaxed);
        self.answers.send_replace(slowest);
        self.looks.send_modify(|looks| *looks += 1);
    }

    /// The server was looked at and did not answer.
    pub(super) fn unanswered(&self) {
        self.seen.send_replace(None);
        self.looks.send_modify(|looks| *looks += 1);
    }

    /// The server is not to be used until it has been looked at. Says whether it was until now.
    pub(super) fn suspect(&self) -> bool {
        self.nudge.notify_one();
        self.seen.send_replace(None).is_some()
    }

    /// Has the server looked at soon.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Has the server looked at often, while the answer lives.
    pub(super) fn wait(&self) -> Waiting<'_> {
        // Of those that come later each would be one look more.
        if self.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.nudge.notify_one();
        }
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

    /// Work that the server does. Once it takes long the server is looked at often, so that its end is seen soon.
    pub(super) async fn watched<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Ok(done) = timeout(FIRST_DOUBT, &mut work).await {
            return done;
        }
        let _often = self.wait();
        work.await
    }

    /// Until the server, which is looked at often from the first doubt on, has given no sign of life for too long.
    pub(super) async fn silence(&self) {
        sleep(FIRST_DOUBT).await;
        let mut answers = self.answers.subscribe();
        let mut silent_halves = 0;
        // Where this process itself stood still only one half goes by, and then the answer is read.
        while silent_halves < 2 {
            let patience = SILENCE.max(*answers.borrow_and_update() * SLOWNESS);
            let is_silent = timeout(patience / 2, answers.changed()).await.is_err();
            silent_halves = if is_silent { silent_halves + 1 } else { 0 };
        }
    }
}
