//! The active segment as its writer sees it: two open files, and what comes next in them.
//!
//! Positions here run ahead of the segment's [`Extent`], which readers go by, while a write is
//! under way.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::config::LogConfig;
use crate::disk::DiskFile;
use crate::examine::{Examination, UnmarkedWindow};
use crate::flush_mark::{FlushMark, MARK_LEN, extend_headers_crc};
use crate::footer::{Footer, FooterEpoch};
use crate::frame::Chain;
use crate::ledger::slot_position;
use crate::ledger_entry::LedgerEntry;
use crate::queue::PendingEntry;
use crate::segment::{Extent, Segment};

/// Room at the end of the 32-bit positions for the marks behind the last entry.
const POSITION_MAX: u64 = u32::MAX as u64 - 16 * MARK_LEN as u64;

/// The segment being written.
pub(crate) struct Active {
    pub(crate) segment: Rc<Segment>,
    pub(crate) log: Rc<dyn DiskFile>,
    pub(crate) ledger: Rc<dyn DiskFile>,
    /// Length of the `.log` file, preallocated space included.
    pub(crate) allocated: u64,
    /// Where the next frame goes.
    pub(crate) position: u32,
    /// The next slot.
    pub(crate) slots: u32,
    pub(crate) chain: Chain,
    pub(crate) max_timestamp: i64,
    /// Timestamp of the first record, from which the age of the segment counts.
    pub(crate) first_timestamp: Option<i64>,
    /// Terms that begin in the segment, and the one that it begins in.
    pub(crate) epochs: Vec<FooterEpoch>,
    /// What no mark covers yet.
    pub(crate) window: UnmarkedWindow,
    /// Everything before is durable.
    pub(crate) durable_position: u32,
    /// Whether a mark is the last frame, and nothing more is to be proved.
    pub(crate) idle: bool,
}

impl Active {
    /// An empty segment whose files have just been created.
    pub(crate) fn new(
        segment: Rc<Segment>,
        log: Rc<dyn DiskFile>,
        ledger: Rc<dyn DiskFile>,
        chain: Chain,
    ) -> Self {
        segment.set_being_written(true);
        Active {
            segment,
            log,
            ledger,
            allocated: 0,
            position: 0,
            slots: 0,
            chain,
            max_timestamp: -1,
            first_timestamp: None,
            epochs: Vec::new(),
            window: UnmarkedWindow::default(),
            durable_position: 0,
            idle: true,
        }
    }

    /// A segment that recovery has examined, cut and flushed.
    pub(crate) fn resume(
        segment: Rc<Segment>,
        log: Rc<dyn DiskFile>,
        ledger: Rc<dyn DiskFile>,
        examination: &Examination,
    ) -> Self {
        let Extent { entry_count, log_len, max_timestamp, .. } = segment.extent();
        let first_record = examination.entries.iter().find(|entry| entry.offset_count > 0);
        Active {
            position: log_len,
            slots: entry_count,
            max_timestamp,
            first_timestamp: first_record.map(|first| first.max_timestamp).filter(|at| *at >= 0),
            epochs: examination.footer().epochs,
            window: examination.window,
            durable_position: log_len,
            idle: examination.window.entry_count == 0,
            ..Active::new(segment, log, ledger, examination.chain)
        }
    }

    /// Whether the entry may go into this segment. The first one always may.
    pub(crate) fn fits(&self, entry: &PendingEntry, config: &LogConfig) -> bool {
        let recent = &entry.checked.recent;
        let end = u64::from(self.position) + u64::from(recent.meta.size) + u64::from(MARK_LEN);
        let age = self.first_timestamp.map(|first| recent.max_timestamp.saturating_sub(first));
        let too_old = age.is_some_and(|age| age > config.segment_ms_max);
        let full = end > u64::from(config.segment_bytes_max)
            || slot_position(self.slots + 1) > u64::from(config.ledger_bytes_max);
        self.slots == 0 || (end <= POSITION_MAX && !full && !too_old)
    }

