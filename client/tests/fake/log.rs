//! One partition: its batches, and what it remembers of producers (KIP-98).

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use thalweg_client::protocol::ErrorCode;
use thalweg_client::protocol::batch::{BatchHeader, BatchView, HEADER_LEN};
use thalweg_client::protocol::messages::fetch::AbortedTransaction;

#[derive(Default)]
pub(crate) struct Partition {
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) log_start: i64,
    pub(crate) end: i64,
    /// Where open transactions begin, if that is below the end.
    pub(crate) last_stable_offset: Option<i64>,
    pub(crate) batches: Vec<Bytes>,
    pub(crate) aborted: Vec<AbortedTransaction>,
    producers: HashMap<i64, Remembered>,
}

/// The batches of a producer that a repetition is recognised by: sequence, count, offset.
#[derive(Default)]
struct Remembered {
    epoch: i16,
    batches: Vec<(i32, i32, i64)>,
}

impl Partition {
    pub(crate) fn led_by(leader: i32) -> Self {
        Partition { leader, ..Partition::default() }
    }

    /// Appends a batch as a leader does; gives its first offset.
    pub(crate) fn append(&mut self, bytes: &Bytes) -> Result<i64, ErrorCode> {
        let view = BatchView::parse(bytes.clone()).map_err(|_| ErrorCode::CorruptMessage)?;
        view.verify_crc().map_err(|_| ErrorCode::CorruptMessage)?;
        let header = *view.header();
        if header.has_producer_id()
            && let Some(offset) = self.check(&header)?
        {
            return Ok(offset);
        }
        let base_offset = self.end;
        self.push(bytes, base_offset);
        if header.has_producer_id() {
            let remembered = self.producers.entry(header.producer_id).or_default();
            remembered.epoch = header.producer_epoch;
            remembered.batches.push((header.base_sequence, header.record_count, base_offset));
            let surplus = remembered.batches.len().saturating_sub(5);
            remembered.batches.drain(..surplus);
        }
        Ok(base_offset)
    }

    /// Appends a batch as it is, at `base_offset`.
    pub(crate) fn push(&mut self, bytes: &Bytes, base_offset: i64) {
        let header = BatchHeader::parse(bytes).expect("a batch");
        let placed =
            BatchHeader { base_offset, partition_leader_epoch: self.leader_epoch, ..header };
        let mut bytes = BytesMut::from(&bytes[..]);
        bytes[..HEADER_LEN].copy_from_slice(&placed.write());
        self.batches.push(bytes.freeze());
        self.end = placed.next_offset();
    }

    /// The offset of an earlier append of the same batch, if there was one.
    fn check(&mut self, header: &BatchHeader) -> Result<Option<i64>, ErrorCode> {
        // Without a memory of the producer any number is taken.
        let Some(known) = self.producers.get_mut(&header.producer_id) else { return Ok(None) };
        if header.producer_epoch < known.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if header.producer_epoch > known.epoch {
            known.batches.clear();
            return match header.base_sequence {
                0 => Ok(None),
                _ => Err(ErrorCode::OutOfOrderSequenceNumber),
            };
        }
        let same = (header.base_sequence, header.record_count);
        if let Some((.., offset)) = known.batches.iter().find(|it| (it.0, it.1) == same) {
            return Ok(Some(*offset));
        }
        match known.batches.last() {
            Some((sequence, count, _)) if header.base_sequence != sequence + count => {
                Err(ErrorCode::OutOfOrderSequenceNumber)
            }
            _ => Ok(None),
        }
    }

    /// Loses a number of each producer, as a truncated log does: what comes next is out of order.
    pub(crate) fn confuse(&mut self) {
        for remembered in self.producers.values_mut() {
            remembered.batches = vec![(1_000_000, 1, -1)];
        }
    }

    /// The batches from the one that contains `offset` on, as many as fit.
    pub(crate) fn read(&self, offset: i64, bytes_max: usize) -> Vec<Bytes> {
        let mut read: Vec<Bytes> = Vec::new();
        let mut size = 0;
        for batch in &self.batches {
            let header = BatchHeader::parse(batch).expect("a batch");
            if header.next_offset() <= offset {
                continue;
            }
            size += batch.len();
            if size > bytes_max && !read.is_empty() {
                break;
            }
            read.push(batch.clone());
        }
        read
    }

    /// The values of all records, in order.
    pub(crate) fn values(&self) -> Vec<String> {
        let records = self.batches.iter().flat_map(|batch| {
            let view = BatchView::parse(batch.clone()).expect("a batch");
            view.records(1 << 20).expect("readable").map(|record| record.expect("a record"))
        });
        let text = |value: Option<Bytes>| String::from_utf8(value.unwrap_or_default().to_vec());
        records.map(|record| text(record.value).expect("text")).collect()
    }
}
