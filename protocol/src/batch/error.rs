//! What can be wrong with a batch as a whole.

use thiserror::Error;

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
}
