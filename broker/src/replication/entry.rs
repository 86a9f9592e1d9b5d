//! Raft's entries as the log keeps them, and back.
//!
//! A record batch travels through Raft in two parts, neither of them copied: the patched 61-byte
//! header as the entry's context, the untouched body as its data. An entry without context is
//! Raft's own or a command of ours, and is framed as an internal batch.

use bytes::Bytes;
use raft::eraftpb::EntryType;
use thalweg_protocol::batch::BatchHeader;
use thalweg_storage::entry::Entry;

/// What an internal entry of the log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Internal {
    /// The first entry of a leader's term.
    Blank,
    /// A membership change, in Raft's own form.
    ConfChange(Bytes),
    /// A command for the state machine on top of the group.
    Command(Bytes),
}

const KIND_BLANK: u8 = 1;
const KIND_CONF_CHANGE: u8 = 2;
const KIND_CONF_CHANGE_V2: u8 = 3;
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
            KIND_CONF_CHANGE | KIND_CONF_CHANGE_V2 => Internal::ConfChange(body.payload),
            KIND_COMMAND => Internal::Command(body.payload),
            kind => {
                panic!("entry {} has kind {kind}, which this version does not know", body.index)
            }
        })
    }
}

/// The log's form of what Raft wants written. `next_offset` is the log end before the entry.
pub(super) fn to_stored(entry: raft::eraftpb::Entry, next_offset: i64) -> Entry {
    let term = u32::try_from(entry.term).expect("terms stay below 2^31: they are leader epochs");
    if !entry.context.is_empty() {
        return Entry { index: entry.index, term, header: entry.context, body: entry.data };
    }
    let kind = match entry.get_entry_type() {
        EntryType::EntryConfChange => KIND_CONF_CHANGE,
        EntryType::EntryConfChangeV2 => KIND_CONF_CHANGE_V2,
        EntryType::EntryNormal if entry.data.is_empty() => KIND_BLANK,
        EntryType::EntryNormal => KIND_COMMAND,
    };
    Entry::internal(entry.index, term, next_offset, kind, &entry.data)
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
        for (raft, expected) in [
            (entry(EntryType::EntryNormal, b""), Internal::Blank),
            (entry(EntryType::EntryNormal, b"x"), Internal::Command(Bytes::from_static(b"x"))),
            (
                entry(EntryType::EntryConfChangeV2, b"c"),
                Internal::ConfChange(Bytes::from_static(b"c")),
            ),
        ] {
            let stored = to_stored(raft, 55);
            assert_eq!((stored.index, stored.term), (7, 3));
            assert_eq!(offset_after(&stored, 55), 55, "internal entries own no offset");
            assert_eq!(Internal::of(&stored), Some(expected));
        }
    }
}
