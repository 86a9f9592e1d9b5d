//! What can be set for a log, all of it changeable while the log runs.

use std::time::Duration;

/// Limits and policies of one partition's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment is sealed before it would grow beyond this (`segment.bytes`).
    pub segment_bytes_max: u32,
    /// A segment is sealed when a record is this much younger than the segment's first one
    /// (`segment.ms`).
    pub segment_ms_max: i64,
    /// A segment is sealed before its ledger would grow beyond this (`segment.index.bytes`).
    pub ledger_bytes_max: u32,
    /// Whether a write counts as stable before it is flushed (`write.caching`).
    pub write_caching: bool,
    /// With write caching: flush after this many entries (`flush.messages`).
    pub flush_messages_max: u64,
    /// With write caching: flush what is older than this (`flush.ms`).
    pub flush_ms_max: u64,
    /// With write caching: flush after this many bytes.
    pub flush_bytes_max: u64,
    /// Most bytes gathered into one write.
    pub window_bytes_max: usize,
    /// Smallest step of preallocation. Steps are an eighth of the segment, in multiples of this.
    pub allocation_bytes_min: u32,
    /// Largest step of preallocation.
    pub allocation_bytes_max: u32,
    /// Keep at most about this many bytes (`retention.bytes`).
    pub retention_bytes: Option<u64>,
    /// Keep records at most about this long (`retention.ms`).
    pub retention_ms: Option<i64>,
    /// After this much time without writes an empty flush mark proves the last window.
    pub idle_mark_after: Duration,
    /// How long to wait before trying again when the disk is full.
    pub full_retry_after: Duration,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes_max: 1 << 30,
            segment_ms_max: 7 * 24 * 3_600_000,
            ledger_bytes_max: 10 << 20,
            write_caching: false,
            flush_messages_max: u64::MAX,
            flush_ms_max: 1_000,
            flush_bytes_max: 64 << 20,
            window_bytes_max: 4 << 20,
            allocation_bytes_min: 64 << 10,
            allocation_bytes_max: 4 << 20,
            retention_bytes: None,
            retention_ms: Some(7 * 24 * 3_600_000),
            idle_mark_after: Duration::from_millis(200),
            full_retry_after: Duration::from_secs(1),
        }
    }
}
