//! DeleteRecords (key 21), versions 0–2.
//!
//! Moves a partition's log start up. Offset −1 means the high watermark.

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// New log starts, by topic and partition.
    pub struct DeleteRecordsRequest (DeleteRecords, versions 0..=2, flexible since 2) {
        topics: Vec<DeleteRecordsTopic>, 0..;
        /// Milliseconds to wait until the records are gone.
        timeout_ms: i32, 0..;
    }

    /// New log starts in one topic.
    pub struct DeleteRecordsTopic {
        name: KafkaStr, 0..;
        partitions: Vec<DeleteRecordsPartition>, 0..;
    }

    /// The offset below which one partition forgets its records.
    pub struct DeleteRecordsPartition {
        partition_index: i32, 0..;
        offset: i64, 0..;
    }
}

message! {
    /// The outcome of each partition.
    pub struct DeleteRecordsResponse (DeleteRecords, versions 0..=2, flexible since 2) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        topics: Vec<DeleteRecordsTopicResult>, 0..;
    }

    /// The outcome in one topic.
    pub struct DeleteRecordsTopicResult {
        name: KafkaStr, 0..;
        partitions: Vec<DeleteRecordsPartitionResult>, 0..;
    }

    /// The outcome in one partition.
    pub struct DeleteRecordsPartitionResult {
        partition_index: i32, 0..;
        /// The log start of all replicas now, or −1.
        low_watermark: i64, 0..;
        error_code: i16, 0..;
    }
}
