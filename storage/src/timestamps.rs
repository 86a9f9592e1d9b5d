//! Finding records by time: `ListOffsets` with a timestamp, and with the maximum timestamp.
//!
//! The ledger's running maximum finds the first batch that reaches a time without touching the
//! `.log`; the record in it is found by walking the batch.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use thalweg_protocol::batch::BatchView;

use crate::cold::{BadSlot, ColdError, LedgerView, PlacedEntry};
use crate::error::ReadError;
use crate::ledger_entry::LedgerEntry;
use crate::log::{Log, TimestampOffset};
use crate::reader::before_damage;
use crate::segment::Segment;

/// A batch that decompresses to more than this is not walked.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// The first record at or after the log start, below `upper`, with at least this timestamp.
pub(crate) async fn offset_for_timestamp(
    log: &Log,
    timestamp: i64,
    upper: i64,
) -> Result<Option<TimestampOffset>, ReadError> {
    let segments: Vec<_> = log.state.borrow().segments.iter().cloned().collect();
    for segment in segments {
        let reaches = segment.extent().max_timestamp >= timestamp;
        if !reaches || segment.extent().next_offset <= log.log_start_offset() {
            continue;
        }
        match find_in_segment(log, &segment, timestamp, upper).await {
            // Trimmed away meanwhile; or cut, which committed records never are.
            Err(ColdError::Changed) => {}
            Err(ColdError::Failed(error)) => return Err(error),
            Ok(None) => {}
            Ok(found) => return Ok(found.filter(|found| found.offset < upper)),
        }
    }
    find_in_memory(log, timestamp, upper)
}

/// The first record with the largest timestamp of all that are at or after the log start and below
/// `upper`.
pub(crate) async fn max_timestamp_offset(
    log: &Log,
    upper: i64,
) -> Result<Option<TimestampOffset>, ReadError> {
    let segments: Vec<_> = log.state.borrow().segments.iter().cloned().collect();
    let mut max_timestamp = unwritten_max_timestamp(log, upper);
    for segment in segments {
        let in_segment = match max_in_segment(log, &segment, upper).await {
            Err(ColdError::Changed) => continue,
            Err(ColdError::Failed(error)) => return Err(error),
            Ok(in_segment) => in_segment,
        };
        max_timestamp = max_timestamp.max(in_segment);
    }
    if max_timestamp < 0 {
        return Ok(None);
    }
    offset_for_timestamp(log, max_timestamp, upper).await
}

async fn find_in_segment(
    log: &Log,
    segment: &Rc<Segment>,
    timestamp: i64,
    upper: i64,
) -> Result<Option<TimestampOffset>, ColdError> {
    let start = log.log_start_offset();
    let mut slot = log
        .look_up(segment, |ledger| {
            let reaching = ledger.partition_point(|entry| entry.max_timestamp < timestamp)?;
            Ok(reaching.max(ledger.partition_point(|entry| entry.next_offset() <= start)?))
        })
        .await?;
    // The first one holds the record, unless the log starts behind it.
    while let Some(found) = next_batch(log, segment, slot, upper).await? {
        let batch = load_batch(log, segment, found).await?;
        if let Some(record) = find_in_batch(&batch, timestamp, start)? {
            return Ok(Some(record));
        }
        slot = u32::try_from(found.index - segment.key.base_index).unwrap_or(u32::MAX) + 1;
    }
    Ok(None)
}

/// The first record batch from `slot` on, if it lies below `upper`.
async fn next_batch(
    log: &Log,
    segment: &Rc<Segment>,
    slot: u32,
    upper: i64,
) -> Result<Option<PlacedEntry>, ColdError> {
    let base_index = segment.key.base_index;
    let find = |ledger: &LedgerView| -> Result<_, BadSlot> {
        for slot in slot..ledger.len() {
            let entry = ledger.get(slot)?;
            if entry.offset_count > 0 {
                let found = PlacedEntry { index: base_index + u64::from(slot), entry };
                return Ok(Some(found).filter(|_| entry.base_offset < upper));
            }
        }
        Ok(None)
    };
    log.look_up(segment, find).await
}

async fn load_batch(
    log: &Log,
    segment: &Rc<Segment>,
    found: PlacedEntry,
) -> Result<BatchView, ColdError> {
    let placed = before_damage(segment, vec![found])?;
    let loaded = log.load(segment, &placed).await?;
    parse(loaded.entry(&found.entry), &found.entry).map_err(ColdError::Failed)
}

fn parse(bytes: Bytes, entry: &LedgerEntry) -> Result<BatchView, ReadError> {
    let base_offset = entry.base_offset;
    BatchView::parse(bytes).map_err(|_| ReadError::Unreadable { base_offset })
}

