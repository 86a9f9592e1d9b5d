//! ConsumerGroupDescribe (key 69), versions 0–1.
//!
//! State and members of consumer groups (KIP-848). An unknown group, or one that is not a consumer
//! group, is GROUP_ID_NOT_FOUND.

use uuid::Uuid;

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Groups to describe.
    pub struct ConsumerGroupDescribeRequest
        (ConsumerGroupDescribe, versions 0..=1, flexible since 0) {
        group_ids: Vec<KafkaStr>, 0..;
        include_authorized_operations: bool, 0..;
    }
}

message! {
    /// The groups.
    pub struct ConsumerGroupDescribeResponse
        (ConsumerGroupDescribe, versions 0..=1, flexible since 0) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        groups: Vec<DescribedGroup>, 0..;
    }

    /// One group.
    pub struct DescribedGroup {
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = None, 0.., nullable 0..;
        group_id: KafkaStr, 0..;
        group_state: KafkaStr, 0..;
        group_epoch: i32, 0..;
        assignment_epoch: i32, 0..;
        /// The strategy by which the broker assigns.
        assignor_name: KafkaStr, 0..;
        members: Vec<Member>, 0..;
        /// A bit for each operation the client may do, or `i32::MIN` when not asked.
        authorized_operations: i32 = i32::MIN, 0..;
    }

    /// One member.
    pub struct Member {
        member_id: KafkaStr, 0..;
        instance_id: Option<KafkaStr> = None, 0.., nullable 0..;
        rack_id: Option<KafkaStr> = None, 0.., nullable 0..;
        member_epoch: i32, 0..;
        client_id: KafkaStr, 0..;
        client_host: KafkaStr, 0..;
        subscribed_topic_names: Vec<KafkaStr>, 0..;
        subscribed_topic_regex: Option<KafkaStr> = None, 0.., nullable 0..;
        /// What the member has.
        assignment: Assignment, 0..;
        /// What the member is to have.
        target_assignment: Assignment, 0..;
        /// 0 speaks the classic protocol, 1 the consumer protocol, −1 is not known.
        member_type: i8 = -1, 1.., absent ignored;
    }

    /// The partitions of a member.
    pub struct Assignment {
        topic_partitions: Vec<TopicPartitions>, 0..;
    }

    /// Partitions of a topic.
    pub struct TopicPartitions {
        topic_id: Uuid, 0..;
        topic_name: KafkaStr, 0..;
        partitions: Vec<i32>, 0..;
    }
}
