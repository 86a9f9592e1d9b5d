//! One partition's part of a Fetch answer, taken apart into what the caller gets: batches are
//! checked, control batches and aborted transactions left out (KIP-98).

use std::collections::HashSet;

use bytes::Bytes;
use thalweg_protocol::batch::EndTxnMarker;
use thalweg_protocol::batch::TransactionResult;
use thalweg_protocol::batch::{BatchError, BatchHeader, BatchView, Batches};
use thalweg_protocol::messages::fetch::AbortedTransaction;

use super::board::Content;

/// The batches of an answer.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    /// What to give to the caller, with the bytes it takes.
    pub(super) contents: Vec<(Content, usize)>,
    /// Where to go on, and the leader epoch of the last batch; none if there was no batch.
    pub(super) next: Option<(i64, i32)>,
    /// Why reading cannot go on there.
    pub(super) fault: Option<BatchError>,
}

/// How to read the batches.
pub(super) struct Reading<'a> {
    /// The offset that was asked for.
    pub(super) start: i64,
    pub(super) check_crcs: bool,
    /// The aborted transactions in the answer, if those are to be left out.
    pub(super) aborted: Option<&'a [AbortedTransaction]>,
}

impl Reading<'_> {
    pub(super) fn read(&self, records: Bytes) -> Fetched {
        let mut fetched = Fetched::default();
        let mut aborted = Aborted::new(self.aborted.unwrap_or_default());
        let mut batches = Batches::new(records);
        for batch in &mut batches {
            let checked = batch.and_then(|batch| {
                if self.check_crcs {
                    batch.verify_crc()?;
                }
                Ok(batch)
            });
            match checked {
                Ok(batch) => self.take(batch, &mut aborted, &mut fetched),
                Err(fault) => {
                    fetched.fault = Some(fault);
                    return fetched;
                }
            }
        }
        // The last batch may be cut off, but not the only one: the broker sends the first one
        // whole.
        let cut_off = batches.rest().len();
        if fetched.next.is_none() && cut_off > 0 {
            let needed = cut_off.saturating_add(1);
            fetched.fault = Some(BatchError::TooShort { needed, available: cut_off });
        }
        fetched
    }

    fn take(&self, batch: BatchView, aborted: &mut Aborted, fetched: &mut Fetched) {
        let header = *batch.header();
        let is_skipped = header.next_offset() <= self.start;
        fetched.next = Some((header.next_offset().max(self.start), header.partition_leader_epoch));
        let is_for_caller = !aborted.leaves_out(&batch) && !header.attributes.is_control();
        if is_for_caller && !is_skipped {
            let bytes = batch.bytes().len();
            fetched.contents.push((Content::Batch { view: batch, start: self.start }, bytes));
        } else {
            let next_offset = header.next_offset().max(self.start);
            // Many in a row need only the last.
            fetched.contents.pop_if(|(content, _)| matches!(content, Content::Skipped { .. }));
            let epoch = known_epoch(&header);
            fetched.contents.push((Content::Skipped { next_offset, epoch }, 0));
        }
    }
}

/// The leader epoch that the batch was written in.
pub(super) fn known_epoch(header: &BatchHeader) -> Option<i32> {
    Some(header.partition_leader_epoch).filter(|epoch| *epoch >= 0)
}

/// The producers whose open transaction, at this point of the log, will turn out aborted.
struct Aborted {
    /// By first offset, the last one first.
    to_come: Vec<(i64, i64)>,
    now: HashSet<i64>,
}

impl Aborted {
    fn new(transactions: &[AbortedTransaction]) -> Self {
        let mut to_come: Vec<(i64, i64)> =
            transactions.iter().map(|it| (it.first_offset, it.producer_id)).collect();
        to_come.sort_unstable_by(|a, b| b.cmp(a));
        Aborted { to_come, now: HashSet::new() }
    }

    fn leaves_out(&mut self, batch: &BatchView) -> bool {
        let header = batch.header();
        while let Some((first_offset, producer_id)) = self.to_come.last()
            && *first_offset <= header.last_offset()
        {
            self.now.insert(*producer_id);
            self.to_come.pop();
        }
        if self.now.is_empty() || !header.attributes.is_transactional() {
            return false;
        }
        if header.attributes.is_control() {
            if is_abort(batch) {
                self.now.remove(&header.producer_id);
            }
            return true;
        }
        self.now.contains(&header.producer_id)
    }
}

