//! One entry of the ledger: where a batch lies in its segment, and what must be found there.
//!
//! Entry slot `k` belongs to index `base_index + k`. All integers are big-endian.
//!
//! | position | bytes | field                                                                    |
//! |---------:|------:|--------------------------------------------------------------------------|
//! |        0 |     4 | term                                                                     |
//! |        4 |     8 | base offset; of an internal entry: the next record's                     |
//! |       12 |     4 | offset count; 0 is an internal entry                                     |
//! |       16 |     4 | position in the `.log`                                                   |
//! |       20 |     4 | size, header included                                                    |
//! |       24 |     8 | largest timestamp in the segment up to here (so a time can be searched)  |
//! |       32 |     4 | CRC-32 of the 61 header bytes                                            |
//! |       36 |     4 | log position known to be durable when this entry was written             |
//! |       40 |     4 | flags: bit 0 damaged                                                     |
//! |       44 |     4 | CRC-32 of the 44 bytes before, seeded with segment and slot              |
//!
//! The seed makes sure that an entry in another slot, segment, partition or topic never validates.

use bytes::{Buf, BufMut};
use thalweg_protocol::batch::HEADER_LEN;

use crate::frame::EntryFrame;
use crate::log::EntryMeta;

/// Bytes of one entry.
pub(crate) const LEDGER_ENTRY_LEN: usize = 48;

const CRC_POSITION: usize = LEDGER_ENTRY_LEN - 4;
const FLAG_DAMAGED: u32 = 1;

/// One slot of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LedgerEntry {
    pub(crate) term: u32,
    pub(crate) base_offset: i64,
    pub(crate) offset_count: u32,
    pub(crate) position: u32,
    pub(crate) size: u32,
    pub(crate) max_timestamp: i64,
    pub(crate) header_crc: u32,
    pub(crate) durable_position: u32,
    /// The bytes are known not to be what was written; what the entry says of them may be a guess.
    pub(crate) damaged: bool,
}

impl LedgerEntry {
    /// The ledger's view of a frame at `position`, after entries whose largest timestamp is
    /// `max_timestamp_before`.
    pub(crate) fn new(
        frame: &EntryFrame,
        position: u32,
        max_timestamp_before: i64,
        durable_position: u32,
    ) -> Self {
        let internal = frame.header.attributes.is_internal();
        let own = if internal { -1 } else { frame.header.max_timestamp };
        LedgerEntry {
            term: frame.term,
            base_offset: frame.header.base_offset,
            offset_count: frame.offset_count(),
            position,
            size: frame.size,
            max_timestamp: own.max(max_timestamp_before),
            header_crc: frame.header_crc,
            durable_position,
            damaged: false,
        }
    }

    /// Whether a valid frame at `position` is the one that this entry was written for.
    pub(crate) fn describes(&self, frame: &EntryFrame, position: u64) -> bool {
        u64::from(self.position) == position
            && self.size == frame.size
            && self.header_crc == frame.header_crc
            && self.base_offset == frame.header.base_offset
            && self.offset_count == frame.offset_count()
            && self.term == frame.term
    }

    /// The first offset after the entry.
    pub(crate) fn next_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.offset_count))
    }

    /// The position after the entry.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.position) + u64::from(self.size)
    }

    pub(crate) fn meta(&self) -> EntryMeta {
        let &Self { term, base_offset, offset_count, size, .. } = self;
        EntryMeta { term, base_offset, offset_count, size }
    }

    /// Appends the entry's bytes, for `slot` of the segment with this seed.
    pub(crate) fn encode(&self, seed: u32, slot: u32, out: &mut impl BufMut) {
        let mut bytes = [0_u8; LEDGER_ENTRY_LEN];
        let mut rest = &mut bytes[..];
        rest.put_u32(self.term);
        rest.put_i64(self.base_offset);
        rest.put_u32(self.offset_count);
        rest.put_u32(self.position);
        rest.put_u32(self.size);
        rest.put_i64(self.max_timestamp);
        rest.put_u32(self.header_crc);
        rest.put_u32(self.durable_position);
        rest.put_u32(if self.damaged { FLAG_DAMAGED } else { 0 });
        rest.put_u32(0);
        let crc = seeded_crc(seed, slot, &bytes);
        bytes[CRC_POSITION..].copy_from_slice(&crc.to_be_bytes());
        out.put_slice(&bytes);
    }

    /// The entry in `bytes` if it was written for this slot of this segment.
    pub(crate) fn decode(bytes: &[u8; LEDGER_ENTRY_LEN], seed: u32, slot: u32) -> Option<Self> {
        let mut rest = &bytes[..];
        let entry = LedgerEntry {
            term: rest.get_u32(),
            base_offset: rest.get_i64(),
            offset_count: rest.get_u32(),
            position: rest.get_u32(),
            size: rest.get_u32(),
            max_timestamp: rest.get_i64(),
            header_crc: rest.get_u32(),
            durable_position: rest.get_u32(),
            damaged: rest.get_u32() & FLAG_DAMAGED != 0,
        };
        let whole = entry.damaged || entry.size as usize >= HEADER_LEN;
        (whole && rest.get_u32() == seeded_crc(seed, slot, bytes)).then_some(entry)
    }
}

fn seeded_crc(seed: u32, slot: u32, bytes: &[u8; LEDGER_ENTRY_LEN]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&slot.to_be_bytes());
    hasher.update(&bytes[..CRC_POSITION]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_entry() -> impl Strategy<Value = LedgerEntry> {
        let numbers = any::<(u32, i64, u32, u32, i64, u32, u32, bool)>();
        (numbers, HEADER_LEN as u32..).prop_map(|(n, size)| LedgerEntry {
            term: n.0,
            base_offset: n.1,
            offset_count: n.2,
            position: n.3,
            size,
            max_timestamp: n.4,
            header_crc: n.5,
            durable_position: n.6,
            damaged: n.7,
        })
    }

    fn encoded(entry: &LedgerEntry, seed: u32, slot: u32) -> [u8; LEDGER_ENTRY_LEN] {
        let mut bytes = Vec::new();
        entry.encode(seed, slot, &mut bytes);
        bytes.try_into().unwrap()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(entry in any_entry(), seed: u32, slot: u32) {
            let bytes = encoded(&entry, seed, slot);
            prop_assert_eq!(LedgerEntry::decode(&bytes, seed, slot), Some(entry));
            prop_assert_eq!(LedgerEntry::decode(&bytes, seed, slot ^ 1), None);
            prop_assert_eq!(LedgerEntry::decode(&bytes, seed ^ 1, slot), None);
        }

        #[test]
        fn every_flip_is_seen(entry in any_entry(), seed: u32, slot: u32) {
            let bytes = encoded(&entry, seed, slot);
            for bit in 0..LEDGER_ENTRY_LEN * 8 {
                let mut flipped = bytes;
                flipped[bit / 8] ^= 1 << (bit % 8);
                // Reserved flag bits are covered as well.
                prop_assert_eq!(LedgerEntry::decode(&flipped, seed, slot), None);
            }
        }

        #[test]
        fn zeroes_never_validate(seed: u32, slot: u32) {
            prop_assert_eq!(LedgerEntry::decode(&[0; LEDGER_ENTRY_LEN], seed, slot), None);
        }
    }
}