/// The first record of the batch at or after offset `start` with at least this timestamp.
fn find_in_batch(
    batch: &BatchView,
    timestamp: i64,
    start: i64,
) -> Result<Option<TimestampOffset>, ColdError> {
    let header = batch.header();
    if header.max_timestamp < timestamp {
        return Ok(None);
    }
    let unreadable =
        || ColdError::Failed(ReadError::Unreadable { base_offset: header.base_offset });
    for record in batch.records(BATCH_BYTES_MAX).map_err(|_| unreadable())? {
        let record = record.map_err(|_| unreadable())?;
        if record.timestamp >= timestamp && record.offset >= start {
            return Ok(Some(TimestampOffset {
                timestamp: record.timestamp,
                offset: record.offset,
                leader_epoch: u32::try_from(header.partition_leader_epoch).unwrap_or(0),
            }));
        }
    }
    Ok(None)
}

/// The largest timestamp of a segment's batches below `upper` and not wholly below the log start;
/// −1 if there is none.
async fn max_in_segment(log: &Log, segment: &Rc<Segment>, upper: i64) -> Result<i64, ColdError> {
    let extent = segment.extent();
    let start = log.log_start_offset();
    if extent.next_offset <= start || segment.key.base_offset >= upper {
        return Ok(-1);
    }
    if segment.key.base_offset >= start && extent.next_offset <= upper {
        return Ok(extent.max_timestamp);
    }
    let (first, end, below, last) = log
        .look_up(segment, |ledger| {
            let first = ledger.partition_point(|entry| entry.next_offset() <= start)?;
            let end = ledger.partition_point(|entry| entry.next_offset() <= upper)?;
            let whole = ledger.partition_point(|entry| entry.base_offset < start)?;
            let running = |end: u32| match end.checked_sub(1) {
                Some(slot) => ledger.get(slot).map(|entry| entry.max_timestamp),
                None => Ok(-1),
            };
            Ok((first, end, running(whole)?, running(end)?))
        })
        .await?;
    if first < end && last > below {
        return Ok(last);
    }
    // The maximum may lie below the log start: only the batches themselves know the next largest.
    let (mut slot, mut max_timestamp) = (first, -1);
    while slot < end
        && let Some(found) = next_batch(log, segment, slot, upper).await?
    {
        let batch = load_batch(log, segment, found).await?;
        max_timestamp = max_timestamp.max(max_in_batch(&batch, start)?);
        slot = u32::try_from(found.index - segment.key.base_index).unwrap_or(u32::MAX) + 1;
    }
    Ok(max_timestamp)
}

/// The largest timestamp of a batch's records at or after offset `start`.
fn max_in_batch(batch: &BatchView, start: i64) -> Result<i64, ColdError> {
    let header = batch.header();
    if header.base_offset >= start {
        return Ok(header.max_timestamp);
    }
    let unreadable =
        || ColdError::Failed(ReadError::Unreadable { base_offset: header.base_offset });
    let mut max_timestamp = -1;
    for record in batch.records(BATCH_BYTES_MAX).map_err(|_| unreadable())? {
        let record = record.map_err(|_| unreadable())?;
        if record.offset >= start {
            max_timestamp = max_timestamp.max(record.timestamp);
        }
    }
    Ok(max_timestamp)
}

/// Like [`find_in_segment`], in what is not in a file yet.
fn find_in_memory(
    log: &Log,
    timestamp: i64,
    upper: i64,
) -> Result<Option<TimestampOffset>, ReadError> {
    let state = log.state.borrow();
    let tail = state.tail.borrow();
    for (index, recent) in state.recent_from(state.files_end().next_index) {
        let meta = recent.meta;
        if meta.is_internal() || recent.max_timestamp < timestamp || meta.base_offset >= upper {
            continue;
        }
        let Some((header, body)) = tail.get(index) else { continue };
        let mut bytes = BytesMut::with_capacity(header.len() + body.len());
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(body);
        let base_offset = meta.base_offset;
        let unreadable = ReadError::Unreadable { base_offset };
        let batch = BatchView::parse(bytes.freeze()).map_err(|_| unreadable.clone())?;
        let found = find_in_batch(&batch, timestamp, state.log_start_offset);
        if let Some(found) = found.map_err(|_| unreadable)? {
            return Ok(Some(found).filter(|found| found.offset < upper));
        }
    }
    Ok(None)
}

fn unwritten_max_timestamp(log: &Log, upper: i64) -> i64 {
    let state = log.state.borrow();
    let unwritten = state.recent_from(state.files_end().next_index);
    let below = unwritten.filter(|(_, recent)| recent.meta.next_offset() <= upper);
    below.map(|(_, recent)| recent.max_timestamp).max().unwrap_or(-1)
}