/// A marker is one small record.
const MARKER_BYTES_MAX: usize = 4096;

fn is_abort(batch: &BatchView) -> bool {
    let Ok(mut records) = batch.records(MARKER_BYTES_MAX) else { return false };
    let Some(Ok(record)) = records.next() else { return false };
    let marker = EndTxnMarker::parse(record.key.as_deref(), record.value.as_deref());
    marker.is_ok_and(|marker| marker.result == TransactionResult::Abort)
}

#[cfg(test)]
mod tests {
    use thalweg_protocol::batch::{BatchBuilder, BatchOptions};

    use super::*;

    fn batch(base_offset: i64, count: i32, producer_id: i64, transactional: bool) -> Vec<u8> {
        let mut builder = BatchBuilder::with_capacity(0);
        for _ in 0..count {
            builder.append(0, None, Some(b"v"), &[]).unwrap();
        }
        let options = BatchOptions {
            base_offset,
            leader_epoch: 3,
            producer_id,
            transactional,
            ..BatchOptions::default()
        };
        builder.finish(&options).unwrap().to_vec()
    }

    fn marker(base_offset: i64, producer_id: i64, result: TransactionResult) -> Vec<u8> {
        let marker = EndTxnMarker { result, coordinator_epoch: 0 };
        let mut builder = BatchBuilder::with_capacity(0);
        builder.append(0, Some(&marker.key()), Some(&marker.value()), &[]).unwrap();
        let options = BatchOptions {
            base_offset,
            producer_id,
            transactional: true,
            control: true,
            ..BatchOptions::default()
        };
        builder.finish(&options).unwrap().to_vec()
    }

    fn read(start: i64, aborted: Option<&[AbortedTransaction]>, parts: &[Vec<u8>]) -> Fetched {
        Reading { start, check_crcs: true, aborted }.read(Bytes::from(parts.concat()))
    }

    fn summary(fetched: &Fetched) -> Vec<(&str, i64)> {
        let describe = |(content, _): &_| match content {
            Content::Batch { view, .. } => ("batch", view.header().base_offset),
            Content::Skipped { next_offset, .. } => ("skipped", *next_offset),
            Content::Failed(_) => unreachable!(),
        };
        fetched.contents.iter().map(describe).collect()
    }

    #[test]
    fn a_batch_is_given_whole_and_a_cut_off_one_is_left_for_later() {
        let mut parts = vec![batch(10, 3, -1, false), batch(13, 2, -1, false)];
        parts[1].truncate(70);
        let fetched = read(11, None, &parts);
        assert_eq!(summary(&fetched), [("batch", 10)]);
        assert_eq!((fetched.next, fetched.fault), (Some((13, 3)), None));
        let alone = read(13, None, &parts[1..]);
        assert!(matches!(alone.fault, Some(BatchError::TooShort { .. })));
    }

    #[test]
    fn a_damaged_batch_stops_reading_after_what_is_good() {
        let mut parts = vec![batch(0, 1, -1, false), batch(1, 1, -1, false)];
        *parts[1].last_mut().unwrap() ^= 1;
        let fetched = read(0, None, &parts);
        assert_eq!(summary(&fetched), [("batch", 0)]);
        assert_eq!(fetched.next, Some((1, 3)));
        assert!(matches!(fetched.fault, Some(BatchError::BadCrc { .. })));
    }

    #[test]
    fn markers_are_skipped_and_aborted_transactions_too_if_wanted() {
        let parts = [
            batch(0, 2, 7, true),
            batch(2, 1, 8, true),
            batch(3, 1, -1, false),
            marker(4, 7, TransactionResult::Abort),
            batch(5, 1, 7, true),
            marker(6, 8, TransactionResult::Commit),
        ];
        let everything = read(0, None, &parts);
        let batches = [("batch", 0), ("batch", 2), ("batch", 3), ("skipped", 5), ("batch", 5)];
        assert_eq!(summary(&everything)[..5], batches);
        let aborted =
            AbortedTransaction { producer_id: 7, first_offset: 0, ..AbortedTransaction::default() };
        let committed = read(0, Some(&[aborted]), &parts);
        let expected = [
            ("skipped", 2),
            ("batch", 2),
            ("batch", 3),
            ("skipped", 5),
            ("batch", 5),
            ("skipped", 7),
        ];
        assert_eq!(summary(&committed), expected);
    }
}
