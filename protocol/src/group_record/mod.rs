//! The records of the offsets topic, `__consumer_offsets`, in Kafka's own formats: what group
//! coordinators write, and what lag exporters made for Kafka read. Source: the schemas in Kafka's
//! `group-coordinator/src/main/resources/common/message`.
//!
//! ```text
//! key    i16 kind of record, then the key's fields
//! value  i16 version, then the fields at that version; or null, which deletes the key's record
//! ```
//!
//! They stand beside the messages because both are tables of fields for one macro. A decoded record
//! holds slices of what it was decoded from: state that lasts takes
//! [`detached`](crate::KafkaStr::detached) copies.

mod key;
mod layout;
mod value;

use bytes::Bytes;
use thiserror::Error;

pub use key::*;
pub use value::*;

use crate::primitives::{DecodeError, EncodeError};
use key::Key;
use layout::split_number;
use value::Value;

/// Why a key or value is not the record it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A key of fewer than two bytes.
    #[error("the key does not tell the kind of record: {0}")]
    Kind(DecodeError),
    /// A key whose fields are not those of its kind.
    #[error("malformed key of a {record} record: {error}")]
    Key {
        /// Kafka's name of the record.
        record: &'static str,
        /// What is wrong.
        error: DecodeError,
    },
    /// A value whose fields are not those of its version.
    #[error("malformed value of a {record} record: {error}")]
    Value {
        /// Kafka's name of the record.
        record: &'static str,
        /// What is wrong.
        error: DecodeError,
    },
    /// A value younger than this software.
    #[error("version {version} of the value of a {record} record is not supported")]
    ValueVersion {
        /// Kafka's name of the record.
        record: &'static str,
        /// The version that the value has.
        version: i16,
    },
}

macro_rules! records {
    ($($(#[$doc:meta])* $Record:ident($Key:ident, $Value:ident) of $($group:tt).+;)+) => {
        /// A record of the offsets topic: a key, and a value unless it deletes what the key names.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Record {
            $($(#[$doc])* $Record($Key, Option<$Value>),)+
        }

        impl Record {
            /// The group that the record is about.
            pub fn group_id(&self) -> &crate::KafkaStr {
                match self {
                    $(Record::$Record(key, _) => &key.$($group).+,)+
                }
            }

            /// Whether the record deletes what its key names.
            pub fn is_tombstone(&self) -> bool {
                match self {
                    $(Record::$Record(_, value) => value.is_none(),)+
                }
            }

            /// The key as it is written.
            pub fn key_bytes(&self) -> Result<Bytes, EncodeError> {
                match self {
                    $(Record::$Record(key, _) => key.encode(),)+
                }
            }

            /// The value as it is written; `None` is a tombstone's null.
            pub fn value_bytes(&self) -> Result<Option<Bytes>, EncodeError> {
                match self {
                    $(Record::$Record(_, value) => {
                        value.as_ref().map(Value::encode).transpose()
                    })+
                }
            }

            /// Reads a record. `Ok(None)` is one of a kind that this software does not know, such
            /// as those of share groups; Kafka passes over these, and so should its reader.
            pub fn parse(
                mut key: Bytes,
                value: Option<Bytes>,
            ) -> Result<Option<Self>, RecordError> {
                let kind = split_number(&mut key).map_err(RecordError::Kind)?;
                match kind {
                    // Before Kafka 0.9 offsets had another number, and the same fields.
                    0 => Self::read(key, value, Record::OffsetCommit),
                    $($Key::KIND => Self::read(key, value, Record::$Record),)+
                    _ => Ok(None),
                }
            }
        }
    };
}

records! {
    /// How far a group has read in a partition.
    OffsetCommit(OffsetCommitKey, OffsetCommitValue) of group;
    /// A classic group with its members.
    GroupMetadata(GroupMetadataKey, GroupMetadataValue) of group;
    /// A consumer group's epoch.
    ConsumerGroupMetadata(ConsumerGroupMetadataKey, ConsumerGroupMetadataValue) of group_id;
    /// The topics a consumer group reads, as Kafka wrote them up to 4.0.
    ConsumerGroupPartitionMetadata(
        ConsumerGroupPartitionMetadataKey,
        ConsumerGroupPartitionMetadataValue
    ) of group_id;
    /// A member of a consumer group.
    ConsumerGroupMemberMetadata(
        ConsumerGroupMemberMetadataKey,
        ConsumerGroupMemberMetadataValue
    ) of group_id;
    /// The epoch of a consumer group's target assignment.
    ConsumerGroupTargetAssignmentMetadata(
        ConsumerGroupTargetAssignmentMetadataKey,
        ConsumerGroupTargetAssignmentMetadataValue
    ) of group_id;
    /// What a member is to have.
    ConsumerGroupTargetAssignmentMember(
        ConsumerGroupTargetAssignmentMemberKey,
        ConsumerGroupTargetAssignmentMemberValue
    ) of group_id;
    /// What a member has.
    ConsumerGroupCurrentMemberAssignment(
        ConsumerGroupCurrentMemberAssignmentKey,
        ConsumerGroupCurrentMemberAssignmentValue
    ) of group_id;
    /// The topics that a regular expression stands for.
    ConsumerGroupRegularExpression(
        ConsumerGroupRegularExpressionKey,
        ConsumerGroupRegularExpressionValue
    ) of group_id;
}

impl Record {
    fn read<K: Key, V: Value>(
        key: Bytes,
        value: Option<Bytes>,
        record: impl FnOnce(K, Option<V>) -> Record,
    ) -> Result<Option<Record>, RecordError> {
        let key = K::decode(key)?;
        let value = value.map(V::decode).transpose()?;
        Ok(Some(record(key, value)))
    }
}
