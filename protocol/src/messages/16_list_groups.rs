//! ListGroups (key 16), versions 0–5.
//!
//! The groups that this broker coordinates, by state (KIP-518) and type (KIP-848) if wished.

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Which groups to list.
    pub struct ListGroupsRequest (ListGroups, versions 0..=5, flexible since 3) {
        /// Empty for all states.
        states_filter: Vec<KafkaStr>, 4..;
        /// Empty for all types.
        types_filter: Vec<KafkaStr>, 5..;
    }
}

message! {
    /// The groups.
    pub struct ListGroupsResponse (ListGroups, versions 0..=5, flexible since 3) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 1.., absent ignored;
        error_code: i16, 0..;
        groups: Vec<ListedGroup>, 0..;
    }

    /// One group.
    pub struct ListedGroup {
        group_id: KafkaStr, 0..;
        protocol_type: KafkaStr, 0..;
        group_state: KafkaStr, 4.., absent ignored;
        group_type: KafkaStr, 5.., absent ignored;
    }
}
