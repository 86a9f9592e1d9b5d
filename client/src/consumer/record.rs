//! Records as they come out of the log: owned one by one, or borrowed from their batch. Either way
//! they are views of memory that they share.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use thalweg_protocol::batch::{BatchView, Record, RecordError, RecordRef, RecordRefs, Records};

use super::error::{ConsumeError, ConsumeFault};
use super::fetched::known_epoch;
use crate::topic_partition::TopicPartition;

/// A record that was read. It shares the memory of the answer it came in: keeping one keeps that
/// answer, so copy what is to be kept for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Where it was read.
    pub source: Arc<TopicPartition>,
    /// The epoch of the leader that wrote it, if known (KIP-320).
    pub leader_epoch: Option<i32>,
    record: Record,
}

impl ConsumerRecord {
    /// Its topic.
    pub fn topic(&self) -> &Arc<str> {
        &self.source.topic
    }

    /// Its partition.
    pub fn partition(&self) -> i32 {
        self.source.partition
    }
}

/// Offset, timestamp, key, value and headers.
impl Deref for ConsumerRecord {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

/// The records of one batch of one partition, in order.
///
/// [`iter`](Self::iter) lends them and is the fastest way; consumed as an iterator it gives records
/// that can be kept.
#[derive(Debug, Clone)]
pub struct RecordBatch {
    source: Arc<TopicPartition>,
    view: BatchView,
    /// The first offset that was asked for: a batch comes whole even if one begins inside it.
    start: i64,
    body_bytes_max: usize,
    body: OnceLock<Result<Bytes, RecordError>>,
}

impl RecordBatch {
    pub(super) fn new(
        source: Arc<TopicPartition>,
        view: BatchView,
        start: i64,
        body_bytes_max: usize,
    ) -> Self {
        RecordBatch { source, view, start, body_bytes_max, body: OnceLock::new() }
    }

    /// Where it was read.
    pub fn source(&self) -> &Arc<TopicPartition> {
        &self.source
    }

    /// The offset at which to go on after this batch.
    pub fn next_offset(&self) -> i64 {
        self.view.header().next_offset()
    }

    /// The records, borrowed.
    pub fn iter(&self) -> impl Iterator<Item = Result<RecordRef<'_>, ConsumeError>> {
        let body = self.body.get_or_init(|| self.view.decompress(self.body_bytes_max));
        let (records, unreadable) = match body {
            Ok(body) => (Some(RecordRefs::new(self.view.header(), body)), None),
            Err(error) => (None, Some(Err(*error))),
        };
        let records = unreadable.into_iter().chain(records.into_iter().flatten());
        let start = self.start;
        records
            .filter(move |record| record.as_ref().map_or(true, |record| record.offset >= start))
            .map(|record| record.map_err(|error| self.unreadable(error)))
    }

    fn unreadable(&self, error: RecordError) -> ConsumeError {
        unreadable(&self.source, self.view.header().base_offset.max(self.start), error)
    }
}

fn unreadable(source: &TopicPartition, offset: i64, error: RecordError) -> ConsumeError {
    ConsumeError {
        partition: source.clone(),
        offset: Some(offset),
        broker: None,
        fault: ConsumeFault::Records(error),
    }
}

impl IntoIterator for RecordBatch {
    type Item = Result<ConsumerRecord, ConsumeError>;
    type IntoIter = IntoRecords;

    fn into_iter(self) -> IntoRecords {
        let (records, failure) = match self.view.records(self.body_bytes_max) {
            Ok(records) => (Some(records), None),
            Err(error) => (None, Some(self.unreadable(error))),
        };
        let (end, leader_epoch) =
            (self.view.header().next_offset(), known_epoch(self.view.header()));
        IntoRecords { source: self.source, leader_epoch, next: self.start, end, records, failure }
    }
}

/// The records of a [`RecordBatch`], one by one, each to be kept if wanted.
#[derive(Debug)]
pub struct IntoRecords {
    source: Arc<TopicPartition>,
    leader_epoch: Option<i32>,
    /// The lowest offset to give next.
    next: i64,
    /// The offset after the batch.
    end: i64,
    records: Option<Records>,
    failure: Option<ConsumeError>,
}

impl IntoRecords {
    pub(super) fn source(&self) -> &Arc<TopicPartition> {
        &self.source
    }

    /// The offset to go on at when no more records are taken.
    pub(super) fn next_offset(&self) -> i64 {
        self.next
    }

    /// The offset to go on at when all records have been taken.
    pub(super) fn end(&self) -> i64 {
        self.end
    }
}

impl Iterator for IntoRecords {
    type Item = Result<ConsumerRecord, ConsumeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(failure) = self.failure.take() {
            return Some(Err(failure));
        }
        let records = self.records.as_mut()?;
        loop {
            match records.next()? {
                Ok(record) if record.offset < self.next => {}
                Ok(record) => {
                    self.next = record.offset.saturating_add(1);
                    let (source, leader_epoch) = (self.source.clone(), self.leader_epoch);
                    return Some(Ok(ConsumerRecord { source, leader_epoch, record }));
                }
                Err(error) => return Some(Err(unreadable(&self.source, self.next, error))),
            }
        }
    }
}
