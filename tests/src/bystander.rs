//! A member of a group that nobody else is in: whatever happens to other groups, everything it asks
//! for must succeed.

use std::net::SocketAddr;

use bytes::Bytes;
use thalweg_protocol::messages::join_group::JoinGroupRequestProtocol;
use thalweg_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use thalweg_protocol::messages::sync_group::SyncGroupRequestAssignment;
use thalweg_protocol::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use thalweg_protocol::{ErrorCode, KafkaStr};

use crate::wait::eventually;
use crate::wire::Wire;

const PROTOCOL: &str = "range";
const ASSIGNMENT: &[u8] = b"all of it";

/// The only member of its group.
#[derive(Debug)]
pub struct Bystander {
    wire: Wire,
    group: KafkaStr,
    topic: KafkaStr,
    member_id: KafkaStr,
    generation: i32,
    committed: i64,
}

impl Bystander {
    /// Joins `group` and gets its own assignment back.
    ///
    /// # Panics
    /// If anything is refused.
    pub fn join(address: SocketAddr, group: &str, topic: &str) -> Bystander {
        let mut wire = Wire::connect(address).expect("the broker takes connections");
        let protocol = JoinGroupRequestProtocol {
            name: PROTOCOL.into(),
            metadata: Bytes::from_static(b"\0\0\0\0\0\0\xff\xff\xff\xff"),
            ..JoinGroupRequestProtocol::default()
        };
        let mut join = JoinGroupRequest {
            group_id: KafkaStr::copied_from(group),
            session_timeout_ms: 60_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..JoinGroupRequest::default()
        };
        await_coordinator(&mut wire, group);
        let mut joined = wire.call(&join, 9).expect("JoinGroup is answered");
        assert_eq!(ErrorCode::from(joined.error_code), ErrorCode::MemberIdRequired);
        join.member_id = joined.member_id;
        joined = wire.call(&join, 9).expect("JoinGroup is answered");
        assert_eq!(ErrorCode::from(joined.error_code), ErrorCode::None);
        assert_eq!(joined.leader, joined.member_id);
        let assignment = SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: Bytes::from_static(ASSIGNMENT),
            ..SyncGroupRequestAssignment::default()
        };
        let sync = SyncGroupRequest {
            group_id: join.group_id.clone(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some(PROTOCOL.into()),
            assignments: vec![assignment],
            ..SyncGroupRequest::default()
        };
        let synced = wire.call(&sync, 5).expect("SyncGroup is answered");
        assert_eq!(ErrorCode::from(synced.error_code), ErrorCode::None);
        assert_eq!(synced.assignment, ASSIGNMENT);
        Bystander {
            wire,
            group: join.group_id,
            topic: KafkaStr::copied_from(topic),
            member_id: joined.member_id,
            generation: joined.generation_id,
            committed: 0,
        }
    }

    /// Commits the next offset, beats, and is told what it has committed.
    ///
    /// # Panics
    /// If anything is refused, or another offset comes back.
    pub fn step(&mut self) {
        self.committed += 1;
        let partition = OffsetCommitRequestPartition {
            partition_index: 0,
            committed_offset: self.committed,
            committed_metadata: Some("calm".into()),
            ..OffsetCommitRequestPartition::default()
        };
        let commit = OffsetCommitRequest {
            group_id: self.group.clone(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.member_id.clone(),
            topics: vec![OffsetCommitRequestTopic {
                name: self.topic.clone(),
                partitions: vec![partition],
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        let answer = self.wire.call(&commit, 9).expect("OffsetCommit is answered");
        let code = answer.topics[0].partitions[0].error_code;
        assert_eq!(ErrorCode::from(code), ErrorCode::None, "commit {}", self.committed);
        let heartbeat = HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            ..HeartbeatRequest::default()
        };
        let answer = self.wire.call(&heartbeat, 4).expect("Heartbeat is answered");
        assert_eq!(ErrorCode::from(answer.error_code), ErrorCode::None);
        let offsets = offsets(&mut self.wire, &self.group);
        assert_eq!(offsets, [(self.topic.to_string(), 0, self.committed, "calm".to_owned())]);
    }
}

/// Waits until the group has a coordinator, and that has loaded what it knows.
fn await_coordinator(wire: &mut Wire, group: &str) {
    let find = FindCoordinatorRequest {
        coordinator_keys: vec![KafkaStr::copied_from(group)],
        ..FindCoordinatorRequest::default()
    };
    eventually("the group has a coordinator", || {
        let answer = wire.call(&find, 4).expect("FindCoordinator is answered");
        (answer.coordinators[0].error_code == 0).then_some(())
    });
    offsets(wire, group);
}

/// Topic, partition, offset and metadata of all that a group has committed, in order. Waits for a
/// coordinator that is still loading.
///
/// # Panics
/// If the broker refuses.
pub fn offsets(wire: &mut Wire, group: &str) -> Vec<(String, i32, i64, String)> {
    let all = OffsetFetchRequest {
        group_id: KafkaStr::copied_from(group),
        topics: None,
        ..OffsetFetchRequest::default()
    };
    let answer = eventually("the coordinator is loaded", || {
        let answer = wire.call(&all, 7).expect("OffsetFetch is answered");
        let code = ErrorCode::from(answer.error_code);
        let is_early =
            matches!(code, ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator);
        (!is_early).then_some(answer)
    });
    assert_eq!(ErrorCode::from(answer.error_code), ErrorCode::None);
    let mut offsets = Vec::new();
    for topic in &answer.topics {
        for partition in &topic.partitions {
            assert_eq!(ErrorCode::from(partition.error_code), ErrorCode::None);
            let metadata = partition.metadata.as_ref().map(ToString::to_string);
            offsets.push((
                topic.name.to_string(),
                partition.partition_index,
                partition.committed_offset,
                metadata.unwrap_or_default(),
            ));
        }
    }
    offsets.sort();
    offsets
}
