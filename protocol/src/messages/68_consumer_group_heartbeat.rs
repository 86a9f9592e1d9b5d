//! ConsumerGroupHeartbeat (key 68), versions 0–1.
//!
//! Joins a consumer group, stays in it, takes and gives up partitions, and leaves (KIP-848). A
//! field that is null or −1 has not changed since the last heartbeat. From version 1 the client
//! makes up its member id, and may subscribe to a regular expression.

use uuid::Uuid;

use crate::primitives::KafkaStr;
use crate::table::{message, nullable};

message! {
    /// A member and what has changed about it.
    pub struct ConsumerGroupHeartbeatRequest
        (ConsumerGroupHeartbeat, versions 0..=1, flexible since 0) {
        group_id: KafkaStr, 0..;
        member_id: KafkaStr, 0..;
        /// The member's epoch; 0 to join, −1 to leave, −2 for a static member to leave for a while.
        member_epoch: i32, 0..;
        /// The static member's own name.
        instance_id: Option<KafkaStr> = None, 0.., nullable 0..;
        rack_id: Option<KafkaStr> = None, 0.., nullable 0..;
        /// Milliseconds that the member may take to give partitions up.
        rebalance_timeout_ms: i32 = -1, 0..;
        subscribed_topic_names: Option<Vec<KafkaStr>> = None, 0.., nullable 0..;
        subscribed_topic_regex: Option<KafkaStr> = None, 1.., nullable 1..;
        /// The strategy by which the broker is to assign.
        server_assignor: Option<KafkaStr> = None, 0.., nullable 0..;
        /// The partitions that the member has.
        topic_partitions: Option<Vec<TopicPartitions>> = None, 0.., nullable 0..;
    }

    /// Partitions of a topic.
    pub struct TopicPartitions {
        topic_id: Uuid, 0..;
        partitions: Vec<i32>, 0..;
    }
}

message! {
    /// The member's epoch, and its partitions if they have changed.
    pub struct ConsumerGroupHeartbeatResponse
        (ConsumerGroupHeartbeat, versions 0..=1, flexible since 0) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = None, 0.., nullable 0..;
        member_id: Option<KafkaStr> = None, 0.., nullable 0..;
        member_epoch: i32, 0..;
        heartbeat_interval_ms: i32, 0..;
        /// Null if it has not changed.
        assignment: Option<Assignment> = None, 0.., nullable 0..;
    }

    /// All partitions that the member may use.
    pub struct Assignment {
        topic_partitions: Vec<TopicPartitions>, 0..;
    }
}

nullable!(Assignment);
