//! Long polls: a fetch that found too little waits for the partitions it asked for.
//!
//! One waiter is shared by all partitions of a request, on whatever shard they are. Each counts the
//! bytes that became readable and the last missing one wakes the request, which then reads anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

/// A fetch request that waits for `min_bytes`.
pub(crate) struct FetchWaiter {
    missing_bytes: AtomicI64,
    wake: Notify,
}

impl FetchWaiter {
    /// A waiter that still misses `missing_bytes`.
    pub(crate) fn new(missing_bytes: i64) -> FetchWaiter {
        FetchWaiter { missing_bytes: AtomicI64::new(missing_bytes), wake: Notify::new() }
    }

    /// `bytes` more can be read. Returns whether the waiter has enough now.
    pub(crate) fn on_readable(&self, bytes: i64) -> bool {
        let before = self.missing_bytes.fetch_sub(bytes, Ordering::AcqRel);
        let enough = before <= bytes;
        if enough {
            self.wake.notify_one();
        }
        enough
    }

    /// Something happened that the request should answer at once: an error, a new leader.
    pub(crate) fn wake(&self) {
        self.missing_bytes.store(0, Ordering::Release);
        self.wake.notify_one();
    }

    /// Waits until there is enough.
    pub(crate) async fn enough(&self) {
        self.wake.notified().await;
    }
}

/// The waiters of one partition.
#[derive(Default)]
pub(super) struct Waiters {
    waiting: Vec<Arc<FetchWaiter>>,
    /// When to look for requests that have gone; doubles with the number of live ones.
    prune_at: usize,
}

impl Waiters {
    /// One more request waits here.
    pub(super) fn add(&mut self, waiter: Arc<FetchWaiter>) {
        if self.waiting.len() >= self.prune_at {
            self.waiting.retain(|waiter| Arc::strong_count(waiter) > 1);
            self.prune_at = (2 * self.waiting.len()).max(16);
        }
        self.waiting.push(waiter);
    }

    /// `bytes` more can be read here.
    pub(super) fn on_readable(&mut self, bytes: i64) {
        self.waiting.retain(|waiter| Arc::strong_count(waiter) > 1 && !waiter.on_readable(bytes));
    }

    /// Everyone reads anew.
    pub(super) fn wake_all(&mut self) {
        for waiter in self.waiting.drain(..) {
            waiter.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_last_missing_byte_wakes() {
        let waiter = FetchWaiter::new(100);
        assert!(!waiter.on_readable(60));
        assert!(waiter.enough().now_or_never().is_none());
        assert!(waiter.on_readable(40));
        assert!(waiter.enough().now_or_never().is_some());
    }

    #[test]
    fn requests_that_timed_out_do_not_pile_up() {
        let mut waiters = Waiters::default();
        let live = Arc::new(FetchWaiter::new(1));
        waiters.add(Arc::clone(&live));
        for _ in 0..10_000 {
            waiters.add(Arc::new(FetchWaiter::new(1)));
        }
        assert!(waiters.waiting.len() <= 16, "{} waiters kept", waiters.waiting.len());
        waiters.on_readable(1);
        assert!(live.enough().now_or_never().is_some());
    }
}
