//! The values of the offsets topic. A value begins with its own version; the one that is written is
//! the one that Kafka 4.3 writes, so that a reader made for Kafka understands it.

use std::ops::RangeInclusive;

use bytes::Bytes;
use uuid::Uuid;

use super::RecordError;
use super::layout::{decode_all, encode_at, split_number};
use crate::primitives::{EncodeError, KafkaStr, Layout, Wire};
use crate::table::{nullable, structs};

/// A value that knows its own versions.
pub(super) trait Value: Wire {
    const NAME: &'static str;
    /// The versions that are read.
    const VERSIONS: RangeInclusive<i16>;
    const FLEXIBLE_SINCE: i16;

    /// The version that is written.
    fn version(&self) -> i16;

    fn encode(&self) -> Result<Bytes, EncodeError> {
        let version = self.version();
        encode_at(self, version, Some(Self::layout(version)))
    }

    fn decode(mut bytes: Bytes) -> Result<Self, RecordError> {
        let malformed = |error| RecordError::Value { record: Self::NAME, error };
        let version = split_number(&mut bytes).map_err(malformed)?;
        if !Self::VERSIONS.contains(&version) {
            return Err(RecordError::ValueVersion { record: Self::NAME, version });
        }
        decode_all(bytes, Some(Self::layout(version))).map_err(malformed)
    }

    fn layout(version: i16) -> Layout {
        Layout { version, flexible: version >= Self::FLEXIBLE_SINCE }
    }
}

macro_rules! values {
    ($($Name:ident $name:literal, $versions:expr, flexible since $since:literal,
        written at $written:expr;)+) => {$(
        impl Value for $Name {
            const NAME: &'static str = $name;
            const VERSIONS: RangeInclusive<i16> = $versions;
            const FLEXIBLE_SINCE: i16 = $since;

            fn version(&self) -> i16 {
                let version: fn(&Self) -> i16 = $written;
                version(self)
            }
        }
    )+};
}

values! {
    // Version 1 is the only one that has room for an expiry of its own.
    OffsetCommitValue "OffsetCommit", 0..=4, flexible since 4,
        written at |value| if value.expire_timestamp == -1 { 4 } else { 1 };
    GroupMetadataValue "GroupMetadata", 0..=4, flexible since 4, written at |_| 3;
    ConsumerGroupMetadataValue "ConsumerGroupMetadata", 0..=0, flexible since 0,
        written at |_| 0;
    ConsumerGroupPartitionMetadataValue "ConsumerGroupPartitionMetadata", 0..=0,
        flexible since 0, written at |_| 0;
    ConsumerGroupMemberMetadataValue "ConsumerGroupMemberMetadata", 0..=0, flexible since 0,
        written at |_| 0;
    ConsumerGroupTargetAssignmentMetadataValue "ConsumerGroupTargetAssignmentMetadata", 0..=0,
        flexible since 0, written at |_| 0;
    ConsumerGroupTargetAssignmentMemberValue "ConsumerGroupTargetAssignmentMember", 0..=0,
        flexible since 0, written at |_| 0;
    ConsumerGroupCurrentMemberAssignmentValue "ConsumerGroupCurrentMemberAssignment", 0..=0,
        flexible since 0, written at |_| 0;
    ConsumerGroupRegularExpressionValue "ConsumerGroupRegularExpression", 0..=0,
        flexible since 0, written at |_| 0;
}

