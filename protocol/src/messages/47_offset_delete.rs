//! OffsetDelete (key 47), version 0, never flexible.
//!
//! Forgets a group's offsets for topics that it no longer subscribes to (KIP-496).

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Offsets to forget.
    pub struct OffsetDeleteRequest (OffsetDelete, versions 0..=0) {
        group_id: KafkaStr, 0..;
        topics: Vec<OffsetDeleteRequestTopic>, 0..;
    }

    /// Offsets in one topic.
    pub struct OffsetDeleteRequestTopic {
        name: KafkaStr, 0..;
        partitions: Vec<OffsetDeleteRequestPartition>, 0..;
    }

    /// The offset in one partition.
    pub struct OffsetDeleteRequestPartition {
        partition_index: i32, 0..;
    }
}

message! {
    /// The outcome of each partition.
    pub struct OffsetDeleteResponse (OffsetDelete, versions 0..=0) {
        error_code: i16, 0..;
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0.., absent ignored;
        topics: Vec<OffsetDeleteResponseTopic>, 0..;
    }

    /// The outcome in one topic.
    pub struct OffsetDeleteResponseTopic {
        name: KafkaStr, 0..;
        partitions: Vec<OffsetDeleteResponsePartition>, 0..;
    }

    /// The outcome in one partition.
    pub struct OffsetDeleteResponsePartition {
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }
}
