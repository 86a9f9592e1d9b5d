//! ListOffsets (key 2), versions 1–11.
//!
//! Finds the first offset at or after a timestamp. Timestamps below zero have meanings: −1 the end
//! (under read_committed the last stable offset), −2 the start, −3 the largest timestamp, −4 the
//! earliest local offset, −5 the end of tiered storage, −6 the earliest offset not yet tiered.

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Timestamps to look up.
    pub struct ListOffsetsRequest (ListOffsets, versions 1..=11, flexible since 6) {
        /// The follower that asks, or −1 for a consumer.
        replica_id: i32, 0..;
        /// 0: all committed records; 1: only those of decided transactions.
        isolation_level: i8, 2..;
        topics: Vec<ListOffsetsTopic>, 0..;
        /// Milliseconds that a look-up in tiered storage may take.
        timeout_ms: i32, 10.., absent ignored;
    }

    /// Look-ups in one topic.
    pub struct ListOffsetsTopic {
        name: KafkaStr, 0..;
        partitions: Vec<ListOffsetsPartition>, 0..;
    }

    /// A look-up in one partition.
    pub struct ListOffsetsPartition {
        partition_index: i32, 0..;
        /// The epoch the client believes is current, or −1 not to be fenced (KIP-320).
        current_leader_epoch: i32 = -1, 4.., absent ignored;
        timestamp: i64, 0..;
    }
}

message! {
    /// What was found.
    pub struct ListOffsetsResponse (ListOffsets, versions 1..=11, flexible since 6) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 2.., absent ignored;
        topics: Vec<ListOffsetsTopicResponse>, 0..;
    }

    /// What was found in one topic.
    pub struct ListOffsetsTopicResponse {
        name: KafkaStr, 0..;
        partitions: Vec<ListOffsetsPartitionResponse>, 0..;
    }

    /// What was found in one partition: −1 for offset and timestamp if nothing.
    pub struct ListOffsetsPartitionResponse {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        timestamp: i64 = -1, 1..;
        offset: i64 = -1, 1..;
        leader_epoch: i32 = -1, 4..;
    }
}
