//! Opening a log: what is on disk, what a crash left, and putting that in order.
//!
//! Segments are taken oldest first. A sealed one is trusted by its footer; the others are examined
//! (see `examine.rs`) and then settled: a torn tail is cut, a damaged segment is sealed as it is so
//! that the log goes on in a new one, a lost or stale ledger is rebuilt. Doubt never deletes data.

#[cfg(feature = "planted-bugs")]
pub mod planted;
mod segment;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::active::Active;
use crate::beginning;
use crate::damage::DamagedRange;
use crate::epochs::EpochStart;
use crate::error::OpenError;
use crate::frame::Chain;
use crate::log::OpenLog;
use crate::log_start::LogStart;
use crate::segment::{SegmentFile, SegmentKey};
use crate::state::{LogState, RecentEntry};
use crate::tail_cache::TailCache;

pub(crate) use self::segment::check_home;
use self::segment::{FoundSegment, RecoveredSegment, recover_segment};

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
    /// Bytes of a torn tail that were cut, preallocated ones included.
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

/// A log ready to go on.
pub(crate) struct Recovered {
    pub(crate) state: LogState,
    pub(crate) active: Option<Active>,
    pub(crate) report: RecoveryReport,
}

/// Recovers the log in `open.dir`.
pub(crate) async fn recover(open: &OpenLog) -> Result<Recovered, OpenError> {
    open.disk.create_dir_all(&open.dir).await?;
    let mut start = LogStart::load(&*open.disk, &open.dir, open.identity).await?;
    if start.replaces_segments {
        start = beginning::finish(&*open.disk, &open.dir, open.identity, start).await?;
    }
    let mut rebuild = Rebuild::new(start);
    let mut found = find_segments(open, start).await?.into_iter().peekable();
    while let Some(segment) = found.next() {
        let is_last = found.peek().is_none();
        let expected = rebuild.expect(open, segment.key);
        let recovered = recover_segment(open, &segment, expected, is_last).await?;
        rebuild.add(recovered, open.applied);
    }
    let recovered = rebuild.finish(open.applied);
    for range in &recovered.report.damaged {
        tracing::error!(dir = %open.dir.display(), %range, "the log is damaged");
    }
    Ok(recovered)
}

/// The segments of the directory, oldest first. What an interrupted trim or rebuild left is
/// removed.
async fn find_segments(open: &OpenLog, start: LogStart) -> Result<Vec<FoundSegment>, OpenError> {
    let OpenLog { disk, dir, identity, .. } = open;
    let mut found: BTreeMap<(u64, i64), FoundSegment> = BTreeMap::new();
    for entry in disk.list_dir(dir).await? {
        if entry.name.ends_with(".idx.tmp") || entry.name.ends_with(".log.tmp") {
            disk.remove_file(&dir.join(&entry.name)).await?;
        }
        let Some((key, file)) = SegmentKey::parse_name(*identity, &entry.name) else { continue };
        let segment = found.entry((key.base_index, key.base_offset)).or_insert(FoundSegment {
            key,
            has_log: false,
            has_ledger: false,
        });
        match file {
            SegmentFile::Log => segment.has_log = true,
            SegmentFile::Ledger => segment.has_ledger = true,
        }
    }
    let mut segments: Vec<_> = found.into_values().collect();
    let successors = segments.iter().skip(1);
    let gone = successors.take_while(|next| next.key.base_index <= start.first_index).count();
    if gone > 0 {
        // Without it their absence would look like damage.
        LogStart::settle(&**disk, dir).await?;
    }
    for segment in segments.drain(..gone) {
        segment.remove(open).await?;
    }
    Ok(segments)
}

/// The log as far as its segments have been recovered.
struct Rebuild {
    start: LogStart,
    state: LogState,
    /// What the next segment should begin with.
    chain: Chain,
    active: Option<Active>,
    report: RecoveryReport,
    is_first: bool,
}

impl Rebuild {
    fn new(start: LogStart) -> Self {
        let LogStart { offset, first_index, prev_term, .. } = start;
        let origin = Chain { next_index: first_index, next_offset: offset, term: prev_term };
        Rebuild {
            start,
            state: LogState::empty(origin),
            chain: origin,
            active: None,
            report: RecoveryReport::default(),
            is_first: true,
        }
    }

    /// Notes what is missing before a segment, and says what the segment begins with. The log start
    /// may lie inside of the first segment, but no segment before that may be missing.
    fn expect(&mut self, open: &OpenLog, key: SegmentKey) -> Chain {
        let Chain { next_index, next_offset, term } = self.chain;
        let begins = Chain { next_index: key.base_index, next_offset: key.base_offset, term: None };
        let is_missing = if self.is_first {
            key.base_index > next_index
        } else {
            (key.base_index, key.base_offset) != (next_index, next_offset)
        };
        if is_missing {
            let missing = SegmentKey { base_offset: next_offset, base_index: next_index, ..key };
            let range = DamagedRange {
                path: missing.log_path(&open.dir),
                positions: 0..0,
                indexes: next_index..key.base_index.max(next_index),
                offsets: next_offset..key.base_offset.max(next_offset),
            };
            self.state.gaps.push(range.clone());
            // What is kept in memory has no holes.
            self.state.recent.clear();
            self.report.damaged.push(range);
            return begins;
        }
        if key.base_index == next_index { Chain { term, ..begins } } else { begins }
    }

    fn add(&mut self, recovered: RecoveredSegment, applied: u64) {
        let RecoveredSegment {
            segment,
            entries,
            epochs,
            chain,
            prev_term,
            active,
            report,
            damaged,
        } = recovered;
        self.report.segments.push(report);
        self.report.damaged.extend(damaged);
        self.chain = chain;
        self.active = active;
        if std::mem::replace(&mut self.is_first, false) {
            self.state.prev_term = prev_term;
            self.state.first_index = segment.key.base_index;
        }
        for epoch in epochs {
            self.state.epochs.push(EpochStart {
                term: epoch.term,
                first_index: segment.key.base_index + u64::from(epoch.first_slot),
                start_offset: epoch.start_offset,
            });
        }
        let recent = entries.iter().zip(segment.key.base_index..);
        let recent = recent.filter(|(_, index)| *index > applied);
        let recent = recent.map(|(entry, _)| RecentEntry { meta: entry.meta(), max_timestamp: -1 });
        self.state.recent.extend(recent);
        self.state.segments.push_back(segment);
    }

    fn finish(self, applied: u64) -> Recovered {
        let Rebuild { start, mut state, chain, active, report, .. } = self;
        let first_offset = state.segments.front().map(|first| first.key.base_offset);
        state.log_start_offset = first_offset.unwrap_or(0).max(start.offset);
        state.durable_start_offset = state.log_start_offset;
        state.last_index = chain.next_index - 1;
        state.next_offset = chain.next_offset;
        // Behind a gap nothing says the term, but it cannot have gone back.
        state.last_term = chain.term.or(state.epochs.latest()).unwrap_or(0);
        state.origin = chain;
        if state.segments.is_empty() {
            state.first_index = chain.next_index;
        }
        state.applied = applied.min(state.last_index);
        *state.tail.borrow_mut() = TailCache::new(chain.next_index);
        Recovered { state, active, report }
    }
}
