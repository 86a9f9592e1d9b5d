//! Putting back what was damaged, from what a peer holds.
//!
//! Every entry is verified before anything is written: by its own checksums, by its neighbours,
//! and by what the ledger knows of the one that lay there. Then its bytes are written in place and
//! flushed; only then does the ledger take its flag back. In place, because that works on a segment
//! that is being written too, costs what the damage is and not what the segment is, and needs no
//! protocol for a crash: the range is damaged until the last step, whatever has arrived by then.
//!
//! Where the ledger was lost with the entry and its place is a guess, the entries are laid out anew
//! between those that are known; flush marks fill what is left (a ledger that is rebuilt once more
//! may then take intact entries of that window for damaged, never the reverse). A missing segment
//! is written beside and renamed; its ledger follows, and can be rebuilt if it does not.

mod gap;
mod layout;

use std::io;
use std::ops::Range;
use std::rc::Rc;

use bytes::BytesMut;
use thiserror::Error;

use crate::cold::ColdError;
use crate::damage::DamagedRange;
use crate::disk::OpenMode;
use crate::entry::Entry;
use crate::error::ReadError;
use crate::footer::Footer;
use crate::frame::{Chain, EntryFrame};
use crate::ledger::slot_position;
use crate::ledger_entry::{LEDGER_ENTRY_LEN, LedgerEntry};
use crate::ledger_file::{RebuiltLedger, read_ends};
use crate::log::Log;
use crate::segment::{Extent, Segment, SegmentFile};

use self::layout::Layout;

/// Why a damaged range was not repaired. Nothing that was good is worse for it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RepairError {
    /// There is no such damage now: it was repaired, cut, or trimmed.
    #[error("there is no such damage (any more)")]
    NotDamaged,
    /// These are not entries of the range: from its first index on, without holes.
    #[error("the entries are not those of the range")]
    OtherEntries,
    /// An entry's checksum or framing is wrong: it was damaged on its way, or at the peer.
    #[error("entry {0} does not verify")]
    Invalid(u64),
    /// An entry is intact, but not the one that was here: what the ledger or the neighbours say of
    /// its offset, term or header contradicts it.
    #[error("entry {0} is not the one that was here")]
    Contradicted(u64),
    /// Too much of the ledger was lost to find a place for the entries. Give all entries of the
    /// range; if they were given, only beginning the log elsewhere helps.
    #[error("the ledger does not say where the entries go")]
    NoPlace,
    /// The disk failed. What was damaged still is.
    #[error("cannot repair the log: {0:?}")]
    Io(io::ErrorKind),
}

impl From<io::Error> for RepairError {
    fn from(error: io::Error) -> Self {
        RepairError::Io(error.kind())
    }
}

impl From<ColdError> for RepairError {
    fn from(error: ColdError) -> Self {
        match error {
            ColdError::Failed(ReadError::Io(kind)) => RepairError::Io(kind),
            _ => RepairError::NotDamaged,
        }
    }
}

/// Replaces damaged entries. See [`Log::repair`].
pub(crate) async fn repair(
    log: &Log,
    range: &DamagedRange,
    entries: &[Entry],
) -> Result<(), RepairError> {
    let frames = verified(range, entries)?;
    let segment = {
        let state = log.state.borrow();
        let damaged = |segment: &&Rc<Segment>| segment.damage().contains(range);
        state.segments.iter().find(damaged).cloned()
    };
    match segment {
        Some(segment) => repair_segment(log, &segment, range, entries, &frames).await,
        None => gap::fill(log, range, entries, &frames).await,
    }
}

/// The entries' frames, if each verifies and they are those from the beginning of the range on.
fn verified(range: &DamagedRange, entries: &[Entry]) -> Result<Vec<EntryFrame>, RepairError> {
    let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    let given = range.indexes.start..range.indexes.start.saturating_add(count);
    let in_order = entries.iter().zip(given.clone()).all(|(entry, index)| entry.index == index);
    let too_few = entries.is_empty() && !range.indexes.is_empty();
    if !in_order || too_few || given.end > range.indexes.end {
        return Err(RepairError::OtherEntries);
    }
    let frames = entries
        .iter()
        .map(|entry| EntryFrame::verify(entry).ok_or(RepairError::Invalid(entry.index)));
    frames.collect()
}

/// What comes before and behind the repaired entries.
struct Neighbours {
    before: Chain,
    /// Offset and term of what follows, if it is intact or its offset is known.
    next_offset: Option<i64>,
    next_term: Option<u32>,
}

