//! The byte budget of requests being read or worked on.
//!
//! A frame takes its share before a byte of it is buffered and gives it back when its answer is
//! ready, so that clients together cannot make the broker hold more than the budget, however many
//! they are. One request larger than the whole budget could never start: the configuration
//! refuses that.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are counted in KiB, since a semaphore counts in 32 bits.
const PERMIT_BYTES: usize = 1024;

/// Bytes that all connections of the broker share.
#[derive(Clone)]
pub(crate) struct MemoryBudget {
    permits: Arc<Semaphore>,
    total_bytes: usize,
}

/// A frame's share of the budget, given back when dropped.
pub(crate) struct Share {
    _permit: OwnedSemaphorePermit,
}

impl MemoryBudget {
    /// A budget of `total_bytes`.
    pub(crate) fn new(total_bytes: usize) -> MemoryBudget {
        let permits = Arc::new(Semaphore::new(total_bytes / PERMIT_BYTES));
        MemoryBudget { permits, total_bytes }
    }

    /// Waits until `bytes` fit and takes them.
    pub(crate) async fn take(&self, bytes: usize) -> Share {
        let permits = bytes.min(self.total_bytes).div_ceil(PERMIT_BYTES);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        match Arc::clone(&self.permits).acquire_many_owned(permits).await {
            Ok(permit) => Share { _permit: permit },
            Err(_closed) => unreachable!("the budget's semaphore is never closed"),
        }
    }

    /// Bytes taken now.
    pub(crate) fn used_bytes(&self) -> usize {
        self.total_bytes.saturating_sub(self.permits.available_permits() * PERMIT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_frame_waits_until_another_is_done() {
        let budget = MemoryBudget::new(10 * 1024);
        let first = budget.take(8 * 1024).await;
        assert_eq!(budget.used_bytes(), 8 * 1024);
        let second = budget.take(4 * 1024);
        tokio::pin!(second);
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert!(second.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_frame_above_the_budget_takes_all_of_it_rather_than_waiting_for_ever() {
        let budget = MemoryBudget::new(1024);
        let _share = budget.take(1 << 20).await;
        assert_eq!(budget.used_bytes(), 1024);
    }
}
