//! Disk full is a state, not an error: below the reserve, produce is refused and the rest goes on.
//!
//! Shard 0 asks the filesystem every second; all shards read the result. Writes are taken again
//! once the reserve and a little more is free, so that the state does not flap.

use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use thalweg_storage::disk::{Disk, Space};
use tracing::{error, info, warn};

use crate::node::Node;

/// How often the filesystem is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Whether there is room for records.
#[derive(Debug)]
pub(crate) struct SpaceState {
    reserve_bytes: u64,
    full: AtomicBool,
    available: AtomicU64,
    total: AtomicU64,
}

impl SpaceState {
    /// Room until the filesystem says otherwise.
    pub(crate) fn new(reserve_bytes: u64) -> SpaceState {
        SpaceState {
            reserve_bytes,
            full: AtomicBool::new(false),
            available: AtomicU64::new(0),
            total: AtomicU64::new(0),
        }
    }

    /// Whether records are refused now.
    pub(crate) fn refuses_writes(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Free and total bytes as last seen.
    pub(crate) fn space(&self) -> Space {
        Space {
            available: self.available.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
        }
    }

    /// The reserve never exceeds a twentieth of the filesystem: a small disk is still usable.
    fn reserve(&self, total: u64) -> u64 {
        self.reserve_bytes.min(total / 20)
    }

    /// Takes note of what the filesystem has said.
    pub(crate) fn observe(&self, space: Space) {
        self.available.store(space.available, Ordering::Relaxed);
        self.total.store(space.total, Ordering::Relaxed);
        let reserve = self.reserve(space.total);
        let was_full = self.refuses_writes();
        let enough = if was_full { reserve + reserve / 4 } else { reserve };
        let full = space.available < enough;
        self.full.store(full, Ordering::Relaxed);
        if full && !was_full {
            error!(
                available_bytes = space.available,
                reserve_bytes = reserve,
                "disk full: records are refused until space is freed (reads go on)"
            );
        } else if was_full && !full {
            info!(available_bytes = space.available, "disk has space again: records are taken");
        }
    }
}

/// Watches the filesystem of `dir` for as long as the shard runs.
pub(crate) async fn watch(disk: Rc<dyn Disk>, dir: &Path, node: &Node) {
    let state = &node.space;
    loop {
        match disk.space(dir).await {
            Ok(space) => state.observe(space),
            Err(error) => warn!(%error, "cannot ask for free disk space"),
        }
        let Space { available, total } = state.space();
        let full = state.refuses_writes();
        node.health.set_disk_full(full);
        node.metrics.set_disk(available, total, state.reserve(total), full);
        tokio::time::sleep(ASK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_refused_below_the_reserve_until_there_is_clearly_more() {
        let state = SpaceState::new(100);
        let seen = |available| {
            state.observe(Space { available, total: 1_000_000 });
            state.refuses_writes()
        };
        assert!(!seen(100));
        assert!(seen(99));
        assert!(seen(110), "a little more is not enough");
        assert!(!seen(125));
    }

    #[test]
    fn a_small_disk_is_not_all_reserve() {
        let state = SpaceState::new(1 << 30);
        state.observe(Space { available: 10_000, total: 100_000 });
        assert!(!state.refuses_writes());
    }
}
