//! Filling a missing stretch of the log with a segment of its own.
//!
//! As much of the stretch as is given, from its beginning on. The `.log` is written beside and
//! renamed, then the ledger; a crash between leaves a segment whose ledger the next open rebuilds,
//! because its successor proves it whole.

use std::rc::Rc;

use bytes::Bytes;

use crate::damage::DamagedRange;
use crate::disk::OpenMode;
use crate::entry::Entry;
use crate::flush_mark::{FlushMark, MARK_LEN, extend_headers_crc};
use crate::footer::Footer;
use crate::frame::{Chain, EntryFrame};
use crate::ledger_entry::LedgerEntry;
use crate::ledger_file::RebuiltLedger;
use crate::log::Log;
use crate::segment::{Extent, Segment, SegmentKey};

use super::{Neighbours, RepairError};

/// Makes a segment of `entries`, which are the first of the missing stretch `range`.
pub(super) async fn fill(
    log: &Log,
    range: &DamagedRange,
    entries: &[Entry],
    frames: &[EntryFrame],
) -> Result<(), RepairError> {
    let _turn = log.rewriting.lock().await;
    if !log.state.borrow().gaps.contains(range) || entries.is_empty() {
        return Err(RepairError::NotDamaged);
    }
    let neighbours = neighbours(log, range, frames)?;
    neighbours.accept(frames)?;
    let prev_term = neighbours.before.term;
    let base_offset = range.offsets.start;
    let base_index = range.indexes.start;
    let key = SegmentKey { identity: log.identity, base_offset, base_index };
    let placed = place(frames).ok_or(RepairError::NoPlace)?;
    let extent = write_log(log, key, entries, &placed).await?;
    let footer = Footer::of(&placed, extent, extent.log_len.into());
    let ledger = RebuiltLedger {
        key,
        prev_term,
        durable_position: extent.log_len,
        entries: &placed,
        footer: Some(footer),
    };
    ledger.replace(&*log.disk, &log.dir).await?;
    let segment = Segment::new(key, &log.dir, log.shared.next_segment_id(), extent);
    insert(log, segment, range, frames);
    Ok(())
}

fn neighbours(
    log: &Log,
    range: &DamagedRange,
    frames: &[EntryFrame],
) -> Result<Neighbours, RepairError> {
    let state = log.state.borrow();
    let next_index = range.indexes.start;
    if next_index <= state.first_index {
        // The log begins behind it, for Raft as well.
        return Err(RepairError::NoPlace);
    }
    let term = state.term(next_index - 1);
    let before = Chain { next_index, next_offset: range.offsets.start, term };
    let is_whole = frames.len() as u64 == range.indexes.end - next_index;
    let next_term = is_whole.then(|| state.term(range.indexes.end)).flatten();
    let next_offset = is_whole.then_some(range.offsets.end);
    Ok(Neighbours { before, next_offset, next_term })
}

/// Back to back from the beginning; `None` if that is too much for a segment.
fn place(frames: &[EntryFrame]) -> Option<Vec<LedgerEntry>> {
    let (mut position, mut max_timestamp) = (0_u32, -1);
    let mut placed = Vec::with_capacity(frames.len());
    for frame in frames {
        let entry = LedgerEntry::new(frame, position, max_timestamp, 0);
        max_timestamp = entry.max_timestamp;
        position = position.checked_add(entry.size)?;
        placed.push(entry);
    }
    position.checked_add(MARK_LEN)?;
    Some(placed)
}

/// Writes the `.log`, and a mark that vouches for all of it.
async fn write_log(
    log: &Log,
    key: SegmentKey,
    entries: &[Entry],
    placed: &[LedgerEntry],
) -> Result<Extent, RepairError> {
    let Some(last) = placed.last() else { return Err(RepairError::OtherEntries) };
    let entry_count = u32::try_from(placed.len()).map_err(|_| RepairError::NoPlace)?;
    let position = u32::try_from(last.end()).map_err(|_| RepairError::NoPlace)?;
    let headers_crc = placed.iter().fold(0, |crc, entry| extend_headers_crc(crc, entry.header_crc));
    let mark = FlushMark {
        window_start: 0,
        entry_count,
        next_index: key.base_index + u64::from(entry_count),
        next_offset: last.next_offset(),
        term: last.term,
        headers_crc,
        exclusive: false,
    };
    let mark = Bytes::copy_from_slice(&mark.encode(key.crc_seed(), position));
    let bytes = entries.iter().flat_map(|entry| [entry.header.clone(), entry.body.clone()]);
    let path = key.log_path(&log.dir);
    let new_path = path.with_extension("log.tmp");
    let file = log.disk.open(&new_path, OpenMode::CreateIfMissing).await?;
    file.truncate(0).await?;
    file.write_at(0, bytes.chain([mark]).collect()).await?;
    file.sync_all().await?;
    log.disk.rename(&new_path, &path).await?;
    log.disk.sync_dir(&log.dir).await?;
    let (next_offset, max_timestamp) = (last.next_offset(), last.max_timestamp);
    Ok(Extent { entry_count, log_len: position + MARK_LEN, next_offset, max_timestamp })
}

/// The segment takes its place, and the stretch is missing no more, or less of it.
fn insert(log: &Log, segment: Segment, range: &DamagedRange, frames: &[EntryFrame]) {
    let mut state = log.state.borrow_mut();
    let key = segment.key;
    let (next_index, next_offset) = (segment.next_index(), segment.extent().next_offset);
    let at = state.segments.partition_point(|other| other.key.base_index < key.base_index);
    state.segments.insert(at, Rc::new(segment));
    state.mend_entries(key.base_index, frames);
    let rest = SegmentKey { base_index: next_index, base_offset: next_offset, ..key };
    let gaps = std::mem::take(&mut state.gaps).into_iter().filter_map(|gap| {
        if gap != *range {
            return Some(gap);
        }
        let missing = DamagedRange {
            path: rest.log_path(&log.dir),
            positions: 0..0,
            indexes: next_index..gap.indexes.end,
            offsets: next_offset..gap.offsets.end,
        };
        (!missing.indexes.is_empty()).then_some(missing)
    });
    state.gaps = gaps.collect();
}
