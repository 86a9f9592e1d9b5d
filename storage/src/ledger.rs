//! The ledger file's layout: a header that says whose it is, checkpoints, entries, and a footer.
//!
//! | position   | bytes | content                                                           |
//! |-----------:|------:|-------------------------------------------------------------------|
//! |          0 |    64 | header                                                            |
//! |         64 |    32 | checkpoint                                                        |
//! |        512 |    96 | header and checkpoint once more, in a disk sector of their own    |
//! |       1024 |  48×n | entries, see `ledger_entry.rs`                                    |
//! | 1024+48×n  |     … | footer, only when the segment is sealed, see `footer.rs`          |
//!
//! The header (big-endian): magic 8, format version 2, reserved 2, partition 4, topic id 16, base
//! offset 8, base index 8, term before the base index 4 (all ones: unknown), reserved 8, CRC-32 4.
//! A checkpoint: entry count 4, durable position 4, flags 4 (bit 0: cutting), reserved 16, CRC-32
//! seeded with the segment 4.
//!
//! Nothing here is flushed with the data: all of it can be rebuilt from the `.log`. Flushed it is
//! when the segment is sealed, cut, or closed.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::ledger_entry::{LEDGER_ENTRY_LEN, LedgerEntry};
use crate::log::LogIdentity;
use crate::segment::SegmentKey;

/// Position of the first entry.
pub(crate) const LEDGER_ENTRIES_START: usize = 1024;

/// Newest version of the ledger and of the `.log` that this program reads and writes.
pub(crate) const FORMAT_VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"twledger";
const HEADER_LEN: usize = 64;
const CHECKPOINT_LEN: usize = 32;
/// Where the two copies of header and checkpoint begin.
const COPIES: [usize; 2] = [0, 512];
const UNKNOWN_TERM: u32 = u32::MAX;
const FLAG_CUTTING: u32 = 1;

/// Where a slot's entry lies in the file.
pub(crate) fn slot_position(slot: u32) -> u64 {
    LEDGER_ENTRIES_START as u64 + u64::from(slot) * LEDGER_ENTRY_LEN as u64
}

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LedgerHeader {
    pub(crate) version: u16,
    pub(crate) key: SegmentKey,
    /// Term of the entry before the segment's first; 0 if there is none.
    pub(crate) prev_term: Option<u32>,
}

/// The last known durable state that was itself flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) entry_count: u32,
    pub(crate) durable_position: u32,
    /// Everything from the durable position on is being cut off, so nothing there proves anything:
    /// a crash in the middle of it may leave holes.
    pub(crate) cutting: bool,
}

impl LedgerHeader {
    /// The whole area before the entries.
    pub(crate) fn encode_area(&self, checkpoint: Checkpoint) -> BytesMut {
        let mut area = BytesMut::zeroed(LEDGER_ENTRIES_START);
        let header = self.encode();
        let checkpoint = checkpoint.encode(self.key.crc_seed());
        for copy in COPIES {
            area[copy..copy + HEADER_LEN].copy_from_slice(&header);
            area[copy + HEADER_LEN..][..CHECKPOINT_LEN].copy_from_slice(&checkpoint);
        }
        area
    }

    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        let mut rest = &mut header[..];
        rest.put_slice(&MAGIC);
        rest.put_u16(self.version);
        rest.put_u16(0);
        rest.put_i32(self.key.identity.partition);
        rest.put_slice(self.key.identity.topic.as_bytes());
        rest.put_i64(self.key.base_offset);
        rest.put_u64(self.key.base_index);
        rest.put_u32(self.prev_term.unwrap_or(UNKNOWN_TERM));
        let crc = crc32fast::hash(&header[..HEADER_LEN - 4]);
        header[HEADER_LEN - 4..].copy_from_slice(&crc.to_be_bytes());
        header
    }

    /// The first valid copy of the header in the file's first bytes.
    pub(crate) fn find(area: &[u8]) -> Option<Self> {
        COPIES.iter().find_map(|&copy| Self::decode(area.get(copy..)?.first_chunk()?))
    }

    fn decode(header: &[u8; HEADER_LEN]) -> Option<Self> {
        let mut rest = &header[..];
        let magic = rest.get_u64().to_be_bytes();
        let version = rest.get_u16();
        rest.advance(2);
        let partition = rest.get_i32();
        let topic = Uuid::from_u128(rest.get_u128());
        let base_offset = rest.get_i64();
        let base_index = rest.get_u64();
        let prev_term = rest.get_u32();
        rest.advance(8);
        let valid = magic == MAGIC && rest.get_u32() == crc32fast::hash(&header[..HEADER_LEN - 4]);
        let key =
            SegmentKey { identity: LogIdentity { topic, partition }, base_offset, base_index };
        let prev_term = (prev_term != UNKNOWN_TERM).then_some(prev_term);
        valid.then_some(LedgerHeader { version, key, prev_term })
    }
}