impl Neighbours {
    /// Whether the frames lead from the one to the other.
    fn accept(&self, frames: &[EntryFrame]) -> Result<(), RepairError> {
        let mut chain = self.before;
        for frame in frames {
            if !chain.accepts(frame) {
                return Err(RepairError::Contradicted(chain.next_index));
            }
            let offset_count = i64::from(frame.offset_count());
            chain.advance(frame.term, chain.next_offset.saturating_add(offset_count));
        }
        let offset_fits = self.next_offset.is_none_or(|offset| offset == chain.next_offset);
        let term_fits = self.next_term.zip(chain.term).is_none_or(|(next, last)| next >= last);
        let last = chain.next_index.saturating_sub(1);
        if offset_fits && term_fits { Ok(()) } else { Err(RepairError::Contradicted(last)) }
    }
}

async fn repair_segment(
    log: &Log,
    segment: &Rc<Segment>,
    range: &DamagedRange,
    entries: &[Entry],
    frames: &[EntryFrame],
) -> Result<(), RepairError> {
    // A ledger that is damaged too is rebuilt by this.
    let whole = |ledger: &crate::cold::LedgerView| {
        (0..ledger.len()).map(|slot| ledger.get(slot)).collect::<Result<Vec<_>, _>>()
    };
    while let Err(error) = log.look_up(segment, whole).await {
        let was_cut = matches!(error, ColdError::Changed);
        if !was_cut || !log.state.borrow().has_segment(segment) {
            return Err(error.into());
        }
    }
    let _turn = log.rewriting.lock().await;
    log.shared.maps.borrow_mut().remove((segment.id, SegmentFile::Ledger));
    let slots = log.look_up_now(segment, whole).await?;
    let is_replaced = log.progress.clip(range.indexes.start) < range.indexes.start;
    let is_gone = is_replaced || !log.state.borrow().has_segment(segment);
    if is_gone || !segment.damage().contains(range) {
        return Err(RepairError::NotDamaged);
    }
    let base_index = segment.key.base_index;
    let first = usize::try_from(range.indexes.start - base_index).unwrap_or(usize::MAX);
    neighbours(log, segment, &slots, first, frames.len()).accept(frames)?;
    let layout = Layout::plan(segment, &slots, first, range, frames)?;
    if segment.is_being_written() && !layout.keeps_ledger {
        // The writer has the ledger open. It knows all that it wrote itself.
        return Err(RepairError::NoPlace);
    }
    write_log(log, segment, entries, &layout).await?;
    if layout.keeps_ledger {
        unflag(log, segment, &slots, first, &layout).await?;
    } else {
        replace_ledger(log, segment, slots, first, &layout).await?;
    }
    log.on_repaired(segment, range, frames, &layout);
    Ok(())
}

/// What the ledger and the segments around say of the entries next to `first..first + count`.
fn neighbours(
    log: &Log,
    segment: &Segment,
    slots: &[LedgerEntry],
    first: usize,
    count: usize,
) -> Neighbours {
    let index = segment.key.base_index + first as u64;
    let before = first.checked_sub(1).and_then(|before| slots.get(before));
    let intact = |entry: &&LedgerEntry| !entry.damaged;
    let term = match before {
        Some(before) => Some(before).filter(intact).map(|before| before.term),
        None => log.state.borrow().term(index.saturating_sub(1)),
    };
    let next_offset = before.map_or(segment.key.base_offset, LedgerEntry::next_offset);
    let after = slots.get(first + count);
    // Meanwhile the writer may have gone on.
    let extent = segment.extent();
    let end = (extent.entry_count as usize == first + count).then_some(extent.next_offset);
    Neighbours {
        before: Chain { next_index: index, next_offset, term },
        // The offset of a damaged neighbour may be a guess.
        next_offset: after.filter(intact).map(|after| after.base_offset).or(end),
        next_term: after.filter(intact).map(|after| after.term),
    }
}

/// Writes the entries and the marks between them, and flushes.
async fn write_log(
    log: &Log,
    segment: &Segment,
    entries: &[Entry],
    layout: &Layout,
) -> Result<(), RepairError> {
    let is_missing = match log.disk.open(&segment.log_path, OpenMode::Existing).await {
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(error.into()),
    };
    let file = log.disk.open(&segment.log_path, OpenMode::CreateIfMissing).await?;
    let log_len = u64::from(segment.extent().log_len);
    if file.len().await? < log_len {
        file.truncate(log_len).await?;
    }
    for (entry, placed) in entries.iter().zip(&layout.entries) {
        let bytes = vec![entry.header.clone(), entry.body.clone()];
        file.write_at(placed.position.into(), bytes).await?;
    }
    for (position, mark) in &layout.marks {
        file.write_at(*position, vec![mark.clone()]).await?;
    }
    file.sync_all().await?;
    if is_missing {
        log.disk.sync_dir(&log.dir).await?;
    }
    Ok(())
}

