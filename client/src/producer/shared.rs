//! What the handles of a producer share with its driver: memory, partitions, and the bell that
//! tells the driver to look.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::accumulator::Accumulator;
use super::builder::Settings;
use super::delivery::{Completion, Receipt};
use super::error::{ProduceError, ProduceFault};
use super::interceptor::Interceptors;
use super::routes::Routes;
use crate::cluster::Topic;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    /// Bytes of buffer memory left. Waiting for it is fair.
    pub(super) memory: Semaphore,
    /// Callers that wait for memory.
    starved: AtomicUsize,
    is_closing: AtomicBool,
    /// Rung when there is a signal, when somebody starves, and at the end.
    pub(super) bell: Notify,
    pub(super) routes: Routes,
    /// All partitions written to, each at its slot.
    accumulators: Mutex<Vec<Arc<Accumulator>>>,
    /// Slots with something new to look at.
    signals: Mutex<Vec<usize>>,
    incomplete: Mutex<Incomplete>,
}

/// The batches whose outcome is open, by their address, so that a flush knows what to wait for.
#[derive(Debug, Default)]
struct Incomplete {
    batches: HashMap<usize, Arc<Completion>>,
    /// Set once the driver is gone and completes nothing any more.
    is_abandoned: bool,
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        Shared {
            memory: Semaphore::new(settings.buffer_memory),
            starved: AtomicUsize::new(0),
            is_closing: AtomicBool::new(false),
            bell: Notify::new(),
            routes: Routes::default(),
            accumulators: Mutex::default(),
            signals: Mutex::default(),
            incomplete: Mutex::default(),
            settings,
        }
    }

    /// Makes or renews the route to a topic, as metadata of `version` has it.
    pub(super) fn learn_route(&self, topic: Arc<Topic>, version: u64) {
        self.routes.learn(topic, version, |topic, partition| {
            let mut all = lock(&self.accumulators);
            let accumulator = Accumulator::new(all.len(), topic.clone(), partition);
            accumulator.close_if(self.is_closing());
            let accumulator = Arc::new(accumulator);
            all.push(accumulator.clone());
            accumulator
        });
    }

    /// The accumulators from `slot` on.
    pub(super) fn accumulators_from(&self, slot: usize) -> Vec<Arc<Accumulator>> {
        lock(&self.accumulators).get(slot..).unwrap_or_default().to_vec()
    }

    /// Tells the driver to look at a partition.
    pub(super) fn signal(&self, slot: usize) {
        lock(&self.signals).push(slot);
        self.bell.notify_one();
    }

    pub(super) fn take_signals(&self, into: &mut Vec<usize>) {
        into.append(&mut lock(&self.signals));
    }

    /// Takes `bytes` of buffer memory if there are so many and nobody waits for them.
    pub(super) fn has_reserved(&self, bytes: u32) -> bool {
        self.memory.try_acquire_many(bytes).map(SemaphorePermit::forget).is_ok()
    }

    /// Waits for `bytes` of buffer memory. They are given back with [`Semaphore::add_permits`].
    pub(super) async fn reserve(&self, bytes: u32) {
        let _starving = Starving::begin(self);
        let permit = self.memory.acquire_many(bytes).await;
        permit.expect("the semaphore is never closed").forget();
    }

    pub(super) fn is_anybody_starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed) > 0
    }

    /// Sends what has been gathered without waiting for more.
    pub(super) fn close_batches(&self) {
        for accumulator in self.accumulators_from(0) {
            if accumulator.close_batch() {
                self.signal(accumulator.slot);
            }
        }
    }

    /// Refuses further records, and has those that were taken sent. The driver ends after them.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        for accumulator in self.accumulators_from(0) {
            if accumulator.close() {
                self.signal(accumulator.slot);
            }
        }
        self.bell.notify_one();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// Notes that somebody may wait for this batch. It is completed at once if nobody else will.
    pub(super) fn register(&self, completion: &Arc<Completion>) {
        let mut incomplete = lock(&self.incomplete);
        if incomplete.is_abandoned {
            // No record is in it yet, so there is no interceptor to tell.
            completion.complete(Err(abandoned(completion)), &Interceptors::none());
            return;
        }
        incomplete.batches.insert(address(completion), completion.clone());
    }

    /// Settles a batch and gives its memory back.
    pub(super) fn complete(
        &self,
        completion: &Arc<Completion>,
        reserved: usize,
        outcome: Result<Receipt, ProduceError>,
    ) {
        completion.complete(outcome, &self.settings.interceptors);
        self.memory.add_permits(reserved);
        lock(&self.incomplete).batches.remove(&address(completion));
    }

    /// The batches whose outcome is open.
    pub(super) fn incomplete(&self) -> Vec<Arc<Completion>> {
        lock(&self.incomplete).batches.values().cloned().collect()
    }

    pub(super) fn has_incomplete(&self) -> bool {
        !lock(&self.incomplete).batches.is_empty()
    }

    /// Fails whatever has no outcome, as the driver is gone: its runtime ended, or it panicked.
    pub(super) fn abandon(&self) {
        let batches = {
            let mut incomplete = lock(&self.incomplete);
            incomplete.is_abandoned = true;
            std::mem::take(&mut incomplete.batches)
        };
        for completion in batches.into_values() {
            completion.complete(Err(abandoned(&completion)), &self.settings.interceptors);
        }
        // Nobody gives memory back any more, and nobody shall wait for it.
        self.memory.add_permits(self.settings.buffer_memory);
    }
}

const UNPOISONED: &str = "no one panics while holding this lock";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect(UNPOISONED)
}

/// Unique among the batches of the map, which keeps them where they are.
fn address(completion: &Arc<Completion>) -> usize {
    Arc::as_ptr(completion).addr()
}

fn abandoned(completion: &Completion) -> ProduceError {
    ProduceError {
        topic: completion.topic.clone(),
        partition: Some(completion.partition),
        broker: None,
        fault: ProduceFault::Closed,
    }
}

/// Counts a caller as waiting for memory, until it is dropped.
struct Starving<'a>(&'a Shared);

impl<'a> Starving<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.starved.fetch_add(1, Ordering::Relaxed);
        shared.bell.notify_one();
        Starving(shared)
    }
}

impl Drop for Starving<'_> {
    fn drop(&mut self) {
        self.0.starved.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn memory_is_waited_for_and_starvation_is_visible() {
        let shared = Shared::new(Settings { buffer_memory: 100, ..Settings::default() });
        shared.reserve(60).await;
        {
            let waiting = shared.reserve(60);
            tokio::pin!(waiting);
            assert!(waiting.as_mut().now_or_never().is_none());
            assert!(shared.is_anybody_starved());
        }
        assert!(!shared.is_anybody_starved(), "a caller that gives up does not starve");
        shared.memory.add_permits(60);
        shared.reserve(100).await;
    }
}
