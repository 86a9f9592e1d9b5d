//! What a log knows in memory: its ends, its terms, its segments, and the metadata of recent
//! entries.
//!
//! All of it changes in the call that appends, truncates or trims; the disk follows. Nothing here
//! does I/O or waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use thalweg_protocol::batch::{BatchHeader, HEADER_LEN};

use crate::damage::DamagedRange;
use crate::entry::{Entry, InternalBody};
use crate::epochs::{EpochStart, Epochs};
use crate::frame::{Chain, EntryFrame};
use crate::log::EntryMeta;
use crate::segment::Segment;
use crate::tail_cache::TailCache;

/// What is kept of an entry until it is applied and out of the tail cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecentEntry {
    pub(crate) meta: EntryMeta,
    /// −1 for an internal entry.
    pub(crate) max_timestamp: i64,
}

/// The in-memory half of a log.
pub(crate) struct LogState {
    /// Oldest first; the writer appends to the last one unless that is sealed.
    pub(crate) segments: VecDeque<Rc<Segment>>,
    /// Missing segments, and other damage that belongs to no segment's files.
    pub(crate) gaps: Vec<DamagedRange>,
    pub(crate) epochs: Epochs,
    pub(crate) first_index: u64,
    /// Term of the entry before `first_index`, if anything is known of it.
    pub(crate) prev_term: Option<u32>,
    /// What the first entry was to be when the log was opened; matters only while there is no
    /// segment.
    pub(crate) origin: Chain,
    pub(crate) log_start_offset: i64,
    /// The log start that a restart would find; behind the other while it is being noted.
    pub(crate) durable_start_offset: i64,
    pub(crate) last_index: u64,
    pub(crate) last_term: u32,
    pub(crate) next_offset: i64,
    /// Highest index that is known to be committed.
    pub(crate) applied: u64,
    /// How often a suffix was forgotten: what was read before may have been replaced since.
    pub(crate) truncations: u64,
    /// Metadata of the newest entries: all that are not applied or in the tail cache.
    pub(crate) recent: VecDeque<RecentEntry>,
    pub(crate) tail: Rc<RefCell<TailCache>>,
}

/// An entry checked against the log's end, with what the writer needs to know of it.
pub(crate) struct CheckedEntry {
    pub(crate) recent: RecentEntry,
    pub(crate) header_crc: u32,
}

impl LogState {
    /// A log without entries, whose first one will be what `origin` says.
    pub(crate) fn empty(origin: Chain) -> Self {
        let Chain { next_index, next_offset, term } = origin;
        LogState {
            segments: VecDeque::new(),
            gaps: Vec::new(),
            epochs: Epochs::default(),
            first_index: next_index,
            prev_term: term,
            origin,
            log_start_offset: next_offset,
            durable_start_offset: next_offset,
            last_index: next_index - 1,
            last_term: term.unwrap_or(0),
            next_offset,
            applied: 0,
            truncations: 0,
            recent: VecDeque::new(),
            tail: Rc::new(RefCell::new(TailCache::new(next_index))),
        }
    }

    /// Where the next entry would be written: the end of the last segment.
    pub(crate) fn files_end(&self) -> Chain {
        let Some(last) = self.segments.back() else { return self.origin };
        let (next_index, next_offset) = (last.next_index(), last.extent().next_offset);
        Chain { next_index, next_offset, term: self.term(next_index - 1) }
    }

    /// Checks that `entry` is the next one.
    ///
    /// # Panics
    /// If it is not: whoever appends has lost count, and going on would write a log that no one can
    /// make sense of.
    pub(crate) fn check(&self, entry: &Entry) -> CheckedEntry {
        let Entry { index, term, header, body } = entry;
        assert_eq!(header.len(), HEADER_LEN, "entry {index}: a header has 61 bytes");
        let parsed = BatchHeader::parse(header).expect("the header of an appended entry is valid");
        assert_eq!(parsed.size(), HEADER_LEN + body.len(), "entry {index}: its size");
        assert_eq!(*index, self.last_index + 1, "entry {index}: indexes have no holes");
        assert_eq!(parsed.base_offset, self.next_offset, "entry {index}: offsets have no holes");
        assert_eq!(i64::from(parsed.partition_leader_epoch), i64::from(*term), "entry {index}");
        assert!(*term >= self.last_term, "entry {index}: terms never go back");
        let internal = parsed.attributes.is_internal();
        assert!(
            internal || *term == self.last_term,
            "entry {index}: a term begins with an internal entry"
        );
        if internal {
            let own = InternalBody::parse(body).expect("an internal entry has a body");
            assert_eq!((own.index, own.term), (*index, *term), "an internal entry knows itself");
        }
        let meta = EntryMeta {
            term: *term,
            base_offset: parsed.base_offset,
            offset_count: u32::try_from(parsed.offset_count()).expect("deltas have 31 bits"),
            size: u32::try_from(parsed.size()).expect("lengths have 31 bits"),
        };
        let max_timestamp = if internal { -1 } else { parsed.max_timestamp };
        let recent = RecentEntry { meta, max_timestamp };
        CheckedEntry { recent, header_crc: crc32fast::hash(header) }
    }

    /// Takes over an entry that [`LogState::check`] has accepted.
    pub(crate) fn push(&mut self, recent: RecentEntry) {
        let EntryMeta { term, base_offset, .. } = recent.meta;
        self.last_index += 1;
        self.last_term = term;
        self.next_offset = recent.meta.next_offset();
        let first_index = self.last_index;
        self.epochs.push(EpochStart { term, first_index, start_offset: base_offset });
        self.recent.push_back(recent);
    }

