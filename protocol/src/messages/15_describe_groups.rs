//! DescribeGroups (key 15), versions 0–6.
//!
//! State and members of classic groups. An unknown group is Dead without an error up to version 5,
//! and GROUP_ID_NOT_FOUND from version 6 (KIP-1043).

use bytes::Bytes;

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Groups to describe.
    pub struct DescribeGroupsRequest (DescribeGroups, versions 0..=6, flexible since 5) {
        groups: Vec<KafkaStr>, 0..;
        include_authorized_operations: bool, 3..;
    }
}

message! {
    /// The groups.
    pub struct DescribeGroupsResponse (DescribeGroups, versions 0..=6, flexible since 5) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 1.., absent ignored;
        groups: Vec<DescribedGroup>, 0..;
    }

    /// One group.
    pub struct DescribedGroup {
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = None, 6.., nullable 6..;
        group_id: KafkaStr, 0..;
        group_state: KafkaStr, 0..;
        protocol_type: KafkaStr, 0..;
        /// The assignment strategy in use.
        protocol_data: KafkaStr, 0..;
        members: Vec<DescribedGroupMember>, 0..;
        /// A bit for each operation the client may do, or `i32::MIN` when not asked.
        authorized_operations: i32 = i32::MIN, 3..;
    }

    /// One member.
    pub struct DescribedGroupMember {
        member_id: KafkaStr, 0..;
        group_instance_id: Option<KafkaStr> = None, 4.., nullable 4.., absent ignored;
        client_id: KafkaStr, 0..;
        client_host: KafkaStr, 0..;
        member_metadata: Bytes, 0..;
        member_assignment: Bytes, 0..;
    }
}
