//! JoinGroup (key 11), versions 0–9.
//!
//! Enters a classic consumer group, or stays in it through a rebalance. The answer comes when all
//! have joined. From version 4 a new dynamic member is first sent away with its id (KIP-394).

use bytes::Bytes;

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// A member and what it can do.
    pub struct JoinGroupRequest (JoinGroup, versions 0..=9, flexible since 6) {
        group_id: KafkaStr, 0..;
        /// Milliseconds without a heartbeat after which the member is out.
        session_timeout_ms: i32, 0..;
        /// Milliseconds that the others wait for this member to join again.
        rebalance_timeout_ms: i32 = -1, 1.., absent ignored;
        /// Empty for a member that is new.
        member_id: KafkaStr, 0..;
        /// The static member's own name, or null for a dynamic member (KIP-345).
        group_instance_id: Option<KafkaStr> = None, 5.., nullable 5..;
        /// `consumer` for consumers, `connect` for workers of Kafka Connect.
        protocol_type: KafkaStr, 0..;
        /// The assignment strategies the member knows, the preferred first.
        protocols: Vec<JoinGroupRequestProtocol>, 0..;
        /// Why it joins, for the log (KIP-800).
        reason: Option<KafkaStr> = None, 8.., nullable 8.., absent ignored;
    }

    /// A strategy, and what the leader must know about the member to use it.
    pub struct JoinGroupRequestProtocol {
        name: KafkaStr, 0..;
        metadata: Bytes, 0..;
    }
}

message! {
    /// The generation that the member is part of.
    pub struct JoinGroupResponse (JoinGroup, versions 0..=9, flexible since 6) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 2.., absent ignored;
        error_code: i16, 0..;
        generation_id: i32 = -1, 0..;
        protocol_type: Option<KafkaStr> = None, 7.., nullable 7.., absent ignored;
        protocol_name: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 7..;
        /// The member that makes the assignment.
        leader: KafkaStr, 0..;
        /// Whether the leader is to leave the assignment as it is (KIP-814).
        skip_assignment: bool, 9..;
        member_id: KafkaStr, 0..;
        /// All members for the leader, none for the others.
        members: Vec<JoinGroupResponseMember>, 0..;
    }

    /// A member, for the leader to assign to.
    pub struct JoinGroupResponseMember {
        member_id: KafkaStr, 0..;
        /// The static member's own name, or null for a dynamic member (KIP-345).
        group_instance_id: Option<KafkaStr> = None, 5.., nullable 5.., absent ignored;
        metadata: Bytes, 0..;
    }
}
