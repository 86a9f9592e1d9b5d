//! ListPartitionReassignments (key 46), version 0.
//!
//! The partitions that are on their way to other brokers (KIP-455).

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Partitions to look at.
    pub struct ListPartitionReassignmentsRequest
        (ListPartitionReassignments, versions 0..=0, flexible since 0) {
        /// Milliseconds to wait for the answer.
        timeout_ms: i32 = 60_000, 0..;
        /// Null for all.
        topics: Option<Vec<ListPartitionReassignmentsTopics>> = None, 0.., nullable 0..;
    }

    /// Partitions of one topic.
    pub struct ListPartitionReassignmentsTopics {
        name: KafkaStr, 0..;
        partition_indexes: Vec<i32>, 0..;
    }
}

message! {
    /// Those that are on their way.
    pub struct ListPartitionReassignmentsResponse
        (ListPartitionReassignments, versions 0..=0, flexible since 0) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        topics: Vec<OngoingTopicReassignment>, 0..;
    }

    /// Partitions of one topic.
    pub struct OngoingTopicReassignment {
        name: KafkaStr, 0..;
        partitions: Vec<OngoingPartitionReassignment>, 0..;
    }

    /// A partition on its way.
    pub struct OngoingPartitionReassignment {
        partition_index: i32, 0..;
        /// Everyone who has it, is getting it, or is losing it.
        replicas: Vec<i32>, 0..;
        adding_replicas: Vec<i32>, 0..;
        removing_replicas: Vec<i32>, 0..;
    }
}
