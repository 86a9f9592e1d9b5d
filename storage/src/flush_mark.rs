//! The flush mark: the frame that ends every flush window and proves the windows before it.
//!
//! A *window* is what is written between two flushes. It ends with a mark, and the writer begins no
//! mark before the flush of the window before has returned. So a valid mark proves that everything
//! before its `window_start` was durable: bytes there that do not validate were damaged, not torn.
//! An *exclusive* mark (no write caching) says more: not even the next batch was begun before the
//! flush of the mark's own window had returned.
//!
//! A mark is framed like an internal batch, but owns no index. When the log falls idle it gets a
//! mark whose window is empty, which proves the last one. That mark is not flushed and nobody waits
//! for it, so the next window begins *with* it instead of behind it: `window_start` is its
//! position.
//!
//! | position | bytes | field                                                                    |
//! |---------:|------:|--------------------------------------------------------------------------|
//! |        0 |    61 | batch header; base offset = next offset, epoch = term of the last entry  |
//! |       61 |     1 | kind 0                                                                   |
//! |       62 |     1 | flags: bit 0 exclusive                                                   |
//! |       63 |     2 | reserved                                                                 |
//! |       65 |     8 | magic, by which a mark is found behind damage                            |
//! |       73 |     4 | window start                                                             |
//! |       77 |     4 | entries in the window                                                    |
//! |       81 |     8 | index of the next entry                                                  |
//! |       89 |     4 | CRC-32 of the CRC-32s of the window's batch headers                      |
//! |       93 |    31 | reserved                                                                 |
//! |      124 |     4 | CRC-32 of bytes 0–16 and 61–123, seeded with segment and position        |

use bytes::{Buf, BufMut};
use thalweg_protocol::batch::{BatchHeader, CRC_START, HEADER_LEN, crc32c};

use crate::entry::internal_header;

/// Bytes of a mark, header included.
pub(crate) const MARK_LEN: u32 = 128;

/// The bytes by which a mark is found when its position is not known.
pub(crate) const MARK_MAGIC: [u8; 8] = *b"twflmark";

/// Where in the frame the magic is.
pub(crate) const MARK_MAGIC_POSITION: usize = 65;

const LEN: usize = MARK_LEN as usize;
const CRC_POSITION: usize = LEN - 4;
/// The header bytes that the batch CRC does not cover, but for the CRC itself.
const UNCOVERED: usize = 17;
const FLAG_EXCLUSIVE: u8 = 1;

/// A mark, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlushMark {
    /// Everything before was durable when the mark was written.
    pub(crate) window_start: u32,
    pub(crate) entry_count: u32,
    pub(crate) next_index: u64,
    pub(crate) next_offset: i64,
    pub(crate) term: u32,
    pub(crate) headers_crc: u32,
    pub(crate) exclusive: bool,
}

impl FlushMark {
    /// The mark's bytes at `position` of the segment with this seed.
    pub(crate) fn encode(&self, seed: u32, position: u32) -> [u8; LEN] {
        let mut frame = [0; LEN];
        let mut body = &mut frame[HEADER_LEN..];
        body.put_u8(0);
        body.put_u8(if self.exclusive { FLAG_EXCLUSIVE } else { 0 });
        body.put_u16(0);
        body.put_slice(&MARK_MAGIC);
        body.put_u32(self.window_start);
        body.put_u32(self.entry_count);
        body.put_u64(self.next_index);
        body.put_u32(self.headers_crc);
        // The mark's CRC covers header bytes that do not depend on it; the batch CRC then covers
        // it.
        let header = internal_header(self.next_offset, self.term, &frame[HEADER_LEN..]);
        frame[..HEADER_LEN].copy_from_slice(&header);
        let crc = seeded_crc(seed, position, &frame);
        frame[CRC_POSITION..].copy_from_slice(&crc.to_be_bytes());
        let header = internal_header(self.next_offset, self.term, &frame[HEADER_LEN..]);
        frame[..HEADER_LEN].copy_from_slice(&header);
        frame
    }

    /// The mark in `frame` if it was written for this position of this segment.
    pub(crate) fn decode(frame: &[u8; LEN], seed: u32, position: u32) -> Option<Self> {
        let header = BatchHeader::parse(frame).ok()?;
        let mut body = &frame[HEADER_LEN..];
        let kind = body.get_u8();
        let flags = body.get_u8();
        body.advance(2);
        let magic = body.get_u64().to_be_bytes();
        let mark = FlushMark {
            window_start: body.get_u32(),
            entry_count: body.get_u32(),
            next_index: body.get_u64(),
            next_offset: header.base_offset,
            term: u32::try_from(header.partition_leader_epoch).ok()?,
            headers_crc: body.get_u32(),
            exclusive: flags & FLAG_EXCLUSIVE != 0,
        };
        let crc = (&frame[CRC_POSITION..]).get_u32();
        let framed = header.attributes.is_internal() && header.size() == LEN && kind == 0;
        let valid = framed
            && magic == MARK_MAGIC
            && mark.window_start <= position
            && header.crc == crc32c(&frame[CRC_START..])
            && crc == seeded_crc(seed, position, frame);
        valid.then_some(mark)
    }
}

/// Extends the checksum of a window's headers by one more.
pub(crate) fn extend_headers_crc(headers_crc: u32, header_crc: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(headers_crc);
    hasher.update(&header_crc.to_be_bytes());
    hasher.finalize()
}

fn seeded_crc(seed: u32, position: u32, frame: &[u8; LEN]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&position.to_be_bytes());
    hasher.update(&frame[..UNCOVERED]);
    hasher.update(&frame[HEADER_LEN..CRC_POSITION]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: FlushMark = FlushMark {
        window_start: 1000,
        entry_count: 3,
        next_index: 17,
        next_offset: 40,
        term: 2,
        headers_crc: 0x1234_5678,
        exclusive: true,
    };

    #[test]
    fn what_was_written_is_read() {
        for mark in [MARK, FlushMark { exclusive: false, entry_count: 0, ..MARK }] {
            assert_eq!(FlushMark::decode(&mark.encode(7, 2000), 7, 2000), Some(mark));
        }
    }

    #[test]
    fn a_mark_elsewhere_does_not_validate() {
        let frame = MARK.encode(7, 2000);
        assert_eq!(FlushMark::decode(&frame, 7, 2001), None);
        assert_eq!(FlushMark::decode(&frame, 8, 2000), None);
    }

    #[test]
    fn every_flip_is_seen() {
        let frame = MARK.encode(7, 2000);
        for bit in 0..LEN * 8 {
            let mut flipped = frame;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FlushMark::decode(&flipped, 7, 2000), None, "bit {bit}");
        }
    }

    #[test]
    fn the_magic_is_where_it_is_searched() {
        let frame = MARK.encode(7, 2000);
        assert_eq!(&frame[MARK_MAGIC_POSITION..][..8], &MARK_MAGIC);
    }
}
