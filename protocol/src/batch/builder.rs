//! Builds one batch, record by record, in one growing buffer; for producers and for whoever
//! rewrites batches.

use bytes::Bytes;

use super::{
    Attributes, BatchHeader, BuildError, CRC_START, HEADER_LEN, Header, LENGTH_OVERHEAD,
    TimestampType, crc32c,
    varint::{put_varint, varint_len},
};
use crate::compression::{Codec, compress};

/// The header fields of a batch that its records do not determine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// How to compress the body.
    pub codec: Codec,
    /// The codec's level; its usual one if none.
    pub level: Option<i32>,
    /// The idempotent producer, or −1.
    pub producer_id: i64,
    /// The producer's epoch, or −1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or −1.
    pub base_sequence: i32,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
    /// Whether the batch is a transaction marker.
    pub control: bool,
    /// Who set the timestamps.
    pub timestamp_type: TimestampType,
    /// Offset of the first record: 0 from a producer, for the leader sets it.
    pub base_offset: i64,
    /// Epoch of the leader: −1 from a producer, for the leader sets it.
    pub leader_epoch: i32,
}

impl Default for BatchOptions {
    /// An ordinary batch of a producer that is not idempotent.
    fn default() -> Self {
        Self {
            codec: Codec::None,
            level: None,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            transactional: false,
            control: false,
            timestamp_type: TimestampType::CreateTime,
            base_offset: 0,
            leader_epoch: -1,
        }
    }
}

/// A batch in the making.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    /// The first record's, from which all count.
    base_timestamp: i64,
    max_timestamp: i64,
    record_count: i32,
}

impl BatchBuilder {
    /// An empty batch whose buffer grows beyond `capacity` bytes only if the batch does.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity.max(HEADER_LEN));
        bytes.resize(HEADER_LEN, 0);
        Self { bytes, base_timestamp: -1, max_timestamp: -1, record_count: 0 }
    }

    /// Number of records so far.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Bytes of the batch so far, header included, before compression.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that the batch would grow by, exactly, if this record were appended now.
    pub fn record_size(
        &self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> usize {
        let content =
            content_len(self.timestamp_delta(timestamp), self.record_count, key, value, headers);
        varint_len(signed(content)).saturating_add(content)
    }

    /// Appends a record; gives the size of the batch before compression.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<usize, BuildError> {
        let timestamp_delta = self.timestamp_delta(timestamp);
        let content = content_len(timestamp_delta, self.record_count, key, value, headers);
        let size = varint_len(signed(content)).saturating_add(content);
        // Every length within a batch that passes this check fits 32 bits.
        let batch_size = self.bytes.len().saturating_add(size);
        let next_count = self.record_count.checked_add(1).ok_or(BuildError::TooLarge)?;
        if i32::try_from(batch_size).is_err() {
            return Err(BuildError::TooLarge);
        }

        let out = &mut self.bytes;
        out.reserve(size);
        put_varint(out, signed(content));
        out.push(0);
        put_varint(out, timestamp_delta);
        put_varint(out, i64::from(self.record_count));
        put_nullable(out, key);
        put_nullable(out, value);
        put_varint(out, signed(headers.len()));
        for header in headers {
            put_nullable(out, Some(header.key));
            put_nullable(out, header.value);
        }
        debug_assert_eq!(out.len(), batch_size);

        if self.record_count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.record_count = next_count;
        Ok(batch_size)
    }

    /// The finished batch. A batch without records is a valid one that owns a single offset.
    pub fn finish(self, options: &BatchOptions) -> Result<Bytes, BuildError> {
        let attributes = Attributes::default()
            .with_codec(options.codec)
            .with_timestamp_type(options.timestamp_type)
            .with_transactional(options.transactional)
            .with_control(options.control);
        let header = BatchHeader {
            base_offset: options.base_offset,
            partition_leader_epoch: options.leader_epoch,
            attributes,
            last_offset_delta: (self.record_count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            record_count: self.record_count,
            batch_length: 0,
            crc: 0,
        };
        if options.codec == Codec::None {
            return seal(header, self.bytes);
        }
        let body = self.bytes.get(HEADER_LEN..).unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEADER_LEN + body.len() / 2);
        bytes.resize(HEADER_LEN, 0);
        compress(options.codec, options.level, body, &mut bytes)?;
        seal(header, bytes)
    }

    fn timestamp_delta(&self, timestamp: i64) -> i64 {
        // Wrapping is undone on reading, so even absurd timestamps come back as they were given.
        if self.record_count == 0 { 0 } else { timestamp.wrapping_sub(self.base_timestamp) }
    }
}

/// Writes `header` over the first 61 of `bytes`, with the length and the CRC that belong to them.
pub(super) fn seal(mut header: BatchHeader, mut bytes: Vec<u8>) -> Result<Bytes, BuildError> {
    let length = bytes.len().saturating_sub(LENGTH_OVERHEAD);
    header.batch_length = i32::try_from(length).map_err(|_| BuildError::TooLarge)?;
    write_header(&header, &mut bytes);
    header.crc = crc32c(bytes.get(CRC_START..).unwrap_or_default());
    write_header(&header, &mut bytes);
    Ok(bytes.into())
}

#[expect(clippy::expect_used, reason = "the builder itself has made the room")]
fn write_header(header: &BatchHeader, bytes: &mut [u8]) {
    let room = bytes.first_chunk_mut().expect("a batch in the making has room for its header");
    *room = header.write();
}

/// Bytes of a record after its length field.
fn content_len(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header<'_>],
) -> usize {
    let headers_len = headers.iter().fold(varint_len(signed(headers.len())), |sum, header| {
        sum.saturating_add(nullable_len(Some(header.key)))
            .saturating_add(nullable_len(header.value))
    });
    (1 + varint_len(timestamp_delta) + varint_len(i64::from(offset_delta)))
        .saturating_add(nullable_len(key))
        .saturating_add(nullable_len(value))
        .saturating_add(headers_len)
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    let len = bytes.map_or(0, <[u8]>::len);
    varint_len(bytes.map_or(-1, |_| signed(len))).saturating_add(len)
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(out, bytes.map_or(-1, |bytes| signed(bytes.len())));
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// A length as a varint's value: no slice in memory is longer than an `i64` can say.
fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
