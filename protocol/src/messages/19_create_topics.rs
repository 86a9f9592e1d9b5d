//! CreateTopics (key 19), versions 2–7.
//!
//! Sent to the controller; any of our brokers takes it. −1 partitions or replicas mean the default.
//! Each topic succeeds or fails by itself.

use uuid::Uuid;

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Topics to create.
    pub struct CreateTopicsRequest (CreateTopics, versions 2..=7, flexible since 5) {
        topics: Vec<CreatableTopic>, 0..;
        /// Milliseconds to wait until the topics are there.
        timeout_ms: i32 = 60000, 0..;
        validate_only: bool, 1..;
    }

    /// A topic to create.
    pub struct CreatableTopic {
        name: KafkaStr, 0..;
        /// −1 for the default, or where `assignments` say it.
        num_partitions: i32, 0..;
        /// −1 for the default, or where `assignments` say it.
        replication_factor: i16, 0..;
        /// Replicas by hand; empty to let the cluster place them.
        assignments: Vec<CreatableReplicaAssignment>, 0..;
        configs: Vec<CreatableTopicConfig>, 0..;
    }

    /// The replicas of one partition, the preferred leader first.
    pub struct CreatableReplicaAssignment {
        partition_index: i32, 0..;
        broker_ids: Vec<i32>, 0..;
    }

    /// A config to set on the topic.
    pub struct CreatableTopicConfig {
        name: KafkaStr, 0..;
        value: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
    }
}

message! {
    /// The outcome of each topic.
    pub struct CreateTopicsResponse (CreateTopics, versions 2..=7, flexible since 5) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 2.., absent ignored;
        topics: Vec<CreatableTopicResult>, 0..;
    }

    /// The outcome of one topic.
    pub struct CreatableTopicResult {
        name: KafkaStr, 0..;
        topic_id: Uuid, 7.., absent ignored;
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = Some(KafkaStr::default()),
            1.., nullable 0.., absent ignored;
        /// −1 for the default, or where `assignments` say it.
        num_partitions: i32 = -1, 5.., absent ignored;
        /// −1 for the default, or where `assignments` say it.
        replication_factor: i16 = -1, 5.., absent ignored;
        /// The topic's effective configs, or null if the client may not see them (KIP-525).
        configs: Option<Vec<CreatableTopicConfigs>> = Some(Vec::new()),
            5.., nullable 5.., absent ignored;
        /// Why `configs` are null.
        topic_config_error_code: i16, 5.., tag 0, absent ignored;
    }

    /// A config of the created topic, and where its value comes from.
    pub struct CreatableTopicConfigs {
        name: KafkaStr, 5..;
        value: Option<KafkaStr> = Some(KafkaStr::default()), 5.., nullable 5..;
        read_only: bool, 5..;
        config_source: i8 = -1, 5.., absent ignored;
        is_sensitive: bool, 5..;
    }
}
