//! One record of the votes file: what one group's hard state became.
//!
//! All integers are big-endian. Slot `n` begins at byte 64 `n`, so no record crosses a sector.
//!
//! | position | bytes | field                                              |
//! |---------:|------:|----------------------------------------------------|
//! |        0 |     4 | magic `vote`                                       |
//! |        4 |     1 | format version, 2                                  |
//! |        5 |     1 | kind: 1 saved, 2 removed, 3 sealed                 |
//! |        6 |     2 | reserved                                           |
//! |        8 |     4 | place in its batch, counted from 0                 |
//! |       12 |    16 | topic id                                           |
//! |       28 |     4 | partition                                          |
//! |       32 |     8 | term; of a seal: how many records it vouches for   |
//! |       40 |     8 | vote                                               |
//! |       48 |     8 | commit                                             |
//! |       56 |     4 | CRC-32 of the 56 bytes before, seeded with the slot |
//! |       60 |     4 | magic `done`                                       |
//!
//! A batch is what one write and one flush made durable. The next is written only after that
//! flush, so a valid record proves that everything before its batch was durable.
//!
//! A file is created whole, and takes its name when it is durable. It begins and ends then with a
//! seal, which counts its records, seals included: none of them can have been torn since. (Files of
//! format 1 have no seals; they are replaced when they are opened.)
//!
//! The file is written in order into zeroes, so a record that a crash cut short ends with a zero,
//! and one that rotted does not: no single bit makes the last byte zero.

use bytes::{Buf, BufMut};
use uuid::Uuid;

use super::{GroupId, HardState};

/// Bytes of one record.
pub(super) const RECORD_LEN: usize = 64;

const _: () = assert!(512 % RECORD_LEN == 0, "a torn sector takes whole records with it");

const MAGIC: u32 = u32::from_be_bytes(*b"vote");
const END_MAGIC: [u8; 4] = *b"done";
const FORMAT: u8 = 2;
/// The format without seals.
const FORMAT_UNSEALED: u8 = 1;
const KIND_SAVED: u8 = 1;
const KIND_REMOVED: u8 = 2;
const KIND_SEALED: u8 = 3;
const CRC_POSITION: usize = RECORD_LEN - 8;

/// What happened to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Saved(HardState),
    Removed,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Change(GroupId, Change),
    /// As many records, from the beginning of the file on, were durable when it got its name.
    Sealed(u32),
}

/// A record, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) place: u32,
    pub(super) content: Content,
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Valid(Record),
    /// Valid, of the format without seals.
    Unsealed(Record),
    /// Never written, lost with its sector, or cut short by a crash.
    Unfinished,
    /// Valid, but of a later format.
    Newer(u8),
    /// Anything else.
    Invalid,
}

impl Record {
    pub(super) fn encode(&self, slot: u32, target: &mut impl BufMut) {
        let mut bytes = Vec::with_capacity(RECORD_LEN);
        let nobody = GroupId { topic: Uuid::nil(), partition: 0 };
        let (kind, group, state) = match self.content {
            Content::Change(group, Change::Saved(state)) => (KIND_SAVED, group, state),
            Content::Change(group, Change::Removed) => (KIND_REMOVED, group, HardState::default()),
            Content::Sealed(count) => {
                (KIND_SEALED, nobody, HardState { term: count.into(), ..HardState::default() })
            }
        };
        bytes.put_u32(MAGIC);
        bytes.put_u8(FORMAT);
        bytes.put_u8(kind);
        bytes.put_u16(0);
        bytes.put_u32(self.place);
        bytes.put_slice(group.topic.as_bytes());
        bytes.put_i32(group.partition);
        bytes.put_u64(state.term);
        bytes.put_u64(state.vote);
        bytes.put_u64(state.commit);
        bytes.put_u32(checksum(slot, &bytes));
        bytes.put_slice(&END_MAGIC);
        target.put_slice(&bytes);
    }

    pub(super) fn decode(slot: u32, bytes: &[u8; RECORD_LEN]) -> Slot {
        if bytes.last() == Some(&0) {
            return Slot::Unfinished;
        }
        let (covered, mut end) = bytes.split_at(CRC_POSITION);
        if end.get_u32() != checksum(slot, covered) || end != END_MAGIC {
            return Slot::Invalid;
        }
        let mut fields = covered;
        let (magic, format, kind) = (fields.get_u32(), fields.get_u8(), fields.get_u8());
        if magic != MAGIC {
            return Slot::Invalid;
        }
        if format != FORMAT && format != FORMAT_UNSEALED {
            return Slot::Newer(format);
        }
        let _reserved = fields.get_u16();
        let place = fields.get_u32();
        let topic = Uuid::from_u128(fields.get_u128());
        let group = GroupId { topic, partition: fields.get_i32() };
        let state =
            HardState { term: fields.get_u64(), vote: fields.get_u64(), commit: fields.get_u64() };
        let content = match (kind, u32::try_from(state.term)) {
            (KIND_SAVED, _) => Content::Change(group, Change::Saved(state)),
            (KIND_REMOVED, _) => Content::Change(group, Change::Removed),
            (KIND_SEALED, Ok(count)) if format == FORMAT => Content::Sealed(count),
            _ => return Slot::Invalid,
        };
        let record = Record { place, content };
        if format == FORMAT { Slot::Valid(record) } else { Slot::Unsealed(record) }
    }
}

fn checksum(slot: u32, covered: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(slot);
    crc.update(covered);
    crc.finalize()
}
