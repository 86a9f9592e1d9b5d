//! How much a shard reads from disk for replicas that are behind, so that one that comes back, or a
//! new one, does not take the disk and the network from everybody else.
//!
//! Replicas that keep up are served from memory and never come by here.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

/// Reads at once: what they have read is in memory until it is sent.
const READS_MAX: usize = 8;

/// Where all groups of a shard wait for their turn.
pub(crate) struct CatchUp {
    turns: Semaphore,
    /// Bytes a second.
    rate: Cell<u64>,
    /// When what has been sent so far has had its time.
    paid_until: Cell<Instant>,
    changed: Notify,
}

impl CatchUp {
    pub(crate) fn new() -> CatchUp {
        CatchUp {
            turns: Semaphore::new(READS_MAX),
            rate: Cell::new(u64::MAX),
            paid_until: Cell::new(Instant::now()),
            changed: Notify::new(),
        }
    }

    /// Sends this much a second from now on (`leader.replication.throttled.rate`).
    pub(crate) fn set_rate(&self, bytes_per_second: u64) {
        if self.rate.replace(bytes_per_second.max(1)) != bytes_per_second.max(1) {
            // Nobody waits any longer for what the old rate has asked of them.
            self.paid_until.set(Instant::now());
            self.changed.notify_waiters();
        }
    }

    /// Reads when it is this read's turn, and gives what was read when its bytes may go.
    pub(crate) async fn read<T>(
        &self,
        reading: impl Future<Output = T>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> T {
        let Ok(_turn) = self.turns.acquire().await else {
            unreachable!("nobody closes the semaphore");
        };
        let read = reading.await;
        self.pay(bytes(&read)).await;
        read
    }

    async fn pay(&self, bytes: usize) {
        let rate = self.rate.get();
        if rate == u64::MAX {
            return;
        }
        let from = self.paid_until.get().max(Instant::now());
        let nanos = u128::from(rate).max(1);
        let nanos = (bytes as u128 * 1_000_000_000).div_ceil(nanos);
        let until = from + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid_until.set(until);
        tokio::select! {
            () = sleep_until(until) => {}
            () = self.changed.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_holds_over_all_reads_together() {
        let catch_up = CatchUp::new();
        let began = Instant::now();
        let reads = |n: usize| (0..n).map(|_| catch_up.read(async { [0_u8; 1000] }, |it| it.len()));
        join_all(reads(50)).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "without a rate nothing waits");
        catch_up.set_rate(10_000);
        join_all(reads(50)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_higher_rate_frees_who_waits_for_a_lower_one() {
        let catch_up = CatchUp::new();
        catch_up.set_rate(1);
        let reads = |n: usize| (0..n).map(|_| catch_up.read(async { [0_u8; 1000] }, |it| it.len()));
        let raised = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            catch_up.set_rate(100_000);
        };
        let began = Instant::now();
        tokio::join!(join_all(reads(100)), raised);
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_few_read_at_once() {
        let (catch_up, running, most) = (CatchUp::new(), Cell::new(0), Cell::new(0));
        let read = || async {
            running.set(running.get() + 1);
            most.set(most.get().max(running.get()));
            tokio::time::sleep(Duration::from_millis(10)).await;
            running.set(running.get() - 1);
        };
        join_all((0..100).map(|_| catch_up.read(read(), |()| 0))).await;
        assert_eq!(most.get(), READS_MAX);
    }
}
