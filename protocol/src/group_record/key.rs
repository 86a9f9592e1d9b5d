//! The keys of the offsets topic. A key begins with the number of its kind; no key is flexible, so
//! two keys of the same thing are the same bytes, which compaction relies on.

use bytes::Bytes;

use super::RecordError;
use super::layout::{decode_all, encode_at};
use crate::primitives::{EncodeError, KafkaStr, Wire};
use crate::table::structs;

/// A key that knows its own kind.
pub(super) trait Key: Wire {
    /// The number that the key begins with, and Kafka's name of the record.
    const KIND: i16;
    const NAME: &'static str;

    fn encode(&self) -> Result<Bytes, EncodeError> {
        encode_at(self, Self::KIND, None)
    }

    fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        decode_all(bytes, None).map_err(|error| RecordError::Key { record: Self::NAME, error })
    }
}

macro_rules! keys {
    ($($kind:literal $Name:ident $name:literal;)+) => {$(
        impl Key for $Name {
            const KIND: i16 = $kind;
            const NAME: &'static str = $name;
        }
    )+};
}

keys! {
    1 OffsetCommitKey "OffsetCommit";
    2 GroupMetadataKey "GroupMetadata";
    3 ConsumerGroupMetadataKey "ConsumerGroupMetadata";
    4 ConsumerGroupPartitionMetadataKey "ConsumerGroupPartitionMetadata";
    5 ConsumerGroupMemberMetadataKey "ConsumerGroupMemberMetadata";
    6 ConsumerGroupTargetAssignmentMetadataKey "ConsumerGroupTargetAssignmentMetadata";
    7 ConsumerGroupTargetAssignmentMemberKey "ConsumerGroupTargetAssignmentMember";
    8 ConsumerGroupCurrentMemberAssignmentKey "ConsumerGroupCurrentMemberAssignment";
    16 ConsumerGroupRegularExpressionKey "ConsumerGroupRegularExpression";
}

structs! {
    /// How far a group has read in a partition.
    pub struct OffsetCommitKey {
        group: KafkaStr, 0..;
        topic: KafkaStr, 0..;
        partition: i32, 0..;
    }

    /// A classic group with its members.
    pub struct GroupMetadataKey {
        group: KafkaStr, 0..;
    }

    /// A consumer group (KIP-848).
    pub struct ConsumerGroupMetadataKey {
        group_id: KafkaStr, 0..;
    }

    /// The topics a consumer group reads, as Kafka wrote them up to 4.0.
    pub struct ConsumerGroupPartitionMetadataKey {
        group_id: KafkaStr, 0..;
    }

    /// A member of a consumer group.
    pub struct ConsumerGroupMemberMetadataKey {
        group_id: KafkaStr, 0..;
        member_id: KafkaStr, 0..;
    }

    /// The epoch of a consumer group's target assignment.
    pub struct ConsumerGroupTargetAssignmentMetadataKey {
        group_id: KafkaStr, 0..;
    }

    /// What a member is to have.
    pub struct ConsumerGroupTargetAssignmentMemberKey {
        group_id: KafkaStr, 0..;
        member_id: KafkaStr, 0..;
    }

    /// What a member has.
    pub struct ConsumerGroupCurrentMemberAssignmentKey {
        group_id: KafkaStr, 0..;
        member_id: KafkaStr, 0..;
    }

    /// The topics that a regular expression stands for.
    pub struct ConsumerGroupRegularExpressionKey {
        group_id: KafkaStr, 0..;
        regular_expression: KafkaStr, 0..;
    }
}