    /// Gives the entry its place: its ledger entry is added to `ledger`, its bytes to `buffers`.
    pub(crate) fn place(
        &mut self,
        entry: PendingEntry,
        buffers: &mut Vec<Bytes>,
        ledger: &mut BytesMut,
    ) {
        assert_eq!(entry.index, self.chain.next_index, "entries are written in order");
        let recent = entry.checked.recent;
        let header_crc = entry.checked.header_crc;
        self.max_timestamp = self.max_timestamp.max(recent.max_timestamp);
        if self.first_timestamp.is_none() && recent.max_timestamp >= 0 {
            self.first_timestamp = Some(recent.max_timestamp);
        }
        let placed = LedgerEntry {
            term: recent.meta.term,
            base_offset: recent.meta.base_offset,
            offset_count: recent.meta.offset_count,
            position: self.position,
            size: recent.meta.size,
            max_timestamp: self.max_timestamp,
            header_crc,
            durable_position: self.durable_position,
            damaged: false,
        };
        if self.epochs.last().is_none_or(|last| last.term < placed.term) {
            let (term, start_offset) = (placed.term, placed.base_offset);
            self.epochs.push(FooterEpoch { term, first_slot: self.slots, start_offset });
        }
        placed.encode(self.segment.seed, self.slots, ledger);
        buffers.push(entry.header);
        if !entry.body.is_empty() {
            buffers.push(entry.body);
        }
        self.window.entry_count += 1;
        self.window.headers_crc = extend_headers_crc(self.window.headers_crc, header_crc);
        self.chain.advance(recent.meta.term, recent.meta.next_offset());
        self.position += recent.meta.size;
        self.slots += 1;
        self.idle = false;
    }

    /// A mark that closes the present window, placed at the end. It must be flushed before the next
    /// mark is placed; if that is not waited for, the next window begins with it.
    pub(crate) fn place_mark(&mut self, exclusive: bool, waited_for: bool) -> Bytes {
        let mark = FlushMark {
            window_start: self.window.start,
            entry_count: self.window.entry_count,
            next_index: self.chain.next_index,
            next_offset: self.chain.next_offset,
            term: self.chain.term.unwrap_or(0),
            headers_crc: self.window.headers_crc,
            exclusive,
        };
        let bytes = Bytes::copy_from_slice(&mark.encode(self.segment.seed, self.position));
        let start = if waited_for { self.position + MARK_LEN } else { self.position };
        self.window = UnmarkedWindow { start, ..UnmarkedWindow::default() };
        self.position += MARK_LEN;
        bytes
    }

    /// The length to allocate so that the file reaches the present position; `None` if it does.
    /// Steps grow with the segment: a small log stays small, a large one is not fragmented, and
    /// what a start after a crash has to look through is in proportion to what there is.
    pub(crate) fn allocation(&mut self, config: &LogConfig) -> Option<u64> {
        let needed = u64::from(self.position);
        if needed <= self.allocated {
            return None;
        }
        let min = u64::from(config.allocation_bytes_min).max(1);
        let max = u64::from(config.allocation_bytes_max).max(min);
        let step = (needed / 8).next_multiple_of(min).clamp(min, max);
        let wanted = (self.allocated + step).min(config.segment_bytes_max.into()).max(needed);
        self.allocated = wanted;
        Some(wanted)
    }

    /// How far the segment reaches once all that was placed is written.
    pub(crate) fn extent(&self) -> Extent {
        Extent {
            entry_count: self.slots,
            log_len: self.position,
            next_offset: self.chain.next_offset,
            max_timestamp: self.max_timestamp,
        }
    }

    /// The footer that seals the segment as it is.
    pub(crate) fn footer(&self) -> Footer {
        let damaged = self.segment.damage().into_iter().map(|range| range.indexes.count());
        Footer {
            epochs: self.epochs.clone(),
            entry_count: self.slots,
            damaged_count: u32::try_from(damaged.sum::<usize>()).unwrap_or(u32::MAX),
            log_len: self.position,
            file_len: self.position.into(),
            next_offset: self.chain.next_offset,
            max_timestamp: self.max_timestamp,
            last_term: self.chain.term.unwrap_or(0),
        }
    }

    /// Index of the last entry placed.
    pub(crate) fn last_index(&self) -> u64 {
        self.chain.next_index - 1
    }
}