    /// Index of the oldest entry whose metadata is in memory.
    pub(crate) fn recent_first_index(&self) -> u64 {
        self.last_index + 1 - self.recent.len() as u64
    }

    pub(crate) fn recent(&self, index: u64) -> Option<&RecentEntry> {
        let at = index.checked_sub(self.recent_first_index())?;
        self.recent.get(usize::try_from(at).ok()?)
    }

    /// The recent entries with an index of at least `first`, with their indexes.
    pub(crate) fn recent_from(&self, first: u64) -> impl Iterator<Item = (u64, &RecentEntry)> {
        let base = self.recent_first_index();
        let skipped = usize::try_from(first.saturating_sub(base)).unwrap_or(usize::MAX);
        let entries = self.recent.iter().skip(skipped);
        (base + skipped as u64..).zip(entries)
    }

    /// Index of the recent entry that holds the record at `offset`.
    pub(crate) fn recent_at_offset(&self, offset: i64) -> Option<u64> {
        let after = self.recent.partition_point(|entry| entry.meta.base_offset <= offset);
        let at = after.checked_sub(1)?;
        let holds = self.recent.get(at).is_some_and(|entry| entry.meta.next_offset() > offset);
        holds.then_some(self.recent_first_index() + at as u64)
    }

    /// Forgets the entries from `from_index` on, which is in the log and not applied.
    ///
    /// # Panics
    /// If it is applied, or not in memory as all that is not applied must be, unless it lies at or
    /// below a missing stretch: that is to be repaired first.
    pub(crate) fn truncate_suffix(&mut self, from_index: u64) {
        assert!(from_index > self.applied, "entry {from_index} is applied: it stays");
        let first = self.recent(from_index).expect("what is not applied is in memory").meta;
        let kept = usize::try_from(from_index - self.recent_first_index()).unwrap_or(0);
        self.truncations += 1;
        self.gaps.retain_mut(|gap| gap.truncate(from_index, first.base_offset, 0));
        self.recent.truncate(kept);
        self.epochs.truncate_suffix(from_index);
        self.tail.borrow_mut().truncate(from_index);
        self.last_index = from_index - 1;
        self.next_offset = first.base_offset;
        self.last_term = self.epochs.latest().or(self.prev_term).unwrap_or(0);
    }

    /// What is known of the entries from `first_index` on was a guess, or nothing: it is this.
    pub(crate) fn mend_entries(&mut self, first_index: u64, frames: &[EntryFrame]) {
        let mut stretch = Vec::with_capacity(frames.len());
        let mut next_offset = self.next_offset;
        for (frame, index) in frames.iter().zip(first_index..) {
            let base_offset = frame.header.base_offset;
            let offset_count = frame.offset_count();
            let meta = EntryMeta { term: frame.term, base_offset, offset_count, size: frame.size };
            next_offset = meta.next_offset();
            let start_offset = base_offset;
            stretch.push(EpochStart { term: frame.term, first_index: index, start_offset });
            let at = index.checked_sub(self.recent_first_index());
            let at = at.and_then(|at| usize::try_from(at).ok());
            if let Some(recent) = at.and_then(|at| self.recent.get_mut(at)) {
                recent.meta = meta;
            }
        }
        let end = first_index + frames.len() as u64;
        let next = self.term(end).map(|term| EpochStart {
            term,
            first_index: end,
            start_offset: next_offset,
        });
        self.epochs.mend(&stretch, next);
    }

    /// Forgets the metadata of what is applied and not in the tail cache.
    pub(crate) fn applied_to(&mut self, index: u64) {
        self.applied = self.applied.max(index.min(self.last_index));
        let keep_from = self.tail.borrow().first_index().min(self.applied + 1);
        let gone = keep_from.saturating_sub(self.recent_first_index());
        self.recent.drain(..usize::try_from(gone).unwrap_or(0).min(self.recent.len()));
    }

    /// The term of an entry, or of the one before the first.
    pub(crate) fn term(&self, index: u64) -> Option<u32> {
        if index + 1 == self.first_index {
            return self.prev_term;
        }
        (index <= self.last_index).then(|| self.epochs.term_at(index))?
    }

    /// The segment that holds the record at `offset`, as far as segments have been written.
    pub(crate) fn segment_at_offset(&self, offset: i64) -> Option<Rc<Segment>> {
        let after = self.segments.partition_point(|segment| segment.key.base_offset <= offset);
        self.segments.get(after.checked_sub(1)?).cloned()
    }

    /// The segment that holds the entry at `index`, as far as segments have been written.
    pub(crate) fn segment_at_index(&self, index: u64) -> Option<Rc<Segment>> {
        let after = self.segments.partition_point(|segment| segment.key.base_index <= index);
        self.segments.get(after.checked_sub(1)?).cloned()
    }

    /// Whether the segment is still part of the log.
    pub(crate) fn has_segment(&self, segment: &Segment) -> bool {
        self.segments.iter().any(|other| other.id == segment.id)
    }

    /// The missing stretch that holds `offset`, if one does.
    pub(crate) fn gap_at_offset(&self, offset: i64) -> Option<DamagedRange> {
        self.gaps.iter().find(|gap| gap.offsets.contains(&offset)).cloned()
    }

    /// The missing stretch that holds `index`, if one does.
    pub(crate) fn gap_at_index(&self, index: u64) -> Option<DamagedRange> {
        self.gaps.iter().find(|gap| gap.indexes.contains(&index)).cloned()
    }
}
