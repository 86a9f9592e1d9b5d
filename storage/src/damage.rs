//! Ranges of a log that are not what was written: kept, reported, never served, never cut.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// Bytes that fail their checks, and what lay there as far as the ledger or the neighbours tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// The segment's `.log` file.
    pub path: PathBuf,
    /// Where in the file; it may reach beyond the file's end.
    pub positions: Range<u64>,
    /// The entries that are lost here; empty if only framing of our own was hit.
    pub indexes: Range<u64>,
    /// The offsets that are lost here; empty if only internal entries were hit.
    pub offsets: Range<i64>,
}

impl DamagedRange {
    /// Leaves out what lies at or behind these ends; returns whether anything is left.
    pub(crate) fn truncate(&mut self, next_index: u64, next_offset: i64, position: u64) -> bool {
        self.indexes.end = self.indexes.end.min(next_index).max(self.indexes.start);
        self.offsets.end = self.offsets.end.min(next_offset).max(self.offsets.start);
        self.positions.end = self.positions.end.min(position).max(self.positions.start);
        let lost_entries = !self.indexes.is_empty() || !self.offsets.is_empty();
        lost_entries || !self.positions.is_empty()
    }
}

impl fmt::Display for DamagedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DamagedRange { path, positions, indexes, offsets } = self;
        write!(
            f,
            "{} positions {}..{}, indexes {}..{}, offsets {}..{}",
            path.display(),
            positions.start,
            positions.end,
            indexes.start,
            indexes.end,
            offsets.start,
            offsets.end
        )
    }
}
