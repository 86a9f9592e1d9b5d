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
