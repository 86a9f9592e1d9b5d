//! Heartbeat (key 12), versions 0–4.
//!
//! Keeps a member of a classic group in it. REBALANCE_IN_PROGRESS tells it to join again.

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// A sign of life.
    pub struct HeartbeatRequest (Heartbeat, versions 0..=4, flexible since 4) {
        group_id: KafkaStr, 0..;
        generation_id: i32, 0..;
        member_id: KafkaStr, 0..;
        /// The static member's own name, or null for a dynamic member (KIP-345).
        group_instance_id: Option<KafkaStr> = None, 3.., nullable 3..;
    }
}

message! {
    /// Whether the member is still in.
    pub struct HeartbeatResponse (Heartbeat, versions 0..=4, flexible since 4) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 1.., absent ignored;
        error_code: i16, 0..;
    }
}
