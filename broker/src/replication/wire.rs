//! Raft's messages between brokers, in a form of our own.
//!
//! All messages of one turn for one broker travel together. Entries travel as they are stored, so
//! their bodies are slices of what the leader appended on the way out, and slices of the received
//! frame on the way in; they are verified before anyone sees them.
//!
//! Integers are big-endian. A run of messages is a count (u32) and, for each message:
//!
//! | bytes | field                                                                    |
//! |------:|--------------------------------------------------------------------------|
//! |    20 | group: topic id, partition                                               |
//! |     1 | type                                                                     |
//! |     1 | flags: 1 reject, 2 with snapshot                                         |
//! |    72 | to, from, term, log term, index, commit, commit term, reject hint, request snapshot |
//! |     8 | priority                                                                 |
//! |   2+n | context                                                                  |
//! |       | with snapshot: index, term (u64), members (u32 and JSON), data (u32 and bytes) |
//! |     4 | number of entries, of which the first has index + 1; each is:            |
//! |     4 | term                                                                     |
//! |     4 | bytes of the body                                                        |
//! |    61 | header                                                                   |
//! |     n | body                                                                     |

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft::eraftpb::{Message, MessageType, Snapshot};
use thalweg_protocol::batch::HEADER_LEN;
use thalweg_storage::entry::Entry;
use thalweg_storage::votes::GroupId;
use thiserror::Error;
use uuid::Uuid;

use super::entry::{BadEntry, verify};
use super::membership::Members;
use super::outgoing::GroupMessage;

const REJECT: u8 = 1;
const WITH_SNAPSHOT: u8 = 2;
/// The least that a message takes.
const MESSAGE_BYTES_MIN: usize = 20 + 2 + 72 + 8 + 2 + 4;
const ENTRY_BYTES_MIN: usize = 8 + HEADER_LEN;

/// What brokers may say to each other about a group; everything else stays inside one.
const TYPES: [MessageType; 10] = [
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgTimeoutNow,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];

