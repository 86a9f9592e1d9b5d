//! LeaveGroup (key 13), versions 0–5.
//!
//! Takes members out of a classic group at once. Up to version 2 one member a request; from version
//! 3 many, so that an admin can remove static members (KIP-345).

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Members that leave.
    pub struct LeaveGroupRequest (LeaveGroup, versions 0..=5, flexible since 4) {
        group_id: KafkaStr, 0..;
        member_id: KafkaStr, 0..=2;
        members: Vec<MemberIdentity>, 3..;
    }

    /// A member that leaves.
    pub struct MemberIdentity {
        member_id: KafkaStr, 3..;
        /// The static member's own name, or null for a dynamic member (KIP-345).
        group_instance_id: Option<KafkaStr> = None, 3.., nullable 3..;
        /// Why it leaves, for the log (KIP-800).
        reason: Option<KafkaStr> = None, 5.., nullable 5.., absent ignored;
    }
}

message! {
    /// The outcome: in the message itself up to version 2, by member from version 3.
    pub struct LeaveGroupResponse (LeaveGroup, versions 0..=5, flexible since 4) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 1.., absent ignored;
        error_code: i16, 0..;
        members: Vec<MemberResponse>, 3..;
    }

    /// The outcome for one member.
    pub struct MemberResponse {
        member_id: KafkaStr, 3..;
        /// The static member's own name, or null for a dynamic member (KIP-345).
        group_instance_id: Option<KafkaStr> = Some(KafkaStr::default()), 3.., nullable 3..;
        error_code: i16, 3..;
    }
}