/// Takes the flags of the repaired entries back, where there are any. A slot that a crash tears is
/// rebuilt from the `.log` by whoever meets it.
async fn unflag(
    log: &Log,
    segment: &Segment,
    slots: &[LedgerEntry],
    first: usize,
    layout: &Layout,
) -> Result<(), RepairError> {
    let flagged = slots.iter().skip(first).take(layout.entries.len()).any(|entry| entry.damaged);
    if !flagged {
        return Ok(());
    }
    let mut bytes = BytesMut::with_capacity(layout.entries.len() * LEDGER_ENTRY_LEN);
    let first_slot = u32::try_from(first).unwrap_or(u32::MAX);
    for (entry, slot) in layout.entries.iter().zip(first_slot..) {
        entry.encode(segment.seed, slot, &mut bytes);
    }
    let ledger = log.disk.open(&segment.ledger_path, OpenMode::Existing).await?;
    ledger.write_at(slot_position(first_slot), vec![bytes.freeze()]).await?;
    ledger.sync_data().await?;
    Ok(())
}

/// Puts a new ledger in the place of one that had to guess.
async fn replace_ledger(
    log: &Log,
    segment: &Segment,
    mut slots: Vec<LedgerEntry>,
    first: usize,
    layout: &Layout,
) -> Result<(), RepairError> {
    for (slot, entry) in slots.iter_mut().skip(first).zip(&layout.entries) {
        *slot = *entry;
    }
    // The largest timestamp up to an entry depends on all before it.
    let mut max_timestamp = -1;
    for slot in &mut slots {
        max_timestamp = slot.max_timestamp.max(max_timestamp);
        slot.max_timestamp = max_timestamp;
    }
    let ledger = log.disk.open(&segment.ledger_path, OpenMode::Existing).await?;
    let (header, footer) = read_ends(&*ledger, segment.seed).await?;
    let before = segment.extent();
    let log_len = u32::try_from(layout.end).unwrap_or(u32::MAX).max(before.log_len);
    let extent = Extent { max_timestamp, log_len, ..before };
    let mut repaired = Footer::of(&slots, extent, extent.log_len.into());
    if let Some(footer) = footer {
        repaired.file_len = repaired.file_len.max(footer.file_len);
        repaired.last_term = repaired.last_term.max(footer.last_term);
    }
    let rebuilt = RebuiltLedger {
        key: segment.key,
        prev_term: header.and_then(|header| header.prev_term),
        durable_position: extent.log_len,
        entries: &slots,
        footer: Some(repaired),
    };
    rebuilt.replace(&*log.disk, &log.dir).await?;
    segment.set_extent(extent);
    Ok(())
}

impl Log {
    /// The entries are whole again, on disk: readers may have them.
    fn on_repaired(
        &self,
        segment: &Segment,
        range: &DamagedRange,
        frames: &[EntryFrame],
        layout: &Layout,
    ) {
        let indexes = range.indexes.start..range.indexes.start + frames.len() as u64;
        let offsets = match (frames.first(), layout.entries.last()) {
            (Some(first), Some(last)) => first.header.base_offset..last.next_offset(),
            _ => range.offsets.clone(),
        };
        let end = if indexes.end == range.indexes.end {
            range.positions.end
        } else {
            layout.entries.last().map_or(range.positions.end, LedgerEntry::end)
        };
        let mended = Mended { indexes, offsets, positions: range.positions.start..end };
        segment.mend(&mended);
        self.shared.maps.borrow_mut().remove_segment(segment.id);
        // Some may have been replaced meanwhile; the disk will cut them when its turn comes.
        let kept = self.progress.clip(mended.indexes.end - 1) + 1;
        let kept = frames.iter().zip(mended.indexes.clone()).take_while(|(_, index)| *index < kept);
        let kept: Vec<_> = kept.map(|(frame, _)| *frame).collect();
        self.state.borrow_mut().mend_entries(mended.indexes.start, &kept);
        tracing::info!(path = %segment.log_path.display(), indexes = ?mended.indexes, "repaired");
    }
}

/// What was repaired.
pub(crate) struct Mended {
    pub(crate) indexes: Range<u64>,
    pub(crate) offsets: Range<i64>,
    pub(crate) positions: Range<u64>,
}
