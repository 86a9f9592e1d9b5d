//! DescribeLogDirs (key 35), versions 1–5.
//!
//! How much each partition takes on the broker's disks.

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Partitions to describe.
    pub struct DescribeLogDirsRequest (DescribeLogDirs, versions 1..=5, flexible since 2) {
        /// Null for all.
        topics: Option<Vec<DescribableLogDirTopic>> = Some(Vec::new()), 0.., nullable 0..;
    }

    /// Partitions of one topic.
    pub struct DescribableLogDirTopic {
        topic: KafkaStr, 0..;
        partitions: Vec<i32>, 0..;
    }
}

message! {
    /// The data directories of the broker.
    pub struct DescribeLogDirsResponse (DescribeLogDirs, versions 1..=5, flexible since 2) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        error_code: i16, 3.., absent ignored;
        results: Vec<DescribeLogDirsResult>, 0..;
    }

    /// One data directory.
    pub struct DescribeLogDirsResult {
        error_code: i16, 0..;
        log_dir: KafkaStr, 0..;
        topics: Vec<DescribeLogDirsTopic>, 0..;
        /// The size of the volume, or −1.
        total_bytes: i64 = -1, 4.., absent ignored;
        /// What is free on the volume, or −1.
        usable_bytes: i64 = -1, 4.., absent ignored;
        /// Whether new partitions are kept away (KIP-1066).
        is_cordoned: bool, 5.., absent ignored;
    }

    /// What one topic takes in a data directory.
    pub struct DescribeLogDirsTopic {
        name: KafkaStr, 0..;
        partitions: Vec<DescribeLogDirsPartition>, 0..;
    }

    /// What one partition takes in a data directory.
    pub struct DescribeLogDirsPartition {
        partition_index: i32, 0..;
        partition_size: i64, 0..;
        /// How far the replica is behind the high watermark.
        offset_lag: i64, 0..;
        /// Whether the replica is only moving in.
        is_future_key: bool, 0..;
    }
}
