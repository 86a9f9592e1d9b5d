//! SyncGroup (key 14), versions 0–5.
//!
//! The leader of a classic group hands in the assignment; every member gets its part as the answer.

use bytes::Bytes;

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// The assignment from the leader, nothing from the others.
    pub struct SyncGroupRequest (SyncGroup, versions 0..=5, flexible since 4) {
        group_id: KafkaStr, 0..;
        generation_id: i32, 0..;
        member_id: KafkaStr, 0..;
        /// The static member's own name, or null for a dynamic member (KIP-345).
        group_instance_id: Option<KafkaStr> = None, 3.., nullable 3..;
        protocol_type: Option<KafkaStr> = None, 5.., nullable 5.., absent ignored;
        protocol_name: Option<KafkaStr> = None, 5.., nullable 5.., absent ignored;
        assignments: Vec<SyncGroupRequestAssignment>, 0..;
    }

    /// What one member is assigned.
    pub struct SyncGroupRequestAssignment {
        member_id: KafkaStr, 0..;
        assignment: Bytes, 0..;
    }
}

message! {
    /// What this member is assigned.
    pub struct SyncGroupResponse (SyncGroup, versions 0..=5, flexible since 4) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 1.., absent ignored;
        error_code: i16, 0..;
        protocol_type: Option<KafkaStr> = None, 5.., nullable 5.., absent ignored;
        protocol_name: Option<KafkaStr> = None, 5.., nullable 5.., absent ignored;
        assignment: Bytes, 0..;
    }
}
