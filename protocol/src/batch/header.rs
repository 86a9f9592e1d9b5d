//! The header of a record batch, parsed and written. All integers are big-endian.
//!
//! | position | bytes | field                    | covered by the CRC |
//! |---------:|------:|--------------------------|--------------------|
//! |        0 |     8 | `base_offset`            | no: the broker sets it on append |
//! |        8 |     4 | `batch_length`: bytes after this field | no   |
//! |       12 |     4 | `partition_leader_epoch` | no: the broker sets it on append |
//! |       16 |     1 | `magic`, always 2        | no                 |
//! |       17 |     4 | `crc`: CRC-32C           | no                 |
//! |       21 |     2 | `attributes`             | yes, and so is all that follows |
//! |       23 |     4 | `last_offset_delta`      | yes                |
//! |       27 |     8 | `base_timestamp`, ms     | yes                |
//! |       35 |     8 | `max_timestamp`, ms      | yes                |
//! |       43 |     8 | `producer_id`, −1 if none | yes               |
//! |       51 |     2 | `producer_epoch`         | yes                |
//! |       53 |     4 | `base_sequence`          | yes                |
//! |       57 |     4 | `record_count`           | yes                |

use bytes::BufMut;

use super::{Attributes, BatchError};

/// Bytes of a batch header.
pub const HEADER_LEN: usize = 61;

/// Bytes that `batch_length` does not count: the base offset and the length itself.
pub const LENGTH_OVERHEAD: usize = 12;

/// Position of the first byte that the CRC covers: the attributes.
pub const CRC_START: usize = 21;

/// The only message format there is now.
pub const MAGIC: u8 = 2;

/// Position of the magic byte, the same in all message formats.
const MAGIC_POSITION: usize = 16;

/// A parsed batch header. [`BatchHeader::parse`] returns only consistent ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchHeader {
    /// Offset of the first record; the offsets of the others count from here.
    pub base_offset: i64,
    /// Bytes that follow this field; at least 49.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch.
    pub partition_leader_epoch: i32,
    /// Checksum of everything from the attributes on.
    pub crc: u32,
    /// Codec, timestamp type and flags.
    pub attributes: Attributes,
    /// Offset of the last record within the batch. Compaction removes records but keeps this.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas count from, or the delete horizon.
    pub base_timestamp: i64,
    /// Largest timestamp in the batch, −1 if there is none.
    pub max_timestamp: i64,
    /// The idempotent producer, or −1.
    pub producer_id: i64,
    /// The producer's epoch, or −1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or −1.
    pub base_sequence: i32,
    /// Number of records.
    pub record_count: i32,
}

impl BatchHeader {
    /// Parses the header at the beginning of `bytes` and checks that its fields agree with each
    /// other. Neither the body nor the CRC is looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // Batches of the old formats may be shorter than our header, so their version is named
        // first.
        match bytes.get(MAGIC_POSITION) {
            Some(&MAGIC) | None => {}
            Some(&magic) => return Err(BatchError::BadMagic(magic)),
        }
        let mut rest = bytes
            .get(..HEADER_LEN)
            .ok_or(BatchError::TooShort { needed: HEADER_LEN, available: bytes.len() })?;
        let rest = &mut rest;
        let base_offset = i64::from_be_bytes(take(rest)?);
        let batch_length = i32::from_be_bytes(take(rest)?);
        let partition_leader_epoch = i32::from_be_bytes(take(rest)?);
        let [_magic] = take(rest)?;
        let header = Self {
            base_offset,
            batch_length,
            partition_leader_epoch,
            crc: u32::from_be_bytes(take(rest)?),
            attributes: Attributes::from_bits(u16::from_be_bytes(take(rest)?)),
            last_offset_delta: i32::from_be_bytes(take(rest)?),
            base_timestamp: i64::from_be_bytes(take(rest)?),
            max_timestamp: i64::from_be_bytes(take(rest)?),
            producer_id: i64::from_be_bytes(take(rest)?),
            producer_epoch: i16::from_be_bytes(take(rest)?),
            base_sequence: i32::from_be_bytes(take(rest)?),
            record_count: i32::from_be_bytes(take(rest)?),
        };
        header.check()?;
        Ok(header)
    }

    /// The header as it stands on the wire.
    pub fn write(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut rest = &mut bytes[..];
        rest.put_i64(self.base_offset);
        rest.put_i32(self.batch_length);
        rest.put_i32(self.partition_leader_epoch);
        rest.put_u8(MAGIC);
        rest.put_u32(self.crc);
        rest.put_u16(self.attributes.bits());
        rest.put_i32(self.last_offset_delta);
        rest.put_i64(self.base_timestamp);
        rest.put_i64(self.max_timestamp);
        rest.put_i64(self.producer_id);
        rest.put_i16(self.producer_epoch);
        rest.put_i32(self.base_sequence);
        rest.put_i32(self.record_count);
        debug_assert!(rest.is_empty());
        bytes
    }

    /// Bytes of the whole batch, header included.
    pub fn size(&self) -> usize {
        usize::try_from(self.batch_length).unwrap_or(0).saturating_add(LENGTH_OVERHEAD)
    }

    /// Number of offsets that the batch owns, which is none for an internal entry. Compaction
    /// leaves more offsets than records.
    pub fn offset_count(&self) -> i64 {
        if self.attributes.is_internal() { 0 } else { i64::from(self.last_offset_delta) + 1 }
    }

    /// The first offset after the batch; the batch's own base offset for an internal entry.
    pub fn next_offset(&self) -> i64 {
        self.base_offset.saturating_add(self.offset_count())
    }

    /// The last offset of the batch; meaningless for an internal entry, which has none.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The sequence number of the last record, or −1 for a batch without sequence. Sequence numbers
    /// go back to zero after `i32::MAX`.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// Whether an idempotent or transactional producer wrote the batch.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }

    /// Checks what must hold, beyond consistency, of a batch that a producer sends: it has at least
    /// one record, offsets without holes, sequence numbers if it has a producer id, and is data.
    pub fn check_produced(&self) -> Result<(), BatchError> {
        let Self { record_count, last_offset_delta, .. } = *self;
        if record_count == 0 || i64::from(record_count) - 1 != i64::from(last_offset_delta) {
            return Err(BatchError::InconsistentCounts { record_count, last_offset_delta });
        }
        if self.attributes.is_control() || self.attributes.is_internal() {
            return Err(BatchError::ReservedForBrokers);
        }
        if self.has_producer_id() && self.base_sequence < 0 {
            return Err(BatchError::BadSequence(self.base_sequence));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), BatchError> {
        if self.size() < HEADER_LEN {
            return Err(BatchError::LengthOutOfRange(self.batch_length));
        }
        let Self { base_offset, record_count, last_offset_delta, .. } = *self;
        let counts = 0..=i64::from(last_offset_delta) + 1;
        if last_offset_delta < 0 || !counts.contains(&i64::from(record_count)) {
            return Err(BatchError::InconsistentCounts { record_count, last_offset_delta });
        }
        let next_offset = base_offset.checked_add(i64::from(last_offset_delta) + 1);
        if base_offset < 0 || next_offset.is_none() {
            return Err(BatchError::OffsetOutOfRange { base_offset });
        }
        Ok(())
    }
}

/// Splits the next `N` bytes off. The caller has checked the length, so the error is never seen.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], BatchError> {
    let (head, rest) = bytes
        .split_first_chunk()
        .ok_or(BatchError::TooShort { needed: HEADER_LEN, available: bytes.len() })?;
    *bytes = rest;
    Ok(*head)
}
