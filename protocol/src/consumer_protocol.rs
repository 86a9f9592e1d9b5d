//! What the members of a classic consumer group tell each other: their subscriptions, which the
//! leader reads, and the assignments that it makes. To the broker both are bytes inside JoinGroup
//! and SyncGroup; Kafka calls the format the consumer embedded protocol.
//!
//! Each is preceded by its version. No version is flexible: newer ones only append fields, so one
//! that is too new is read as the newest we know, as every client does.

use bytes::Bytes;

use crate::primitives::{
    Chunks, DecodeError, EncodeError, KafkaStr, Layout, Measure, Reader, Wire,
};
use crate::table::structs;

/// The newest version of both that we know.
pub const CONSUMER_PROTOCOL_VERSION_MAX: i16 = 3;

structs! {
    /// What a member wants, and what it has.
    pub struct ConsumerProtocolSubscription {
        topics: Vec<KafkaStr>, 0..;
        /// Whatever the assignor wants to remember between rebalances.
        user_data: Option<Bytes> = None, 0.., nullable 0..;
        /// The partitions that the member keeps through the rebalance (KIP-429).
        owned_partitions: Vec<ConsumerProtocolTopic>, 1.., absent ignored;
        /// The generation in which it was given them, or −1 (KIP-792).
        generation_id: i32 = -1, 2.., absent ignored;
        /// Where the member stands (KIP-881).
        rack_id: Option<KafkaStr> = None, 3.., nullable 3.., absent ignored;
    }

    /// Partitions of one topic.
    pub struct ConsumerProtocolTopic {
        topic: KafkaStr, 0..;
        partitions: Vec<i32>, 0..;
    }

    /// What a member gets.
    pub struct ConsumerProtocolAssignment {
        assigned_partitions: Vec<ConsumerProtocolTopic>, 0..;
        user_data: Option<Bytes> = None, 0.., nullable 0..;
    }
}

impl ConsumerProtocolSubscription {
    /// Reads a subscription with its version.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        read(bytes)
    }

    /// Writes the subscription, preceded by `version`; what that does not have is dropped.
    pub fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
        write(self, version)
    }
}

impl ConsumerProtocolAssignment {
    /// Reads an assignment with its version.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        read(bytes)
    }

    /// Writes the assignment, preceded by `version`.
    pub fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
        write(self, version)
    }
}

fn layout(version: i16) -> Layout {
    Layout { version: version.min(CONSUMER_PROTOCOL_VERSION_MAX), flexible: false }
}

fn read<T: Wire>(bytes: Bytes) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = i16::from_be_bytes(reader.array()?);
    if version < 0 {
        return Err(DecodeError::UnsupportedVersion(version));
    }
    T::read(&mut reader, layout(version))
}

fn write<T: Wire>(value: &T, version: i16) -> Result<Bytes, EncodeError> {
    if !(0..=CONSUMER_PROTOCOL_VERSION_MAX).contains(&version) {
        return Err(EncodeError::UnsupportedVersion(version));
    }
    let layout = layout(version);
    let mut measure = Measure::default();
    version.write(&mut measure, layout)?;
    value.write(&mut measure, layout)?;
    let mut chunks = Chunks::for_measured(&measure);
    version.write(&mut chunks, layout)?;
    value.write(&mut chunks, layout)?;
    Ok(chunks.into_buffers().concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription() -> ConsumerProtocolSubscription {
        let owned = ConsumerProtocolTopic {
            topic: "a".into(),
            partitions: vec![0, 7],
            ..ConsumerProtocolTopic::default()
        };
        ConsumerProtocolSubscription {
            topics: vec!["a".into(), "b".into()],
            user_data: Some(Bytes::from_static(b"note")),
            owned_partitions: vec![owned],
            generation_id: 5,
            rack_id: Some("here".into()),
            ..ConsumerProtocolSubscription::default()
        }
    }

    #[test]
    fn subscriptions_survive_at_every_version_and_older_ones_drop_what_they_lack() {
        let full = subscription();
        let round_trip =
            |version| ConsumerProtocolSubscription::decode(full.encode(version).unwrap()).unwrap();
        assert_eq!(round_trip(3), full);
        let mut older = full.clone();
        older.rack_id = None;
        assert_eq!(round_trip(2), older);
        older.generation_id = -1;
        assert_eq!(round_trip(1), older);
        older.owned_partitions.clear();
        assert_eq!(round_trip(0), older);
        assert_eq!(full.encode(4), Err(EncodeError::UnsupportedVersion(4)));
    }

    #[test]
    fn the_bytes_are_those_of_java() {
        let subscription = ConsumerProtocolSubscription {
            topics: vec!["t".into()],
            ..ConsumerProtocolSubscription::default()
        };
        let expected: &[u8] = b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(subscription.encode(1).unwrap(), expected);
    }

    #[test]
    fn a_version_that_is_too_new_is_read_as_far_as_we_know_it() {
        let mut bytes = subscription().encode(3).unwrap().to_vec();
        bytes[1] = 9;
        bytes.extend(b"and more");
        assert_eq!(ConsumerProtocolSubscription::decode(bytes.into()).unwrap(), subscription());
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let bytes = subscription().encode(3).unwrap();
        for len in 0..bytes.len() {
            let cut = bytes.slice(..len);
            assert!(ConsumerProtocolSubscription::decode(cut).is_err(), "at {len}");
        }
        let negative = Bytes::from_static(b"\xff\xff\0\0\0\0\0\0\0\0");
        assert!(ConsumerProtocolAssignment::decode(negative).is_err());
    }
}
