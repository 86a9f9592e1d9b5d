//! AlterPartitionReassignments (key 45), versions 0–1.
//!
//! Moves partitions to other brokers, or calls such a move off (KIP-455).

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Partitions to move.
    pub struct AlterPartitionReassignmentsRequest
        (AlterPartitionReassignments, versions 0..=1, flexible since 0) {
        /// Milliseconds to wait until the moves have begun.
        timeout_ms: i32 = 60_000, 0..;
        /// Whether a partition may get more or fewer replicas than it has (KIP-860).
        allow_replication_factor_change: bool = true, 1..;
        topics: Vec<ReassignableTopic>, 0..;
    }

    /// Partitions of one topic.
    pub struct ReassignableTopic {
        name: KafkaStr, 0..;
        partitions: Vec<ReassignablePartition>, 0..;
    }

    /// One partition, and where it is to go.
    pub struct ReassignablePartition {
        partition_index: i32, 0..;
        /// The preferred leader first; null to call off the move under way.
        replicas: Option<Vec<i32>> = None, 0.., nullable 0..;
    }
}

message! {
    /// The outcome of each partition.
    pub struct AlterPartitionReassignmentsResponse
        (AlterPartitionReassignments, versions 0..=1, flexible since 0) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        /// As the request had it.
        allow_replication_factor_change: bool = true, 1.., absent ignored;
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        responses: Vec<ReassignableTopicResponse>, 0..;
    }

    /// The outcomes in one topic.
    pub struct ReassignableTopicResponse {
        name: KafkaStr, 0..;
        partitions: Vec<ReassignablePartitionResponse>, 0..;
    }

    /// The outcome of one partition.
    pub struct ReassignablePartitionResponse {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
    }
}
