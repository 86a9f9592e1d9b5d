//! Scrubbing: looking at what nobody reads, before the last good copy of it is gone too.
//!
//! Called by the broker in the background, a piece at a time, from the oldest entry on. Sealed
//! segments are read through the disk, not through their mappings, and without a lock, so neither
//! writers nor readers wait for it. What it finds is remembered as what readers find is.

use std::io;
use std::rc::Rc;

use bytes::Bytes;

use crate::cold::{BadSlot, ColdError, LedgerView, PlacedEntry, is_intact};
use crate::damage::DamagedRange;
use crate::disk::{DiskFile, OpenMode};
use crate::error::ReadError;
use crate::ledger_file::read_ends;
use crate::log::Log;
use crate::segment::{Segment, SegmentFile};

/// How far a scrub has come. It may be kept over restarts: what has been trimmed meanwhile is
/// skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScrubPosition {
    /// Index of the first entry that is still to be looked at; 0 is the beginning of the log.
    pub index: u64,
}

impl ScrubPosition {
    /// The beginning of the log.
    pub const START: ScrubPosition = ScrubPosition { index: 0 };
}

/// Verifies the next piece of the sealed segments. See [`Log::scrub`].
pub(crate) async fn scrub(
    log: &Log,
    from: ScrubPosition,
    bytes_max: usize,
) -> Result<(ScrubPosition, Vec<DamagedRange>), ReadError> {
    loop {
        let Some((segment, index)) = next_sealed(log, from.index) else {
            return Ok((ScrubPosition::START, Vec::new()));
        };
        let generation = segment.generation();
        let piece = scrub_piece(log, &segment, index, bytes_max).await;
        let is_same = segment.generation() == generation;
        if !is_same || !log.state.borrow().has_segment(&segment) {
            continue;
        }
        match piece {
            Ok((index, damaged)) => return Ok((ScrubPosition { index }, damaged)),
            Err(ColdError::Changed) => {}
            Err(ColdError::Failed(error)) => return Err(error),
        }
    }
}

/// The first sealed segment that ends behind `index`, and where to begin in it. The last one is the
/// writer's.
fn next_sealed(log: &Log, index: u64) -> Option<(Rc<Segment>, u64)> {
    let state = log.state.borrow();
    let sealed = state.segments.iter().take(state.segments.len().saturating_sub(1));
    let segment = sealed.into_iter().find(|segment| segment.next_index() > index)?;
    Some((Rc::clone(segment), index.max(segment.key.base_index)))
}

/// Verifies entries from `index` on; gives where to go on, and what is news.
async fn scrub_piece(
    log: &Log,
    segment: &Rc<Segment>,
    index: u64,
    bytes_max: usize,
) -> Result<(u64, Vec<DamagedRange>), ColdError> {
    if index == segment.key.base_index {
        check_ends(log, segment).await?;
    }
    let placed = log.look_up(segment, |ledger| plan(ledger, segment, index, bytes_max)).await?;
    let next = placed.last().map_or(segment.next_index(), |last| last.index + 1);
    let damaged = match log.disk.open(&segment.log_path, OpenMode::Existing).await {
        Ok(file) => verify(&*file, &placed).await?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => placed,
        Err(error) => return Err(error.into()),
    };
    if !log.state.borrow().has_segment(segment) {
        return Err(ColdError::Changed);
    }
    let news = damaged.iter().filter(|found| segment.damage_at(found.index).is_none());
    let news: Vec<_> = news.map(|found| found.damaged_range(segment)).collect();
    for range in &news {
        log.on_damage(segment, range.clone());
    }
    Ok((next, news))
}

/// A ledger that has lost its header or footer is made anew.
async fn check_ends(log: &Log, segment: &Rc<Segment>) -> Result<(), ColdError> {
    // What is mapped may be older than what the disk would give now.
    log.shared.maps.borrow_mut().remove((segment.id, SegmentFile::Ledger));
    let intact = match log.disk.open(&segment.ledger_path, OpenMode::Existing).await {
        Ok(ledger) => matches!(read_ends(&*ledger, segment.seed).await?, (Some(_), Some(_))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error.into()),
    };
    if intact { Ok(()) } else { log.rebuild_ledger(segment).await }
}

/// The entries from `index` on that make up a piece: at least one.
fn plan(
    ledger: &LedgerView,
    segment: &Segment,
    index: u64,
    bytes_max: usize,
) -> Result<Vec<PlacedEntry>, BadSlot> {
    let mut placed = Vec::new();
    let mut bytes = 0;
    let first = u32::try_from(index - segment.key.base_index).map_err(|_| BadSlot)?;
    for slot in first..ledger.len() {
        let entry = ledger.get(slot)?;
        bytes += entry.size as usize;
        if bytes > bytes_max && !placed.is_empty() {
            break;
        }
        placed.push(PlacedEntry { index: segment.key.base_index + u64::from(slot), entry });
    }
    Ok(placed)
}

/// Those of the entries that are not what was written, in one read unless the disk refuses that.
async fn verify(file: &dyn DiskFile, placed: &[PlacedEntry]) -> io::Result<Vec<PlacedEntry>> {
    let (Some(first), Some(last)) = (placed.first(), placed.last()) else {
        return Ok(Vec::new());
    };
    let start = u64::from(first.entry.position);
    let len = last.entry.end().saturating_sub(start);
    let region = file.read_at(start, usize::try_from(len).unwrap_or(usize::MAX)).await;
    let mut damaged = Vec::new();
    for found in placed {
        let bytes = match &region {
            Ok(region) => slice(region, start, found),
            // A sector that cannot be read is damage of those who lie on it.
            Err(_) => match file.read_at(found.entry.position.into(), found.size()).await {
                Ok(bytes) => bytes,
                Err(error) if error.raw_os_error() == Some(libc::EIO) => Bytes::new(),
                Err(error) => return Err(error),
            },
        };
        if found.entry.damaged || !is_intact(&bytes, &found.entry) {
            damaged.push(*found);
        }
    }
    Ok(damaged)
}

/// The entry's bytes, as far as there are any.
fn slice(region: &Bytes, start: u64, found: &PlacedEntry) -> Bytes {
    let at = |position: u64| {
        let at = usize::try_from(position.saturating_sub(start)).unwrap_or(usize::MAX);
        at.min(region.len())
    };
    let (from, to) = (at(found.entry.position.into()), at(found.entry.end()));
    region.slice(from..to.max(from))
}
