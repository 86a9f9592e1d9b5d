//! DescribeProducers (key 61), version 0.
//!
//! The idempotent and transactional producers that a partition's leader remembers (KIP-664).

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Partitions to describe.
    pub struct DescribeProducersRequest (DescribeProducers, versions 0..=0, flexible since 0) {
        topics: Vec<TopicRequest>, 0..;
    }

    /// Partitions of one topic.
    pub struct TopicRequest {
        name: KafkaStr, 0..;
        partition_indexes: Vec<i32>, 0..;
    }
}

message! {
    /// The producers of each partition.
    pub struct DescribeProducersResponse (DescribeProducers, versions 0..=0, flexible since 0) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        topics: Vec<TopicResponse>, 0..;
    }

    /// The producers of one topic.
    pub struct TopicResponse {
        name: KafkaStr, 0..;
        partitions: Vec<PartitionResponse>, 0..;
    }

    /// The producers of one partition.
    pub struct PartitionResponse {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = None, 0.., nullable 0..;
        active_producers: Vec<ProducerState>, 0..;
    }

    /// What the partition remembers of one producer.
    pub struct ProducerState {
        producer_id: i64, 0..;
        producer_epoch: i32, 0..;
        last_sequence: i32 = -1, 0..;
        last_timestamp: i64 = -1, 0..;
        coordinator_epoch: i32, 0..;
        /// Where its open transaction begins here, or −1.
        current_txn_start_offset: i64 = -1, 0..;
    }
}
