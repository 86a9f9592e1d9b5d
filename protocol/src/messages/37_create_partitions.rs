//! CreatePartitions (key 37), versions 0–3.
//!
//! Raises the number of partitions of topics. It can never be lowered.

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Topics that get more partitions.
    pub struct CreatePartitionsRequest (CreatePartitions, versions 0..=3, flexible since 2) {
        topics: Vec<CreatePartitionsTopic>, 0..;
        /// Milliseconds to wait until the partitions are there.
        timeout_ms: i32, 0..;
        /// Check and answer, but change nothing.
        validate_only: bool, 0..;
    }

    /// A topic that gets more partitions.
    pub struct CreatePartitionsTopic {
        name: KafkaStr, 0..;
        /// How many there are to be in all.
        count: i32, 0..;
        /// Replicas of the new partitions by hand; null to let the cluster place them.
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Vec::new()), 0.., nullable 0..;
    }

    /// The replicas of one new partition, the preferred leader first.
    pub struct CreatePartitionsAssignment {
        broker_ids: Vec<i32>, 0..;
    }
}

message! {
    /// The outcome of each topic.
    pub struct CreatePartitionsResponse (CreatePartitions, versions 0..=3, flexible since 2) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        results: Vec<CreatePartitionsTopicResult>, 0..;
    }

    /// The outcome of one topic.
    pub struct CreatePartitionsTopicResult {
        name: KafkaStr, 0..;
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = None, 0.., nullable 0..;
    }
}
