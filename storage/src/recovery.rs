//! What opening a log found on disk.

use std::path::PathBuf;

use crate::damage::DamagedRange;

/// What opening a log found, and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// One line for each segment, oldest first.
    pub segments: Vec<SegmentReport>,
    /// All that is damaged, oldest first; includes whole segments that are missing.
    pub damaged: Vec<DamagedRange>,
}

/// What opening found of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// The segment's `.log` file.
    pub path: PathBuf,
    /// Whether its footer vouched for it, so that nothing had to be verified.
    pub sealed: bool,
    /// Entries whose bytes were verified.
    pub entries_verified: u64,
    /// Bytes verified.
    pub bytes_verified: u64,
    /// Bytes of a torn tail that were cut.
    pub bytes_cut: u64,
    /// Whether the ledger had to be rebuilt, wholly or in part, from the log.
    pub ledger_rebuilt: bool,
}

impl RecoveryReport {
    /// Whether anything that was durable is missing or unreadable.
    pub fn is_damaged(&self) -> bool {
        !self.damaged.is_empty()
    }
}
