//! What can be wrong with a batch, with the records inside it, and with building one.

use thiserror::Error;

use crate::compression::{CompressionError, UnknownCodec};

/// Why bytes are not a valid record batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("a batch needs {needed} bytes but only {available} are left")]
    TooShort {
        /// Bytes that the batch, or its header, occupies.
        needed: usize,
        /// Bytes there are.
        available: usize,
    },
    /// The length field is below that of an empty batch.
    #[error("batch length {0} is impossible: an empty batch has length 49")]
    LengthOutOfRange(i32),
    /// Bytes follow the one batch that was expected.
    #[error("{0} bytes follow the end of the batch")]
    TrailingBytes(usize),
    /// Another message format; 0 and 1 are those of Kafka before 0.11, which Kafka 4 dropped too.
    #[error("message format {0} is not supported: only format 2 is")]
    BadMagic(u8),
    /// The bytes from the attributes on are not those that the checksum was made of.
    #[error("batch checksum is {actual:#010x} but its header says {expected:#010x}")]
    BadCrc {
        /// The checksum in the header.
        expected: u32,
        /// The checksum of the bytes.
        actual: u32,
    },
    /// The record count contradicts the offsets that the batch spans.
    #[error("{record_count} records do not fit a last offset delta of {last_offset_delta}")]
    InconsistentCounts {
        /// Records that the header announces.
        record_count: i32,
        /// The last record's offset within the batch.
        last_offset_delta: i32,
    },
    /// The offsets of the batch are negative, or go beyond what 63 bits hold.
    #[error("base offset {base_offset} is out of range")]
    OffsetOutOfRange {
        /// The first offset of the batch.
        base_offset: i64,
    },
    /// A client sent a batch that only brokers write: a control batch or an internal entry.
    #[error("control and internal batches are written by brokers only")]
    ReservedForBrokers,
    /// A batch with a producer id but without sequence numbers.
    #[error("base sequence {0} is impossible for a batch with a producer id")]
    BadSequence(i32),
}

/// Why the records of a batch cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The attributes name no codec.
    #[error(transparent)]
    UnknownCodec(#[from] UnknownCodec),
    /// The body is not what its codec writes, or is too large.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// One record is malformed.
    #[error("record {index} of the batch: {fault}")]
    Malformed {
        /// Which record of the batch, from 0.
        index: i32,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// Bytes follow the last record that the header announces.
    #[error("{0} bytes follow the last record")]
    TrailingBytes(usize),
}

/// What is wrong with a single record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordFault {
    /// The record, or a field of it, ends too early.
    #[error("ends too early")]
    Truncated,
    /// A variable-length integer exceeds its type.
    #[error("an integer exceeds its range")]
    BadVarint,
    /// A length is negative where it may not be.
    #[error("impossible length {0}")]
    BadLength(i32),
    /// The header count is negative or beyond what the record's bytes could hold.
    #[error("impossible header count {0}")]
    BadHeaderCount(i32),
    /// Bytes follow the record's last header.
    #[error("{0} bytes follow the last header")]
    TrailingBytes(usize),
    /// The offset is not above that of the record before, or beyond that of the batch.
    #[error("offset delta {0} is out of order")]
    BadOffsetDelta(i32),
}

/// Why a batch cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// The batch would exceed the 2 GiB that its length field can say.
    #[error("a batch cannot hold 2 GiB or more")]
    TooLarge,
    /// The compressor failed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}
