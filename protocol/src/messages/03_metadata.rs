//! Metadata (key 3), versions 0–13.
//!
//! Which brokers there are, and who leads what. All topics are asked for with an empty list at
//! version 0 and with null from version 1, where an empty list means none. Naming a topic may
//! create it.

use uuid::Uuid;

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// The topics to describe.
    pub struct MetadataRequest (Metadata, versions 0..=13, flexible since 9) {
        /// Null for all; at version 0, which has no null, empty for all.
        topics: Option<Vec<MetadataRequestTopic>> = Some(Vec::new()), 0.., nullable 1..;
        allow_auto_topic_creation: bool = true, 4..;
        include_cluster_authorized_operations: bool, 8..=10;
        include_topic_authorized_operations: bool, 8..;
    }

    /// A topic by name, or by id from version 12.
    pub struct MetadataRequestTopic {
        topic_id: Uuid, 10.., absent ignored;
        name: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 10..;
    }
}

message! {
    /// The cluster as this broker sees it.
    pub struct MetadataResponse (Metadata, versions 0..=13, flexible since 9) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 3.., absent ignored;
        brokers: Vec<MetadataResponseBroker>, 0..;
        cluster_id: Option<KafkaStr> = None, 2.., nullable 2.., absent ignored;
        controller_id: i32 = -1, 1.., absent ignored;
        topics: Vec<MetadataResponseTopic>, 0..;
        /// A bit for each operation the client may do, or `i32::MIN` when not asked.
        cluster_authorized_operations: i32 = i32::MIN, 8..=10;
        error_code: i16, 13.., absent ignored;
    }

    /// A broker and where it is reached.
    pub struct MetadataResponseBroker {
        node_id: i32, 0..;
        host: KafkaStr, 0..;
        port: i32, 0..;
        rack: Option<KafkaStr> = None, 1.., nullable 1.., absent ignored;
    }

    /// A topic, or why it cannot be described.
    pub struct MetadataResponseTopic {
        error_code: i16, 0..;
        /// Null for an id that is not known.
        name: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 12..;
        topic_id: Uuid, 10.., absent ignored;
        is_internal: bool, 1.., absent ignored;
        partitions: Vec<MetadataResponsePartition>, 0..;
        /// A bit for each operation the client may do, or `i32::MIN` when not asked.
        topic_authorized_operations: i32 = i32::MIN, 8..;
    }

    /// A partition, or why it cannot be described.
    pub struct MetadataResponsePartition {
        error_code: i16, 0..;
        partition_index: i32, 0..;
        /// The broker to send Produce and Fetch to, or −1.
        leader_id: i32, 0..;
        leader_epoch: i32 = -1, 7.., absent ignored;
        replica_nodes: Vec<i32>, 0..;
        isr_nodes: Vec<i32>, 0..;
        offline_replicas: Vec<i32>, 5.., absent ignored;
    }
}