impl Checkpoint {
    fn encode(self, seed: u32) -> [u8; CHECKPOINT_LEN] {
        let mut checkpoint = [0; CHECKPOINT_LEN];
        let mut rest = &mut checkpoint[..];
        rest.put_u32(self.entry_count);
        rest.put_u32(self.durable_position);
        rest.put_u32(if self.cutting { FLAG_CUTTING } else { 0 });
        let crc = checkpoint_crc(seed, &checkpoint);
        checkpoint[CHECKPOINT_LEN - 4..].copy_from_slice(&crc.to_be_bytes());
        checkpoint
    }

    fn decode(checkpoint: &[u8; CHECKPOINT_LEN], seed: u32) -> Option<Self> {
        let mut rest = &checkpoint[..];
        let (entry_count, durable_position) = (rest.get_u32(), rest.get_u32());
        let cutting = rest.get_u32() & FLAG_CUTTING != 0;
        let crc = (&checkpoint[CHECKPOINT_LEN - 4..]).get_u32();
        let valid = crc == checkpoint_crc(seed, checkpoint);
        valid.then_some(Checkpoint { entry_count, durable_position, cutting })
    }

    /// Where to write the copies, and what.
    pub(crate) fn writes(self, seed: u32) -> [(u64, Bytes); 2] {
        let bytes = Bytes::copy_from_slice(&self.encode(seed));
        COPIES.map(|copy| ((copy + HEADER_LEN) as u64, bytes.clone()))
    }

    /// The checkpoint of the file's first bytes. Copies may differ after a crash between their
    /// writes. A cut that one of them announces is begun or done; else the lower position is the
    /// safe one.
    pub(crate) fn find(area: &[u8], seed: u32) -> Option<Self> {
        let copies = COPIES
            .iter()
            .filter_map(|&copy| Self::decode(area.get(copy + HEADER_LEN..)?.first_chunk()?, seed));
        copies.min_by_key(|checkpoint| (!checkpoint.cutting, checkpoint.durable_position))
    }
}

/// The valid entries in the bytes from [`LEDGER_ENTRIES_START`] on, by slot; ends with the last
/// valid one.
pub(crate) fn decode_entries(bytes: &[u8], seed: u32) -> Vec<Option<LedgerEntry>> {
    let (chunks, _) = bytes.as_chunks::<LEDGER_ENTRY_LEN>();
    let slots = chunks.iter().zip(0_u32..);
    let mut entries: Vec<_> =
        slots.map(|(bytes, slot)| LedgerEntry::decode(bytes, seed, slot)).collect();
    let valid = entries.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    entries.truncate(valid);
    entries
}

fn checkpoint_crc(seed: u32, checkpoint: &[u8; CHECKPOINT_LEN]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(b"checkpoint");
    hasher.update(&checkpoint[..CHECKPOINT_LEN - 4]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> LedgerHeader {
        let identity = LogIdentity { topic: Uuid::from_u128(0xabc), partition: 3 };
        let key = SegmentKey { identity, base_offset: 42, base_index: 57 };
        LedgerHeader { version: FORMAT_VERSION, key, prev_term: Some(4) }
    }

    #[test]
    fn one_flip_anywhere_leaves_a_valid_copy() {
        let checkpoint = Checkpoint { entry_count: 9, durable_position: 4096, cutting: false };
        let seed = header().key.crc_seed();
        let area = header().encode_area(checkpoint);
        for byte in 0..area.len() {
            let mut flipped = area.clone();
            flipped[byte] ^= 0x10;
            assert_eq!(LedgerHeader::find(&flipped), Some(header()), "byte {byte}");
            assert_eq!(Checkpoint::find(&flipped, seed), Some(checkpoint), "byte {byte}");
        }
    }

    #[test]
    fn an_unknown_term_is_kept_unknown() {
        let unknown = LedgerHeader { prev_term: None, ..header() };
        assert_eq!(LedgerHeader::find(&unknown.encode_area(Checkpoint::default())), Some(unknown));
    }

    #[test]
    fn a_cut_wins_over_another_checkpoint() {
        let seed = header().key.crc_seed();
        let mut area = header().encode_area(Checkpoint {
            entry_count: 9,
            durable_position: 4096,
            cutting: false,
        });
        let cut = Checkpoint { entry_count: 20, durable_position: 8192, cutting: true };
        let [(position, bytes), _] = cut.writes(seed);
        let at = usize::try_from(position).unwrap();
        area[at..at + bytes.len()].copy_from_slice(&bytes);
        assert_eq!(Checkpoint::find(&area, seed), Some(cut));
    }

    #[test]
    fn truncated_areas_and_zeroes_hold_nothing() {
        let area = header().encode_area(Checkpoint::default());
        for len in 0..HEADER_LEN {
            assert_eq!(LedgerHeader::find(&area[..len]), None);
        }
        assert_eq!(LedgerHeader::find(&[0; LEDGER_ENTRIES_START]), None);
        assert_eq!(Checkpoint::find(&[0; LEDGER_ENTRIES_START], 7), None);
    }
}
