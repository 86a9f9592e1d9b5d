//! OffsetForLeaderEpoch (key 23), versions 2–4.
//!
//! Where a leader epoch ended, so that a consumer can tell whether its position was truncated away
//! (KIP-320).

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Epochs to look up.
    pub struct OffsetForLeaderEpochRequest
        (OffsetForLeaderEpoch, versions 2..=4, flexible since 4) {
        /// The follower that asks; −1 for a consumer, −2 for a debugging one.
        replica_id: i32 = -2, 3.., absent ignored;
        topics: Vec<OffsetForLeaderTopic>, 0..;
    }

    /// Look-ups in one topic.
    pub struct OffsetForLeaderTopic {
        topic: KafkaStr, 0..;
        partitions: Vec<OffsetForLeaderPartition>, 0..;
    }

    /// A look-up in one partition.
    pub struct OffsetForLeaderPartition {
        partition: i32, 0..;
        /// The epoch the client believes is current, or −1 not to be fenced (KIP-320).
        current_leader_epoch: i32 = -1, 2.., absent ignored;
        leader_epoch: i32, 0..;
    }
}

message! {
    /// What was found.
    pub struct OffsetForLeaderEpochResponse
        (OffsetForLeaderEpoch, versions 2..=4, flexible since 4) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 2.., absent ignored;
        topics: Vec<OffsetForLeaderTopicResult>, 0..;
    }

    /// What was found in one topic.
    pub struct OffsetForLeaderTopicResult {
        topic: KafkaStr, 0..;
        partitions: Vec<EpochEndOffset>, 0..;
    }

    /// The largest epoch not above the one asked for, and the offset where it ends.
    pub struct EpochEndOffset {
        error_code: i16, 0..;
        partition: i32, 0..;
        leader_epoch: i32 = -1, 1.., absent ignored;
        end_offset: i64 = -1, 0..;
    }
}
