//! OffsetCommit (key 8), versions 2–10.
//!
//! Stores how far a group has read. A commit without a group's membership has generation −1 and an
//! empty member id. From version 10 topics go by id instead of name.

use uuid::Uuid;

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Offsets to store for a group.
    pub struct OffsetCommitRequest (OffsetCommit, versions 2..=10, flexible since 8) {
        group_id: KafkaStr, 0..;
        generation_id_or_member_epoch: i32 = -1, 1.., absent ignored;
        member_id: KafkaStr, 1.., absent ignored;
        /// The static member's own name, or null for a dynamic member (KIP-345).
        group_instance_id: Option<KafkaStr> = None, 7.., nullable 7..;
        /// No longer heeded: offsets expire by the broker's config.
        retention_time_ms: i64 = -1, 2..=4, absent ignored;
        topics: Vec<OffsetCommitRequestTopic>, 0..;
    }

    /// Offsets in one topic.
    pub struct OffsetCommitRequestTopic {
        name: KafkaStr, 0..=9, absent ignored;
        topic_id: Uuid, 10.., absent ignored;
        partitions: Vec<OffsetCommitRequestPartition>, 0..;
    }

    /// The offset in one partition.
    pub struct OffsetCommitRequestPartition {
        partition_index: i32, 0..;
        /// The offset of the next record to read.
        committed_offset: i64, 0..;
        /// The epoch of the last record read, or −1.
        committed_leader_epoch: i32 = -1, 6.., absent ignored;
        /// The client's own note, given back as it is.
        committed_metadata: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
    }
}

message! {
    /// The outcome of each partition.
    pub struct OffsetCommitResponse (OffsetCommit, versions 2..=10, flexible since 8) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 3.., absent ignored;
        topics: Vec<OffsetCommitResponseTopic>, 0..;
    }

    /// The outcome in one topic.
    pub struct OffsetCommitResponseTopic {
        name: KafkaStr, 0..=9, absent ignored;
        topic_id: Uuid, 10.., absent ignored;
        partitions: Vec<OffsetCommitResponsePartition>, 0..;
    }

    /// The outcome in one partition.
    pub struct OffsetCommitResponsePartition {
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }
}
