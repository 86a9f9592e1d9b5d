//! Raft's entries as the log keeps them, and back.
//!
//! A record batch travels through Raft in two parts, neither of them copied: the patched 61-byte
//! header as the entry's context, the untouched body as its data. So does every entry that another
//! broker sent, whatever it is: what is stored is what the leader stored, byte for byte. An entry
//! without context is Raft's own or a command of ours, and is framed as an internal batch here.

use bytes::Bytes;
use raft::eraftpb::EntryType;
use thalweg_protocol::batch::{BatchHeader, CRC_START, HEADER_LEN};
use thalweg_storage::entry::Entry;
use thiserror::Error;

use super::membership::MemberChange;

/// What an internal entry of the log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Internal {
    /// The first entry of a leader's term.
    Blank,
    /// A change of members (see [`MemberChange`]); without one, the end of joint consensus.
    ConfChange(Bytes),
    /// A command for the state machine on top of the group.
    Command(Bytes),
}

const KIND_BLANK: u8 = 1;
const KIND_MEMBERS: u8 = 3;
const KIND_COMMAND: u8 = 4;

impl Internal {
    /// What `entry` holds, or `None` if it is a record batch.
    ///
    /// # Panics
    /// If the kind is none of ours: the log vouches for the bytes, so a newer version wrote them.
    pub(crate) fn of(entry: &Entry) -> Option<Internal> {
        let body = entry.internal_body()?;
        Some(match body.kind {
            KIND_BLANK => Internal::Blank,
            KIND_MEMBERS => Internal::ConfChange(body.payload),
            KIND_COMMAND => Internal::Command(body.payload),
            kind => {
                panic!("entry {} has kind {kind}, which this version does not know", body.index)
            }
        })
    }
}

/// The log's form of what Raft wants written. `next_offset` is the log end before the entry;
/// `change` says what is proposed if it is a change of members (the end of joint consensus changes
/// nothing).
pub(super) fn to_stored(
    entry: raft::eraftpb::Entry,
    next_offset: i64,
    change: &MemberChange,
) -> Entry {
    let term = u32::try_from(entry.term).expect("terms stay below 2^31: they are leader epochs");
    // A batch, or what another broker has framed already.
    if !entry.context.is_empty() {
        return Entry { index: entry.index, term, header: entry.context, body: entry.data };
    }
    let (kind, payload) = match entry.get_entry_type() {
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            (KIND_MEMBERS, change.encode())
        }
        EntryType::EntryNormal if entry.data.is_empty() => (KIND_BLANK, Bytes::new()),
        EntryType::EntryNormal => (KIND_COMMAND, entry.data),
    };
    Entry::internal(entry.index, term, next_offset, kind, &payload)
}

/// What an entry of the log is to Raft.
pub(super) fn raft_type(entry: &Entry) -> EntryType {
    match entry.internal_body() {
        Some(body) if body.kind == KIND_MEMBERS => EntryType::EntryConfChangeV2,
        Some(_) | None => EntryType::EntryNormal,
    }
}

/// What another broker sent, for Raft.
pub(super) fn from_stored(entry: Entry) -> raft::eraftpb::Entry {
    let mut raft = raft::eraftpb::Entry::default();
    raft.set_entry_type(raft_type(&entry));
    raft.set_index(entry.index);
    raft.set_term(u64::from(entry.term));
    raft.context = entry.header;
    raft.data = entry.body;
    raft
}

/// Why an entry that another broker sent is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("entry {index} of another broker is not what it says it is: {what}")]
pub(crate) struct BadEntry {
    pub(crate) index: u64,
    pub(crate) what: &'static str,
}

/// Checks everything that an entry says of itself.
pub(crate) fn verify(entry: &Entry) -> Result<(), BadEntry> {
    let index = entry.index;
    let refuse = |what| Err(BadEntry { index, what });
    let Ok(header) = BatchHeader::parse(&entry.header) else { return refuse("header") };
    if entry.header.len() != HEADER_LEN || header.size() != HEADER_LEN + entry.body.len() {
        return refuse("size");
    }
    if i64::from(header.partition_leader_epoch) != i64::from(entry.term) {
        return refuse("epoch");
    }
    let mut crc = thalweg_protocol::batch::Crc32c::new();
    crc.update(entry.header.get(CRC_START..).unwrap_or_default());
    crc.update(&entry.body);
    if crc.finish() != header.crc {
        return refuse("checksum");
    }
    if header.attributes.is_internal() {
        let known = entry.internal_body().is_some_and(|body| {
            (body.index, body.term) == (index, entry.term)
                && [KIND_BLANK, KIND_MEMBERS, KIND_COMMAND].contains(&body.kind)
        });
        return if known { Ok(()) } else { refuse("internal body") };
    }
    Ok(())
}

/// The first offset after a stored entry whose predecessor ended at `next_offset`.
pub(super) fn offset_after(entry: &Entry, next_offset: i64) -> i64 {
    match BatchHeader::parse(&entry.header) {
        Ok(header) if !header.attributes.is_internal() => header.next_offset(),
        _ => next_offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: EntryType, data: &'static [u8]) -> raft::eraftpb::Entry {
        let mut entry = raft::eraftpb::Entry::default();
        entry.set_index(7);
        entry.set_term(3);
        entry.set_entry_type(kind);
        entry.data = Bytes::from_static(data);
        entry
    }

    #[test]
    fn raft_entries_come_back_as_what_they_were() {
        let change = MemberChange { voters: vec![4], ..MemberChange::default() };
        for (raft, expected) in [
            (entry(EntryType::EntryNormal, b""), Internal::Blank),
            (entry(EntryType::EntryNormal, b"x"), Internal::Command(Bytes::from_static(b"x"))),
            (
                entry(EntryType::EntryConfChangeV2, b"Raft's own form"),
                Internal::ConfChange(change.encode()),
            ),
        ] {
            let kind = raft.get_entry_type();
            let stored = to_stored(raft, 55, &change);
            assert_eq!((stored.index, stored.term), (7, 3));
            assert_eq!(offset_after(&stored, 55), 55, "internal entries own no offset");
            assert_eq!(Internal::of(&stored), Some(expected));
            assert_eq!(verify(&stored), Ok(()));
            let raft = from_stored(stored.clone());
            assert_eq!(raft.get_entry_type(), kind);
            assert_eq!(
                to_stored(raft, 99, &MemberChange::default()),
                stored,
                "a follower stores what the leader stored"
            );
        }
    }

    #[test]
    fn no_byte_of_an_entry_can_change_unseen() {
        let good =
            to_stored(entry(EntryType::EntryNormal, b"command"), 55, &MemberChange::default());
        for part in 0..2 {
            let len = if part == 0 { good.header.len() } else { good.body.len() };
            for at in 0..len {
                let mut bad = good.clone();
                let bytes = if part == 0 { &mut bad.header } else { &mut bad.body };
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 0x10;
                *bytes = flipped.into();
                // The base offset is vouched for by the ledger and by the entry's neighbours.
                let unseen = part == 0 && at < 8;
                assert_eq!(verify(&bad).is_ok(), unseen, "part {part}, byte {at}");
            }
        }
    }
}
