//! Whether the application still works: it takes records, waits for some, or says that it is busy.
//!
//! It only counts; whoever heartbeats looks at the count from time to time. So taking a record
//! costs no look at a clock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Liveness {
    signs: AtomicU64,
    is_waiting: AtomicBool,
}

impl Liveness {
    pub(super) fn sign(&self) {
        self.signs.fetch_add(1, Ordering::Relaxed);
    }

    /// The application waits for as long as what is returned lives.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.is_waiting.store(true, Ordering::Relaxed);
        Waiting(self)
    }
}

pub(super) struct Waiting<'a>(&'a Liveness);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.sign();
        self.0.is_waiting.store(false, Ordering::Relaxed);
    }
}

/// What one observer has seen of it.
#[derive(Debug)]
pub(super) struct LastSign {
    signs: u64,
    at: Instant,
}

impl LastSign {
    pub(super) fn new(now: Instant) -> Self {
        LastSign { signs: 0, at: now }
    }

    /// Whether there has been no sign of life for so long. To be asked often.
    pub(super) fn is_older_than(
        &mut self,
        limit: Duration,
        liveness: &Liveness,
        now: Instant,
    ) -> bool {
        let signs = liveness.signs.load(Ordering::Relaxed);
        if signs != self.signs || liveness.is_waiting.load(Ordering::Relaxed) {
            *self = LastSign { signs, at: now };
        }
        now - self.at > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_takes_waits_or_signs_is_alive() {
        let (liveness, begin) = (Liveness::default(), Instant::now());
        let limit = Duration::from_secs(10);
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut last = LastSign::new(begin);
        assert!(!last.is_older_than(limit, &liveness, after(10)));
        assert!(last.is_older_than(limit, &liveness, after(11)));
        liveness.sign();
        assert!(!last.is_older_than(limit, &liveness, after(12)));
        let waiting = liveness.wait();
        assert!(!last.is_older_than(limit, &liveness, after(100)));
        drop(waiting);
        assert!(!last.is_older_than(limit, &liveness, after(105)));
        assert!(last.is_older_than(limit, &liveness, after(116)));
    }
}
