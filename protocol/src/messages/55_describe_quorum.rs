//! DescribeQuorum (key 55), versions 0–2.
//!
//! Who leads the controllers and how far each has come (KIP-595, KIP-836, KIP-853). Kafka asks it
//! about the partition 0 of `__cluster_metadata`.

use uuid::Uuid;

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Partitions to describe.
    pub struct DescribeQuorumRequest (DescribeQuorum, versions 0..=2, flexible since 0) {
        topics: Vec<RequestedTopic>, 0..;
    }

    /// Partitions of one topic.
    pub struct RequestedTopic {
        topic_name: KafkaStr, 0..;
        partitions: Vec<RequestedPartition>, 0..;
    }

    /// One partition.
    pub struct RequestedPartition {
        partition_index: i32, 0..;
    }
}

message! {
    /// The quorums.
    pub struct DescribeQuorumResponse (DescribeQuorum, versions 0..=2, flexible since 0) {
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = Some(KafkaStr::default()), 2.., nullable 2..,
            absent ignored;
        topics: Vec<TopicData>, 0..;
        /// Where the controllers are reached.
        nodes: Vec<Node>, 2..;
    }

    /// Quorums of one topic.
    pub struct TopicData {
        topic_name: KafkaStr, 0..;
        partitions: Vec<PartitionData>, 0..;
    }

    /// The quorum of one partition.
    pub struct PartitionData {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = Some(KafkaStr::default()), 2.., nullable 2..,
            absent ignored;
        /// −1 when none is known.
        leader_id: i32, 0..;
        leader_epoch: i32, 0..;
        high_watermark: i64, 0..;
        current_voters: Vec<ReplicaState>, 0..;
        observers: Vec<ReplicaState>, 0..;
    }

    /// How far one replica has come.
    pub struct ReplicaState {
        replica_id: i32, 0..;
        replica_directory_id: Uuid, 2..;
        /// −1 when it is not known.
        log_end_offset: i64, 0..;
        /// Milliseconds since 1970; −1 for the leader, or when it is not known.
        last_fetch_timestamp: i64 = -1, 1.., absent ignored;
        /// Milliseconds since 1970; −1 when it is not known.
        last_caught_up_timestamp: i64 = -1, 1.., absent ignored;
    }

    /// A controller.
    pub struct Node {
        node_id: i32, 2..;
        listeners: Vec<Listener>, 2..;
    }

    /// An address of it.
    pub struct Listener {
        name: KafkaStr, 2..;
        host: KafkaStr, 2..;
        port: u16, 2..;
    }
}
