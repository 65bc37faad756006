//! Decides when batches are dispatched: when the execution has nothing left to do but to wait for them.
//!
//! The execution is polled with a waker of our own. As long as it wakes itself while it is polled it is polled again;
//! once it is pending with nothing woken, every resolver of the level has asked for its key. A timer would cost its
//! latency on each level, and counting yields splits large levels. No task is spawned: a dropped request drops its
//! statements.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::task::AtomicWaker;

/// A batch under way.
pub(super) type Dispatched = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Keys that wait to be loaded together.
pub(super) trait Queue: Send + Sync {
    /// Loads every key that waits.
    fn dispatch(self: Arc<Self>) -> Dispatched;

    /// Whether its answers never ask for more keys. The next level does not wait for a leaf.
    fn is_leaf(&self) -> bool;
}

/// The queues of one request that hold keys. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<Vec<Arc<dyn Queue>>>>);

impl Gate {
    /// Adds a queue that got its first key.
    pub(super) fn announce(&self, queue: Arc<dyn Queue>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(queue);
    }

    /// Runs an execution whose loads go through this gate.
    ///
    /// A level is dispatched when the one before it has been answered whole, so the number of statements of a document
    /// does not depend on which of them is faster.
    pub async fn run<F: Future>(&self, execution: F) -> F::Output {
        // Tokio's cooperative budget makes a future pending although it could go on, and wakes it: a level that is
        // larger than the budget would never be quiet.
        let mut execution = pin!(tokio::task::unconstrained(execution));
        let signal = Arc::new(Signal::default());
        let waker = Waker::from(Arc::clone(&signal));
        let mut level: FuturesUnordered<Dispatched> = FuturesUnordered::new();
        let mut leaves: FuturesUnordered<Dispatched> = FuturesUnordered::new();
        poll_fn(move |context| {
            signal.task.register(context.waker());
            loop {
                while let Poll::Ready(Some(())) = level.poll_next_unpin(context) {}
                while let Poll::Ready(Some(())) = leaves.poll_next_unpin(context) {}
                signal.woken.store(false, Ordering::Release);
                if let Poll::Ready(output) = execution.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Poll::Ready(output);
                }
                if signal.woken.load(Ordering::Acquire) {
                    continue;
                }
                if !level.is_empty() || !self.dispatch(&mut level, &mut leaves) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Starts a batch for each queue, and says whether there was any.
    fn dispatch(&self, level: &mut FuturesUnordered<Dispatched>, leaves: &mut FuturesUnordered<Dispatched>) -> bool {
        let queues = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let any = !queues.is_empty();
        for queue in queues {
            let batches = if queue.is_leaf() { &mut *leaves } else { &mut *level };
            batches.push(queue.dispatch());
        }
        any
    }
}

/// The waker of an execution: it remembers that it was used, and passes it on to the task.
#[derive(Default)]
struct Signal {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake();
    }
}
