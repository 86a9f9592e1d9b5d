//! What all logs of one shard share: the tail cache's budget, the cache of mappings, counters.

use std::cell::{Cell, RefCell};

use crate::map_cache::MapCache;
use crate::tail_cache::TailBudget;

/// Limits of what the logs of a shard share.
#[derive(Clone, Copy, Debug)]
pub struct SharedConfig {
    /// Bytes of recently appended batches kept for readers, over all logs of the shard.
    pub tail_cache_bytes_max: usize,
    /// Most files mapped at a time.
    pub mappings_max: usize,
}

impl Default for SharedConfig {
    fn default() -> Self {
        SharedConfig { tail_cache_bytes_max: 64 << 20, mappings_max: 4096 }
    }
}

/// Counters over all logs of a shard, for the metrics endpoint.
#[derive(Debug, Default)]
pub struct LogStats {
    /// Entries appended.
    pub entries_appended: Cell<u64>,
    /// Bytes appended.
    pub bytes_appended: Cell<u64>,
    /// Windows written (one write each, and one flush unless write caching).
    pub windows_written: Cell<u64>,
    /// Flushes of log files.
    pub flushes: Cell<u64>,
    /// Reads answered wholly from the tail cache.
    pub cached_reads: Cell<u64>,
    /// Reads that went to a file.
    pub cold_reads: Cell<u64>,
    /// Damaged ranges found since start, by recovery or by reads.
    pub damaged_ranges: Cell<u64>,
    /// Logs that wait for space now.
    pub full_logs: Cell<u64>,
}

/// Shared by all logs of one shard.
pub struct LogShared {
    stats: LogStats,
    pub(crate) tail_budget: RefCell<TailBudget>,
    pub(crate) maps: RefCell<MapCache>,
    next_segment_id: Cell<u64>,
}

impl LogShared {
    /// Empty caches with these limits.
    pub fn new(config: SharedConfig) -> Self {
        LogShared {
            stats: LogStats::default(),
            tail_budget: RefCell::new(TailBudget::new(config.tail_cache_bytes_max)),
            maps: RefCell::new(MapCache::new(config.mappings_max)),
            next_segment_id: Cell::new(0),
        }
    }

    /// The counters.
    pub fn stats(&self) -> &LogStats {
        &self.stats
    }

    /// Bytes in the tail caches now, with what keeping them costs.
    pub fn tail_cache_bytes(&self) -> u64 {
        u64::try_from(self.tail_budget.borrow().bytes()).unwrap_or(u64::MAX)
    }

    /// Files mapped now.
    pub fn mappings(&self) -> usize {
        self.maps.borrow().len()
    }

    pub(crate) fn next_segment_id(&self) -> u64 {
        self.next_segment_id.replace(self.next_segment_id.get() + 1)
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, by: u64) {
    counter.set(counter.get().wrapping_add(by));
}
