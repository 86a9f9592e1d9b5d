//! DescribeTopicPartitions (key 75), version 0.
//!
//! Metadata for admin tools, a page at a time, with the replicas eligible to lead (KIP-966).

use uuid::Uuid;

use crate::primitives::KafkaStr;
use crate::table::{message, nullable};

message! {
    /// The topics to describe, and where the page begins.
    pub struct DescribeTopicPartitionsRequest
        (DescribeTopicPartitions, versions 0..=0, flexible since 0) {
        /// Empty for all.
        topics: Vec<TopicRequest>, 0..;
        response_partition_limit: i32 = 2000, 0..;
        /// The partition that the next page begins with.
        cursor: Option<Cursor> = None, 0.., nullable 0..;
    }

    /// A topic by name.
    pub struct TopicRequest {
        name: KafkaStr, 0..;
    }

    /// The partition that the next page begins with.
    pub struct Cursor {
        topic_name: KafkaStr, 0..;
        partition_index: i32, 0..;
    }
}

nullable!(Cursor);

message! {
    /// One page.
    pub struct DescribeTopicPartitionsResponse
        (DescribeTopicPartitions, versions 0..=0, flexible since 0) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0.., absent ignored;
        topics: Vec<DescribeTopicPartitionsResponseTopic>, 0..;
        /// Null on the last page.
        next_cursor: Option<Cursor> = None, 0.., nullable 0..;
    }

    /// A topic, or why it cannot be described.
    pub struct DescribeTopicPartitionsResponseTopic {
        error_code: i16, 0..;
        name: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        topic_id: Uuid, 0.., absent ignored;
        is_internal: bool, 0.., absent ignored;
        partitions: Vec<DescribeTopicPartitionsResponsePartition>, 0..;
        /// A bit for each operation the client may do, or `i32::MIN` when not asked.
        topic_authorized_operations: i32 = i32::MIN, 0..;
    }

    /// A partition, or why it cannot be described.
    pub struct DescribeTopicPartitionsResponsePartition {
        error_code: i16, 0..;
        partition_index: i32, 0..;
        leader_id: i32, 0..;
        leader_epoch: i32 = -1, 0.., absent ignored;
        replica_nodes: Vec<i32>, 0..;
        isr_nodes: Vec<i32>, 0..;
        eligible_leader_replicas: Option<Vec<i32>> = None, 0.., nullable 0..;
        last_known_elr: Option<Vec<i32>> = None, 0.., nullable 0..;
        offline_replicas: Vec<i32>, 0.., absent ignored;
    }
}
