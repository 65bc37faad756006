//! A queue for each kind of key, in front of a loader of the `dataloader` crate, which caches and deduplicates.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use dataloader::BatchFn;
use dataloader::cached::Loader;
use futures_channel::oneshot;
use futures_util::future::try_join_all;
use sea_orm::QueryResult;
use uuid::Uuid;

use super::gate::{Dispatched, Gate, Queue};
use crate::database::{NamedStatement, Reader};
use crate::error::Error;

/// What a batch reads with: never more than the caller may see.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The server that the request's route chose.
    pub reader: Reader,
    /// The caller.
    pub viewer: Uuid,
}

/// What can be loaded in batches. A key holds every argument of the load, so equal keys have equal answers.
pub trait Key: Clone + Debug + Eq + Hash + Send + Sync + 'static {
    /// What comes back; its default is the answer for a key that has nothing: cheap to clone.
    type Value: Clone + Default + Send + Sync + 'static;
    /// What keys that share a statement have in common.
    type Group: Eq + Hash + Send + Sync;

    /// Whether the answer never asks for more keys.
    const IS_LEAF: bool = false;

    /// The group of the key.
    fn group(&self) -> Self::Group;

    /// The statement that answers the keys of a group, one at least and each distinct, with what `viewer` may see. Its
    /// text depends on the group alone.
    fn statement(group: &Self::Group, keys: &[Self], viewer: Uuid) -> NamedStatement;

    /// What the rows of that statement say. Keys may be missing in it.
    ///
    /// # Errors
    /// A column is missing or of another type.
    fn answers(group: &Self::Group, keys: &[Self], rows: &[QueryResult]) -> Result<HashMap<Self, Self::Value>, Error>;
}

/// The loaders of one request. Never shared by requests: batches must not mix callers or routes.
pub struct Batches {
    gate: Gate,
    scope: Scope,
    loaders: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Batches {
    /// Loaders that read within `scope` and are dispatched by `gate`.
    #[must_use]
    pub fn new(gate: Gate, scope: Scope) -> Self {
        Self { gate, scope, loaders: Mutex::default() }
    }

    /// Loads a key together with the others of its kind that are asked for before the request is quiet.
    ///
    /// # Errors
    /// The batch failed; every key of it fails alike.
    pub async fn load<K: Key>(&self, key: K) -> Result<K::Value, Error> {
        let (answer, answered) = oneshot::channel();
        self.enqueue(key, answer);
        // The queue is dropped with the request only, and then nobody waits.
        answered.await.unwrap_or(Err(Error::Timeout))
    }

    fn enqueue<K: Key>(&self, key: K, answer: oneshot::Sender<Answer<K>>) {
        let mut loaders = self.loaders.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = loaders.entry(TypeId::of::<K>()).or_insert_with(|| Arc::new(KeyQueue::<K>::new(&self.scope)));
        let Ok(queue) = Arc::clone(entry).downcast::<KeyQueue<K>>() else { return };
        drop(loaders);
        let mut waiting = queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push((key, answer));
        let is_first = waiting.len() == 1;
        drop(waiting);
        if is_first {
            self.gate.announce(queue);
        }
    }
}

type Answer<K> = Result<<K as Key>::Value, Error>;

/// The keys of one kind that wait, and the loader that remembers the answers.
struct KeyQueue<K: Key> {
    waiting: Mutex<Vec<(K, oneshot::Sender<Answer<K>>)>>,
    loader: Loader<K, Answer<K>, Batch>,
}

impl<K: Key> KeyQueue<K> {
    fn new(scope: &Scope) -> Self {
        let loader = Loader::new(Batch(scope.clone()))
            // The gate knows when the keys are complete: nothing to wait for, and no batch to split.
            .with_yield_count(0)
            .with_max_batch_size(usize::MAX);
        Self { waiting: Mutex::default(), loader }
    }
}

impl<K: Key> Queue for KeyQueue<K> {
    fn dispatch(self: Arc<Self>) -> Dispatched {
        Box::pin(async move {
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            let keys = waiting.iter().map(|(key, _)| key.clone()).collect();
            // Every key of a batch is answered, so the crate's only error, a missing key, cannot happen.
            let answers = self.loader.try_load_many(keys).await.unwrap_or_default();
            for (key, answer) in waiting {
                let value = answers.get(&key).cloned().unwrap_or_else(|| Ok(K::Value::default()));
                // A resolver that no longer waits has been dropped.
                let _ = answer.send(value);
            }
        })
    }

    fn is_leaf(&self) -> bool {
        K::IS_LEAF
    }
}

/// Calls the batch function of a kind of key, and answers every key.
struct Batch(Scope);

impl<K: Key> BatchFn<K, Answer<K>> for Batch {
    async fn load(&mut self, keys: &[K]) -> HashMap<K, Answer<K>> {
        match load(&self.0, keys).await {
            Ok(mut found) => keys.iter().map(|key| (key.clone(), Ok(found.remove(key).unwrap_or_default()))).collect(),
            Err(error) => keys.iter().map(|key| (key.clone(), Err(error.clone()))).collect(),
        }
    }
}

/// Loads all keys, in one statement for each group of them.
async fn load<K: Key>(scope: &Scope, keys: &[K]) -> Result<HashMap<K, K::Value>, Error> {
    let mut groups: HashMap<K::Group, Vec<K>> = HashMap::new();
    for key in keys {
        groups.entry(key.group()).or_default().push(key.clone());
    }
    let batch = scope.reader.batch(kind::<K>(), keys.len());
    let loaded = groups.into_iter().map(async |(group, keys)| {
        let statement = K::statement(&group, &keys, scope.viewer).keys(keys.len());
        K::answers(&group, &keys, &batch.rows(statement).await?)
    });
    Ok(try_join_all(loaded).await?.into_iter().flatten().collect())
}

/// The name of a kind of key: that of its type.
fn kind<K: Key>() -> &'static str {
    let path = std::any::type_name::<K>();
    path.rsplit("::").next().unwrap_or(path)
}
