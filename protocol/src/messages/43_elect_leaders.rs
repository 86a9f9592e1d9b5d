//! ElectLeaders (key 43), versions 0–2.
//!
//! Makes preferred leaders lead, or whoever is left (KIP-183, KIP-460). Each partition succeeds or
//! fails by itself.

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Partitions to elect leaders for.
    pub struct ElectLeadersRequest (ElectLeaders, versions 0..=2, flexible since 2) {
        /// 0 the preferred replica, 1 any replica, even one that lacks records.
        election_type: i8, 1..;
        /// Null for all partitions.
        topic_partitions: Option<Vec<TopicPartitions>> = Some(Vec::new()), 0.., nullable 0..;
        /// Milliseconds to wait until they lead.
        timeout_ms: i32 = 60_000, 0..;
    }

    /// Partitions of one topic.
    pub struct TopicPartitions {
        topic: KafkaStr, 0..;
        partitions: Vec<i32>, 0..;
    }
}

message! {
    /// The outcome of each partition.
    pub struct ElectLeadersResponse (ElectLeaders, versions 0..=2, flexible since 2) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        error_code: i16, 1..;
        replica_election_results: Vec<ReplicaElectionResult>, 0..;
    }

    /// The outcomes in one topic.
    pub struct ReplicaElectionResult {
        topic: KafkaStr, 0..;
        partition_result: Vec<PartitionResult>, 0..;
    }

    /// The outcome of one partition.
    pub struct PartitionResult {
        partition_id: i32, 0..;
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
    }
}