/// Why a run of messages is not taken.
#[derive(Debug, Error)]
pub(crate) enum WireError {
    /// It ends too early, or counts more than it holds.
    #[error("a run of messages is cut short")]
    Short,
    /// A message of a type that brokers do not send each other.
    #[error("message type {0} is unknown")]
    Type(u8),
    /// The members in a snapshot cannot be read.
    #[error("members in a snapshot: {0}")]
    Members(#[from] serde_json::Error),
    /// An entry is damaged or forged.
    #[error(transparent)]
    Entry(#[from] BadEntry),
}

/// Writes messages as chunks: what belongs together between bodies, and the bodies untouched.
pub(crate) fn encode(messages: &[GroupMessage]) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    let mut buffer = BytesMut::with_capacity(4 + messages.len() * (MESSAGE_BYTES_MIN + 8));
    buffer.put_u32(count(messages.len()));
    for message in messages {
        encode_message(message, &mut buffer, &mut chunks);
    }
    chunks.push(buffer.freeze());
    chunks
}

fn encode_message(message: &GroupMessage, buffer: &mut BytesMut, chunks: &mut Vec<Bytes>) {
    let GroupMessage { group, message, entries } = message;
    buffer.put_slice(group.topic.as_bytes());
    buffer.put_i32(group.partition);
    let kind = TYPES.iter().position(|kind| *kind == message.get_msg_type());
    // Raft sends nothing else over the network in this configuration; a receiver refuses 255.
    buffer.put_u8(kind.and_then(|kind| u8::try_from(kind).ok()).unwrap_or(u8::MAX));
    let snapshot = message.has_snapshot().then(|| message.get_snapshot());
    let flags = u8::from(message.reject) * REJECT + u8::from(snapshot.is_some()) * WITH_SNAPSHOT;
    buffer.put_u8(flags);
    for number in [
        message.to,
        message.from,
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        message.reject_hint,
        message.request_snapshot,
    ] {
        buffer.put_u64(number);
    }
    buffer.put_i64(message.priority);
    buffer.put_u16(u16::try_from(message.context.len()).unwrap_or(0));
    buffer.put_slice(if message.context.len() <= 0xffff { &message.context } else { &[] });
    if let Some(snapshot) = snapshot {
        let metadata = snapshot.get_metadata();
        buffer.put_u64(metadata.index);
        buffer.put_u64(metadata.term);
        let members = Members::from_raft(0, metadata.get_conf_state());
        let json = match serde_json::to_vec(&members) {
            Ok(json) => json,
            Err(error) => unreachable!("members are plain data: {error}"),
        };
        buffer.put_u32(count(json.len()));
        buffer.put_slice(&json);
        buffer.put_u32(count(snapshot.data.len()));
        buffer.put_slice(&snapshot.data);
    }
    buffer.put_u32(count(entries.len()));
    for entry in entries {
        buffer.put_u32(entry.term);
        buffer.put_u32(count(entry.body.len()));
        buffer.put_slice(&entry.header);
        chunks.push(buffer.split().freeze());
        chunks.push(entry.body.clone());
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a frame is far below 4 GiB")
}

/// Reads what [`encode`] wrote, and verifies every entry.
pub(crate) fn decode(mut bytes: Bytes) -> Result<Vec<GroupMessage>, WireError> {
    let count = checked_count(&mut bytes, MESSAGE_BYTES_MIN)?;
    let mut messages = Vec::with_capacity(count);
    for _ in 0..count {
        messages.push(decode_message(&mut bytes)?);
    }
    if bytes.has_remaining() { Err(WireError::Short) } else { Ok(messages) }
}

/// A count of things that take at least so many bytes each, checked against what is left.
fn checked_count(bytes: &mut Bytes, bytes_min: usize) -> Result<usize, WireError> {
    let count = bytes.try_get_u32().map_err(|_| WireError::Short)?;
    let count = usize::try_from(count).map_err(|_| WireError::Short)?;
    let needed = count.checked_mul(bytes_min).ok_or(WireError::Short)?;
    if needed > bytes.remaining() { Err(WireError::Short) } else { Ok(count) }
}

fn take(bytes: &mut Bytes, len: usize) -> Result<Bytes, WireError> {
    if len > bytes.remaining() { Err(WireError::Short) } else { Ok(bytes.split_to(len)) }
}

fn number(bytes: &mut Bytes) -> Result<u64, WireError> {
    bytes.try_get_u64().map_err(|_| WireError::Short)
}

fn decode_message(bytes: &mut Bytes) -> Result<GroupMessage, WireError> {
    let short = |_| WireError::Short;
    let topic = take(bytes, 16)?;
    let topic = Uuid::from_slice(&topic).map_err(|_| WireError::Short)?;
    let partition = bytes.try_get_i32().map_err(short)?;
    let kind = bytes.try_get_u8().map_err(short)?;
    let kind = *TYPES.get(usize::from(kind)).ok_or(WireError::Type(kind))?;
    let flags = bytes.try_get_u8().map_err(short)?;
    let mut message = Message::default();
    message.set_msg_type(kind);
    message.to = number(bytes)?;
    message.from = number(bytes)?;
    message.term = number(bytes)?;
    message.log_term = number(bytes)?;
    message.index = number(bytes)?;
    message.commit = number(bytes)?;
    message.commit_term = number(bytes)?;
    message.reject_hint = number(bytes)?;
    message.request_snapshot = number(bytes)?;
    message.reject = flags & REJECT != 0;
    message.priority = bytes.try_get_i64().map_err(short)?;
    let context = usize::from(bytes.try_get_u16().map_err(short)?);
    message.context = take(bytes, context)?;
    if flags & WITH_SNAPSHOT != 0 {
        message.set_snapshot(decode_snapshot(bytes)?);
    }
    let entries = decode_entries(bytes, message.index)?;
    Ok(GroupMessage { group: GroupId { topic, partition }, message, entries })
}

fn decode_snapshot(bytes: &mut Bytes) -> Result<Snapshot, WireError> {
    let mut snapshot = Snapshot::default();
    snapshot.mut_metadata().set_index(number(bytes)?);
    snapshot.mut_metadata().set_term(number(bytes)?);
    let len = checked_count(bytes, 1)?;
    let members: Members = serde_json::from_slice(&take(bytes, len)?)?;
    snapshot.mut_metadata().set_conf_state(members.to_raft());
    let len = checked_count(bytes, 1)?;
    snapshot.set_data(take(bytes, len)?);
    Ok(snapshot)
}

fn decode_entries(bytes: &mut Bytes, index_before: u64) -> Result<Vec<Entry>, WireError> {
    let count = checked_count(bytes, ENTRY_BYTES_MIN)?;
    let mut entries = Vec::with_capacity(count);
    let mut index = index_before;
    for _ in 0..count {
        index = index.checked_add(1).ok_or(WireError::Short)?;
        let term = bytes.try_get_u32().map_err(|_| WireError::Short)?;
        let body = bytes.try_get_u32().map_err(|_| WireError::Short)?;
        let header = take(bytes, HEADER_LEN)?;
        let body = take(bytes, usize::try_from(body).map_err(|_| WireError::Short)?)?;
        let entry = Entry { index, term, header, body };
        verify(&entry)?;
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: MessageType, entries: Vec<Entry>) -> GroupMessage {
        let mut message = Message::default();
        message.set_msg_type(kind);
        (message.to, message.from, message.term) = (2, 3, 9);
        (message.log_term, message.index, message.commit) = (8, 41, 40);
        (message.commit_term, message.reject_hint, message.request_snapshot) = (7, 6, 5);
        (message.reject, message.priority) = (true, -4);
        message.context = Bytes::from_static(b"context");
        if kind == MessageType::MsgSnapshot {
            let mut snapshot = Snapshot::default();
            snapshot.mut_metadata().set_index(12);
            snapshot.mut_metadata().set_term(3);
            snapshot.mut_metadata().set_conf_state(Members::of_voters([1, 2, 5]).to_raft());
            snapshot.set_data(Bytes::from_static(b"state"));
            message.set_snapshot(snapshot);
        }
        let group = GroupId { topic: Uuid::from_u128(77), partition: 4 };
        GroupMessage { group, message, entries }
    }

    fn some_messages() -> Vec<GroupMessage> {
        let entries =
            vec![Entry::internal(42, 9, 100, 1, b""), Entry::internal(43, 9, 100, 4, b"a command")];
        let mut messages: Vec<_> = TYPES.iter().map(|kind| message(*kind, Vec::new())).collect();
        messages.push(message(MessageType::MsgAppend, entries));
        messages
    }

    fn encoded(messages: &[GroupMessage]) -> Bytes {
        Bytes::from(encode(messages).concat())
    }

    #[test]
    fn messages_come_back_as_they_were() {
        let messages = some_messages();
        let back = decode(encoded(&messages)).expect("what was encoded can be decoded");
        assert_eq!(back.len(), messages.len());
        for (back, sent) in back.iter().zip(&messages) {
            assert_eq!((back.group, &back.message), (sent.group, &sent.message));
            assert_eq!(back.entries, sent.entries);
        }
    }

    #[test]
    fn bodies_are_not_copied() {
        let body = Entry::internal(42, 9, 100, 4, b"a command");
        let at = body.body.as_ptr();
        let chunks = encode(&[message(MessageType::MsgAppend, vec![body])]);
        assert!(chunks.iter().any(|chunk| chunk.as_ptr() == at));
    }

    #[test]
    fn whatever_is_cut_short_is_refused() {
        let whole = encoded(&some_messages());
        for len in 0..whole.len() {
            assert!(decode(whole.slice(..len)).is_err(), "{len} bytes of {}", whole.len());
        }
        let longer = Bytes::from([&whole[..], b"x"].concat());
        assert!(decode(longer).is_err());
    }

    #[test]
    fn forged_counts_and_entries_are_refused_and_no_byte_makes_it_panic() {
        let whole = encoded(&some_messages());
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut forged = whole.to_vec();
                forged[at] = value;
                let _ = decode(Bytes::from(forged));
            }
        }
        let mut entry = Entry::internal(42, 9, 100, 4, b"a command");
        entry.term = 8;
        let forged = encoded(&[message(MessageType::MsgAppend, vec![entry])]);
        assert!(matches!(decode(forged), Err(WireError::Entry(_))));
    }
}
