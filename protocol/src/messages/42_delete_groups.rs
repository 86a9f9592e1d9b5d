//! DeleteGroups (key 42), versions 0–2.
//!
//! Forgets groups and their offsets. Only a group without members can be deleted.

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Groups to delete.
    pub struct DeleteGroupsRequest (DeleteGroups, versions 0..=2, flexible since 2) {
        groups_names: Vec<KafkaStr>, 0..;
    }
}

message! {
    /// The outcome of each group.
    pub struct DeleteGroupsResponse (DeleteGroups, versions 0..=2, flexible since 2) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        results: Vec<DeletableGroupResult>, 0..;
    }

    /// The outcome of one group.
    pub struct DeletableGroupResult {
        group_id: KafkaStr, 0..;
        error_code: i16, 0..;
    }
}
