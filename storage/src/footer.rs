//! The footer of a sealed segment's ledger: lets the segment be opened without reading its entries.
//!
//! It is found from the end of the file and valid only if the file is exactly as long as it says.
//! All integers are big-endian.
//!
//! | position from footer start | bytes | field                                        |
//! |---------------------------:|------:|----------------------------------------------|
//! |                          0 |  16×m | epochs: term 4, first slot 4, start offset 8 |
//! |                       16×m |     8 | magic                                        |
//! |                       +  8 |     4 | entries                                      |
//! |                       + 12 |     4 | epochs m                                     |
//! |                       + 16 |     4 | entries flagged as damaged                   |
//! |                       + 20 |     4 | log length: position after the last frame    |
//! |                       + 24 |     8 | length of the `.log` file when it was sealed |
//! |                       + 32 |     8 | next offset                                  |
//! |                       + 40 |     8 | max timestamp                                |
//! |                       + 48 |     4 | term of the last entry                       |
//! |                       + 52 |     8 | reserved                                     |
//! |                       + 60 |     4 | CRC-32 of all before, seeded with the segment |

use bytes::{Buf, BufMut, BytesMut};

use crate::ledger::slot_position;
use crate::ledger_entry::LedgerEntry;
use crate::segment::Extent;

const MAGIC: [u8; 8] = *b"twfooter";
const EPOCH_LEN: usize = 16;
const TAIL_LEN: usize = 64;

/// An epoch as the footer keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FooterEpoch {
    pub(crate) term: u32,
    pub(crate) first_slot: u32,
    pub(crate) start_offset: i64,
}

/// What a sealed segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) epochs: Vec<FooterEpoch>,
    pub(crate) entry_count: u32,
    pub(crate) damaged_count: u32,
    pub(crate) log_len: u32,
    /// Differs from `log_len` only when damage was kept.
    pub(crate) file_len: u64,
    pub(crate) next_offset: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) last_term: u32,
}

impl Footer {
    /// The slot and the offset behind the last entry.
    pub(crate) fn end(&self) -> (u32, i64) {
        (self.entry_count, self.next_offset)
    }

    /// The footer of a segment that holds `entries`, and reaches as far as `extent`.
    pub(crate) fn of(entries: &[LedgerEntry], extent: Extent, file_len: u64) -> Self {
        let mut epochs: Vec<FooterEpoch> = Vec::new();
        for (entry, first_slot) in entries.iter().zip(0..) {
            if epochs.last().is_none_or(|last| last.term < entry.term) {
                let start_offset = entry.base_offset;
                epochs.push(FooterEpoch { term: entry.term, first_slot, start_offset });
            }
        }
        let Extent { entry_count, log_len, next_offset, max_timestamp } = extent;
        let damaged_count = entries.iter().filter(|entry| entry.damaged).count();
        Footer {
            epochs,
            entry_count,
            damaged_count: u32::try_from(damaged_count).unwrap_or(u32::MAX),
            log_len,
            file_len,
            next_offset,
            max_timestamp,
            last_term: entries.last().map_or(0, |last| last.term),
        }
    }

    /// The footer's bytes, to be written behind the last entry.
    pub(crate) fn encode(&self, seed: u32) -> BytesMut {
        let mut out = BytesMut::with_capacity(self.epochs.len() * EPOCH_LEN + TAIL_LEN);
        for epoch in &self.epochs {
            out.put_u32(epoch.term);
            out.put_u32(epoch.first_slot);
            out.put_i64(epoch.start_offset);
        }
        out.put_slice(&MAGIC);
        out.put_u32(self.entry_count);
        out.put_u32(u32::try_from(self.epochs.len()).expect("an epoch has entries"));
        out.put_u32(self.damaged_count);
        out.put_u32(self.log_len);
        out.put_u64(self.file_len);
        out.put_i64(self.next_offset);
        out.put_i64(self.max_timestamp);
        out.put_u32(self.last_term);
        out.put_u64(0);
        out.put_u32(footer_crc(seed, &out));
        out
    }

    /// Bytes of the footer whose last bytes are `tail`, so that all of it can be read; `None` if
    /// this is no footer's end.
    pub(crate) fn len_from_tail(tail: &[u8], ledger_len: u64) -> Option<usize> {
        let mut rest = &tail.last_chunk::<TAIL_LEN>()?[..];
        let magic = rest.get_u64().to_be_bytes();
        let (entry_count, epoch_count) = (rest.get_u32(), rest.get_u32());
        let len = (epoch_count as usize).checked_mul(EPOCH_LEN)?.checked_add(TAIL_LEN)?;
        let exact = slot_position(entry_count).checked_add(len as u64)? == ledger_len;
        (magic == MAGIC && exact).then_some(len)
    }

    /// The footer in `bytes`, which end where the file of `ledger_len` bytes ends.
    pub(crate) fn decode(bytes: &[u8], ledger_len: u64, seed: u32) -> Option<Self> {
        let len = Self::len_from_tail(bytes, ledger_len)?;
        let footer = bytes.get(bytes.len().checked_sub(len)?..)?;
        let (covered, crc) = footer.split_last_chunk::<4>()?;
        if u32::from_be_bytes(*crc) != footer_crc(seed, covered) {
            return None;
        }
        let (epochs, mut rest) = covered.split_at_checked(len - TAIL_LEN)?;
        let (epochs, _) = epochs.as_chunks::<EPOCH_LEN>();
        let epochs = epochs.iter().map(|epoch| {
            let mut rest = &epoch[..];
            let (term, first_slot) = (rest.get_u32(), rest.get_u32());
            FooterEpoch { term, first_slot, start_offset: rest.get_i64() }
        });
        rest.advance(MAGIC.len());
        let entry_count = rest.get_u32();
        rest.advance(4);
        Some(Footer {
            epochs: epochs.collect(),
            entry_count,
            damaged_count: rest.get_u32(),
            log_len: rest.get_u32(),
            file_len: rest.get_u64(),
            next_offset: rest.get_i64(),
            max_timestamp: rest.get_i64(),
            last_term: rest.get_u32(),
        })
    }
}

fn footer_crc(seed: u32, covered: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(covered);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> Footer {
        let epochs = vec![
            FooterEpoch { term: 1, first_slot: 0, start_offset: 10 },
            FooterEpoch { term: 4, first_slot: 7, start_offset: 19 },
        ];
        Footer {
            epochs,
            entry_count: 12,
            damaged_count: 1,
            log_len: 5000,
            file_len: 6000,
            next_offset: 31,
            max_timestamp: 77,
            last_term: 4,
        }
    }

    fn ledger_len(bytes: &[u8]) -> u64 {
        slot_position(12) + bytes.len() as u64
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = footer().encode(9);
        assert_eq!(Footer::decode(&bytes, ledger_len(&bytes), 9), Some(footer()));
        assert_eq!(Footer::decode(&bytes, ledger_len(&bytes), 8), None);
    }

    #[test]
    fn every_flip_and_truncation_is_seen() {
        let bytes = footer().encode(9);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Footer::decode(&flipped, ledger_len(&bytes), 9), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Footer::decode(&bytes[..len], slot_position(12) + len as u64, 9), None);
        }
    }

    #[test]
    fn a_file_of_another_length_has_no_footer() {
        let bytes = footer().encode(9);
        assert_eq!(Footer::decode(&bytes, ledger_len(&bytes) + 48, 9), None);
    }
}
