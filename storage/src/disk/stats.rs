//! What a disk has done so far, for metrics. Written by one shard, read from anywhere.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Told how long each `sync_data` and `sync_all` took, on whichever thread it completed.
pub type SyncObserver = Box<dyn Fn(Duration) + Send + Sync>;

/// Counters of one disk. They only grow, except the depth derived from them.
#[derive(Default)]
pub struct DiskStats {
    started: AtomicU64,
    completed: AtomicU64,
    submissions: AtomicU64,
    on_sync: Option<SyncObserver>,
}

impl DiskStats {
    /// Counters that also report the latency of every flush to `on_sync`.
    pub fn with_sync_observer(on_sync: SyncObserver) -> Self {
        DiskStats { on_sync: Some(on_sync), ..Self::default() }
    }

    /// Operations started and not yet completed.
    pub fn in_flight(&self) -> u64 {
        // Read in this order, a completion between the two loads cannot make the depth negative.
        let completed = self.completed.load(Relaxed);
        self.started.load(Relaxed).saturating_sub(completed)
    }

    /// Operations completed, well or badly.
    pub fn completed(&self) -> u64 {
        self.completed.load(Relaxed)
    }

    /// Times the kernel or the pool was handed work: with io_uring one submission carries many
    /// operations.
    pub fn submissions(&self) -> u64 {
        self.submissions.load(Relaxed)
    }

    pub(super) fn on_started(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    pub(super) fn on_completed(&self) {
        self.completed.fetch_add(1, Relaxed);
    }

    pub(super) fn on_submission(&self) {
        self.submissions.fetch_add(1, Relaxed);
    }

    pub(super) fn on_synced(&self, took: Duration) {
        if let Some(on_sync) = &self.on_sync {
            on_sync(took);
        }
    }
}