structs! {
    /// How far a group has read in a partition.
    pub struct OffsetCommitValue {
        /// The offset of the next record to read.
        offset: i64, 0..;
        /// The leader epoch of the last record that was read, or −1.
        leader_epoch: i32 = -1, 3.., absent ignored;
        metadata: KafkaStr, 0..;
        /// When it was committed, in milliseconds since 1970.
        commit_timestamp: i64, 0..;
        /// When it is to be forgotten, in milliseconds since 1970, or −1 for the group's rule.
        expire_timestamp: i64 = -1, 1..=1, absent ignored;
        /// The topic's identity, or zero where it is not known.
        topic_id: Uuid, 4.., tag 0, absent ignored;
    }

    /// A classic group with its members.
    pub struct GroupMetadataValue {
        protocol_type: KafkaStr, 0..;
        generation: i32, 0..;
        /// The assignment strategy in use.
        protocol: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        leader: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        /// When the group entered its state, in milliseconds since 1970, or −1.
        current_state_timestamp: i64 = -1, 2.., absent ignored;
        members: Vec<MemberMetadata>, 0..;
    }

    /// A member of a classic group.
    pub struct MemberMetadata {
        member_id: KafkaStr, 0..;
        group_instance_id: Option<KafkaStr> = None, 3.., nullable 3.., absent ignored;
        client_id: KafkaStr, 0..;
        client_host: KafkaStr, 0..;
        /// Milliseconds.
        rebalance_timeout: i32, 1.., absent ignored;
        /// Milliseconds.
        session_timeout: i32, 0..;
        subscription: Bytes, 0..;
        assignment: Bytes, 0..;
    }

    /// A consumer group.
    pub struct ConsumerGroupMetadataValue {
        /// The group epoch.
        epoch: i32, 0..;
        /// A hash of the topics that the group reads; another hash calls for another assignment.
        metadata_hash: i64, 0.., tag 0;
    }

    /// The topics that a consumer group reads.
    pub struct ConsumerGroupPartitionMetadataValue {
        topics: Vec<TopicMetadata>, 0..;
    }

    /// A topic as the group last saw it.
    pub struct TopicMetadata {
        topic_id: Uuid, 0..;
        topic_name: KafkaStr, 0..;
        num_partitions: i32, 0..;
        partition_metadata: Vec<PartitionMetadata>, 0..;
    }

    /// Where the replicas of a partition are.
    pub struct PartitionMetadata {
        partition: i32, 0..;
        racks: Vec<KafkaStr>, 0..;
    }

    /// A member of a consumer group.
    pub struct ConsumerGroupMemberMetadataValue {
        instance_id: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        rack_id: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        client_id: KafkaStr, 0..;
        client_host: KafkaStr, 0..;
        subscribed_topic_names: Vec<KafkaStr>, 0..;
        subscribed_topic_regex: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        /// Milliseconds that the member may take to give partitions up.
        rebalance_timeout_ms: i32 = -1, 0..;
        server_assignor: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        /// Null for a member that speaks the consumer protocol.
        classic_member_metadata: Option<ClassicMemberMetadata> = None, 0.., nullable 0.., tag 0;
    }

    /// What is particular to a member that speaks the classic protocol.
    pub struct ClassicMemberMetadata {
        /// Milliseconds without a heartbeat after which the member is out.
        session_timeout_ms: i32, 0..;
        supported_protocols: Vec<ClassicProtocol>, 0..;
    }

    /// An assignment strategy that the member knows.
    pub struct ClassicProtocol {
        name: KafkaStr, 0..;
        metadata: Bytes, 0..;
    }

    /// The epoch of a consumer group's target assignment.
    pub struct ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: i32, 0..;
        /// When it was made, in milliseconds since 1970, or 0 where it is not known (KIP-1263).
        assignment_timestamp: i64, 0.., tag 0, absent ignored;
    }

    /// What a member is to have.
    pub struct ConsumerGroupTargetAssignmentMemberValue {
        topic_partitions: Vec<TopicPartition>, 0..;
    }

    /// Partitions of a topic.
    pub struct TopicPartition {
        topic_id: Uuid, 0..;
        partitions: Vec<i32>, 0..;
    }

    /// What a member has.
    pub struct ConsumerGroupCurrentMemberAssignmentValue {
        /// The epoch that the member is expected to state.
        member_epoch: i32, 0..;
        /// The epoch that it may state instead, in case the last answer was lost.
        previous_member_epoch: i32, 0..;
        /// Kafka's number of the member's state.
        state: i8, 0..;
        assigned_partitions: Vec<TopicPartitions>, 0..;
        /// What it is to give up, and may still be reading.
        partitions_pending_revocation: Vec<TopicPartitions>, 0..;
    }

    /// Partitions of a topic, each with the epoch at which the member got it.
    pub struct TopicPartitions {
        topic_id: Uuid, 0..;
        partitions: Vec<i32>, 0..;
        /// In the order of `partitions`; null where it is not known (KIP-1251).
        assignment_epochs: Option<Vec<i32>> = None, 0.., nullable 0.., tag 0;
    }

    /// The topics that a regular expression stands for.
    pub struct ConsumerGroupRegularExpressionValue {
        topics: Vec<KafkaStr>, 0..;
        /// The metadata's version when it was resolved.
        version: i64, 0..;
        /// When it was resolved, in milliseconds since 1970.
        timestamp: i64, 0..;
    }
}

nullable!(ClassicMemberMetadata);
