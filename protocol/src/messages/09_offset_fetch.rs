//! OffsetFetch (key 9), versions 1–10.
//!
//! How far groups have read. An unknown group is no error: its offsets are −1. Up to version 7 one
//! group a request; from version 8 many (KIP-709); from version 10 topics go by id instead of name.

use uuid::Uuid;

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// The partitions of interest.
    pub struct OffsetFetchRequest (OffsetFetch, versions 1..=10, flexible since 6) {
        group_id: KafkaStr, 0..=7;
        /// Null for all that the group has offsets of.
        topics: Option<Vec<OffsetFetchRequestTopic>> = Some(Vec::new()), 0..=7, nullable 2..=7;
        groups: Vec<OffsetFetchRequestGroup>, 8..;
        /// Refuse partitions with undecided transactional offsets (KIP-447).
        require_stable: bool, 7..;
    }

    /// The partitions of one topic.
    pub struct OffsetFetchRequestTopic {
        name: KafkaStr, 0..=7;
        partition_indexes: Vec<i32>, 0..=7;
    }

    /// The partitions of interest for one group.
    pub struct OffsetFetchRequestGroup {
        group_id: KafkaStr, 8..;
        member_id: Option<KafkaStr> = None, 9.., nullable 9.., absent ignored;
        member_epoch: i32 = -1, 9.., absent ignored;
        /// Null for all that the group has offsets of.
        topics: Option<Vec<OffsetFetchRequestTopics>> = Some(Vec::new()), 8.., nullable 8..;
    }

    /// The partitions of one topic.
    pub struct OffsetFetchRequestTopics {
        name: KafkaStr, 8..=9, absent ignored;
        topic_id: Uuid, 10.., absent ignored;
        partition_indexes: Vec<i32>, 8..;
    }
}

message! {
    /// The offsets: in the message itself up to version 7, by group from version 8.
    pub struct OffsetFetchResponse (OffsetFetch, versions 1..=10, flexible since 6) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 3.., absent ignored;
        topics: Vec<OffsetFetchResponseTopic>, 0..=7;
        error_code: i16, 2..=7, absent ignored;
        groups: Vec<OffsetFetchResponseGroup>, 8..;
    }

    /// The offsets in one topic.
    pub struct OffsetFetchResponseTopic {
        name: KafkaStr, 0..=7;
        partitions: Vec<OffsetFetchResponsePartition>, 0..=7;
    }

    /// The offset in one partition.
    pub struct OffsetFetchResponsePartition {
        partition_index: i32, 0..=7;
        /// The offset of the next record to read, or −1.
        committed_offset: i64, 0..=7;
        committed_leader_epoch: i32 = -1, 5..=7, absent ignored;
        metadata: Option<KafkaStr> = Some(KafkaStr::default()), 0..=7, nullable 0..=7;
        error_code: i16, 0..=7;
    }

    /// The offsets of one group.
    pub struct OffsetFetchResponseGroup {
        group_id: KafkaStr, 8..;
        topics: Vec<OffsetFetchResponseTopics>, 8..;
        error_code: i16, 8..;
    }

    /// The offsets in one topic.
    pub struct OffsetFetchResponseTopics {
        name: KafkaStr, 8..=9, absent ignored;
        topic_id: Uuid, 10.., absent ignored;
        partitions: Vec<OffsetFetchResponsePartitions>, 8..;
    }

    /// The offset in one partition.
    pub struct OffsetFetchResponsePartitions {
        partition_index: i32, 8..;
        /// The offset of the next record to read, or −1.
        committed_offset: i64, 8..;
        committed_leader_epoch: i32 = -1, 8.., absent ignored;
        metadata: Option<KafkaStr> = Some(KafkaStr::default()), 8.., nullable 8..;
        error_code: i16, 8..;
    }
}
