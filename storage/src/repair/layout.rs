//! Where the entries that repair a segment go.
//!
//! An entry that is what the ledger says goes where the ledger says. What the ledger only guessed
//! at is laid out back to back in the room between two that are known.

use bytes::Bytes;

use crate::damage::DamagedRange;
use crate::flush_mark::{FlushMark, MARK_LEN};
use crate::frame::EntryFrame;
use crate::ledger_entry::LedgerEntry;
use crate::segment::Segment;

use super::RepairError;

/// A place for each entry, and marks for the room between.
pub(super) struct Layout {
    pub(super) entries: Vec<LedgerEntry>,
    pub(super) marks: Vec<(u64, Bytes)>,
    /// Whether the ledger knew all of this, but for flags.
    pub(super) keeps_ledger: bool,
    /// Position after the last of it.
    pub(super) end: u64,
    first_index: u64,
}

impl Layout {
    /// Finds the places of `frames`, which are those of the slots from `first` on.
    pub(super) fn plan(
        segment: &Segment,
        slots: &[LedgerEntry],
        first: usize,
        range: &DamagedRange,
        frames: &[EntryFrame],
    ) -> Result<Layout, RepairError> {
        let mut layout = Layout {
            entries: Vec::new(),
            marks: Vec::new(),
            keeps_ledger: true,
            end: 0,
            first_index: range.indexes.start,
        };
        let before = first.checked_sub(1).and_then(|before| slots.get(before));
        let mut position = before.map_or(0, LedgerEntry::end).max(range.positions.start);
        let mut max_timestamp = before.map_or(-1, |before| before.max_timestamp);
        // Entries without a place since the last one that had one.
        let mut homeless: Vec<&EntryFrame> = Vec::new();
        for ((frame, index), slot) in
            frames.iter().zip(range.indexes.start..).zip(slots.iter().skip(first))
        {
            if !slot.describes(frame, slot.position.into()) {
                if !slot.damaged {
                    return Err(RepairError::Contradicted(index));
                }
                homeless.push(frame);
                continue;
            }
            layout.house(
                segment,
                &homeless,
                position,
                Some(slot.position.into()),
                max_timestamp,
            )?;
            homeless.clear();
            layout.entries.push(LedgerEntry { damaged: false, ..*slot });
            (position, max_timestamp) = (slot.end(), slot.max_timestamp);
            layout.end = position;
        }
        let end = match slots.get(first + frames.len()) {
            Some(next) if next.damaged && !homeless.is_empty() => return Err(RepairError::NoPlace),
            // Behind the last entry there is as much room as it takes.
            next => next.map(|next| next.position.into()),
        };
        layout.house(segment, &homeless, position, end, max_timestamp)?;
        layout.keeps_ledger &= layout.end <= segment.extent().log_len.into();
        Ok(layout)
    }

    /// Lays entries out from `start` on, and fills what is left up to `end` with marks.
    fn house(
        &mut self,
        segment: &Segment,
        frames: &[&EntryFrame],
        start: u64,
        end: Option<u64>,
        mut max_timestamp: i64,
    ) -> Result<(), RepairError> {
        let Some(last) = frames.last() else { return Ok(()) };
        let needed: u64 = frames.iter().map(|frame| u64::from(frame.size)).sum();
        let left = end.unwrap_or(start + needed).checked_sub(start + needed);
        let left = left.filter(|left| left.is_multiple_of(MARK_LEN.into()));
        let left = left.ok_or(RepairError::NoPlace)?;
        self.keeps_ledger = false;
        let mut position = u32::try_from(start).map_err(|_| RepairError::NoPlace)?;
        for frame in frames {
            let entry = LedgerEntry::new(frame, position, max_timestamp, 0);
            max_timestamp = entry.max_timestamp;
            let end = position.checked_add(entry.size).ok_or(RepairError::NoPlace)?;
            position = end;
            self.entries.push(entry);
        }
        let next_index = self.first_index + self.entries.len() as u64;
        let next_offset = self.entries.last().map_or(0, LedgerEntry::next_offset);
        for _ in 0..left / u64::from(MARK_LEN) {
            let mark = FlushMark {
                window_start: position,
                entry_count: 0,
                next_index,
                next_offset,
                term: last.term,
                headers_crc: 0,
                exclusive: false,
            };
            let bytes = Bytes::copy_from_slice(&mark.encode(segment.seed, position));
            self.marks.push((position.into(), bytes));
            position += MARK_LEN;
        }
        self.end = position.into();
        Ok(())
    }
}
