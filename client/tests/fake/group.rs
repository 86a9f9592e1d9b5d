//! The coordinator of classic groups, as far as consumers can tell it from Kafka's: generations,
//! members that must all join before one begins, an assignment that passes through unread, and
//! offsets. Nobody is thrown out by time; a test that wants that does it itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use thalweg_client::protocol::messages::find_coordinator::Coordinator;
use thalweg_client::protocol::messages::join_group::JoinGroupResponseMember;
use thalweg_client::protocol::messages::leave_group::MemberResponse;
use thalweg_client::protocol::messages::offset_commit::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use thalweg_client::protocol::messages::offset_fetch::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use thalweg_client::protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use thalweg_client::protocol::{ErrorCode, KafkaStr};

use super::{Shared, State};

#[derive(Default)]
pub(crate) struct Group {
    /// The broker that coordinates it.
    pub(crate) coordinator: i32,
    pub(crate) generation: i32,
    pub(crate) phase: Phase,
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) leader: String,
    pub(crate) protocol: String,
    /// By topic and partition, with the note.
    pub(crate) offsets: BTreeMap<(String, i32), (i64, String)>,
    /// Every commit that was taken, in order: whose, and up to where.
    pub(crate) commits: Vec<(String, i32, i64)>,
    /// The leader epoch told with each commit.
    pub(crate) epochs: Vec<i32>,
    next_id: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Empty,
    Preparing,
    Completing,
    Stable,
}

#[derive(Default)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    protocols: Vec<(String, Bytes)>,
    has_joined: bool,
    pub(crate) assignment: Bytes,
}

impl Group {
    /// Begins a rebalance: everybody is to join again.
    pub(crate) fn prepare(&mut self) {
        self.phase = Phase::Preparing;
        self.members.values_mut().for_each(|member| member.has_joined = false);
    }

    /// Throws a member out, as a coordinator does that has not heard of it for long.
    pub(crate) fn expel(&mut self, member_id: &str) {
        self.members.remove(member_id);
        if self.phase != Phase::Preparing {
            self.prepare();
        }
        self.maybe_begin();
    }

    /// Begins the next generation if everybody has joined.
    fn maybe_begin(&mut self) {
        if self.members.is_empty() {
            self.phase = Phase::Empty;
        } else if self.phase == Phase::Preparing && self.members.values().all(|it| it.has_joined) {
            self.phase = Phase::Completing;
            self.generation += 1;
            if !self.members.contains_key(&self.leader) {
                self.leader = self.members.keys().next().cloned().unwrap_or_default();
            }
            let offered = |name: &str| {
                self.members.values().all(|it| it.protocols.iter().any(|(its, _)| its == name))
            };
            let mut first = self.members[&self.leader].protocols.iter().map(|(name, _)| name);
            self.protocol = first.find(|name| offered(name)).cloned().unwrap_or_default();
        }
    }

    fn check(&self, member_id: &str, instance: Option<&KafkaStr>, generation: i32) -> ErrorCode {
        let owner = instance.and_then(|instance| {
            self.members.iter().find(|(_, it)| it.instance.as_deref() == Some(instance.as_str()))
        });
        if owner.is_some_and(|(id, _)| id != member_id) {
            ErrorCode::FencedInstanceId
        } else if !self.members.contains_key(member_id) {
            ErrorCode::UnknownMemberId
        } else if generation != self.generation {
            ErrorCode::IllegalGeneration
        } else {
            ErrorCode::None
        }
    }
}

/// The group, if this broker coordinates it.
fn led<'a>(state: &'a mut State, id: i32, group: &str) -> Result<&'a mut Group, ErrorCode> {
    let group = state.groups.entry(group.into()).or_default();
    group.coordinator = group.coordinator.max(1);
    if group.coordinator == id { Ok(group) } else { Err(ErrorCode::NotCoordinator) }
}

pub(super) fn find(state: &mut State, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    let coordinators = request.coordinator_keys.iter().map(|key| {
        let node_id = state.groups.entry(key.to_string()).or_default().coordinator.max(1);
        Coordinator {
            key: key.clone(),
            node_id,
            host: "127.0.0.1".into(),
            port: i32::from(state.ports[usize::try_from(node_id - 1).expect("a broker")]),
            ..Coordinator::default()
        }
    });
    FindCoordinatorResponse {
        coordinators: coordinators.collect(),
        ..FindCoordinatorResponse::default()
    }
}

pub(super) async fn join(
    shared: &Arc<Shared>,
    id: i32,
    request: &JoinGroupRequest,
) -> JoinGroupResponse {
    let refused = |error: ErrorCode, member_id: &str| JoinGroupResponse {
        error_code: error.code(),
        member_id: KafkaStr::copied_from(member_id),
        ..JoinGroupResponse::default()
    };
    let name = request.group_id.as_str();
    let member_id = match enter(&mut shared.lock(), id, request) {
        Ok(member_id) => member_id,
        Err((error, member_id)) => return refused(error, &member_id),
    };
    shared.groups.notify_waiters();
    loop {
        let change = shared.groups.notified();
        {
            let mut state = shared.lock();
            let group = match led(&mut state, id, name) {
                Ok(group) => group,
                Err(error) => return refused(error, &member_id),
            };
            if !group.members.contains_key(&member_id) {
                return refused(ErrorCode::UnknownMemberId, &member_id);
            }
            if group.phase != Phase::Preparing {
                return joined(group, &member_id);
            }
        }
        change.await;
    }
}

fn enter(
    state: &mut State,
    id: i32,
    request: &JoinGroupRequest,
) -> Result<String, (ErrorCode, String)> {
    let group = led(state, id, &request.group_id).map_err(|error| (error, String::new()))?;
    let instance = request.group_instance_id.as_ref().map(ToString::to_string);
    let mut member_id = request.member_id.to_string();
    let predecessor = instance.as_ref().and_then(|_| {
        let mut members = group.members.iter();
        members.find(|(_, it)| it.instance == instance).map(|(id, _)| id.clone())
    });
    if member_id.is_empty() {
        group.next_id += 1;
        member_id = format!("member-{}", group.next_id);
        match predecessor {
            Some(predecessor) => {
                let it = group.members.remove(&predecessor).expect("it was there");
                group.members.insert(member_id.clone(), it);
            }
            None if instance.is_none() => {
                return Err((ErrorCode::MemberIdRequired, member_id));
            }
            None => {}
        }
    } else if predecessor.is_some_and(|it| it != member_id) {
        return Err((ErrorCode::FencedInstanceId, member_id));
    }
    if group.phase != Phase::Preparing {
        group.prepare();
    }
    let protocols = request.protocols.iter().map(|it| (it.name.to_string(), it.metadata.clone()));
    let member = group.members.entry(member_id.clone()).or_default();
    *member = Member {
        instance,
        protocols: protocols.collect(),
        has_joined: true,
        assignment: std::mem::take(&mut member.assignment),
    };
    group.maybe_begin();
    Ok(member_id)
}

fn joined(group: &Group, member_id: &str) -> JoinGroupResponse {
    let metadata = |it: &Member| {
        let mut protocols = it.protocols.iter();
        protocols.find(|(name, _)| *name == group.protocol).map(|(_, metadata)| metadata.clone())
    };
    let members = group.members.iter().map(|(id, it)| JoinGroupResponseMember {
        member_id: KafkaStr::copied_from(id),
        group_instance_id: it.instance.as_deref().map(KafkaStr::copied_from),
        metadata: metadata(it).unwrap_or_default(),
        ..JoinGroupResponseMember::default()
    });
    JoinGroupResponse {
        generation_id: group.generation,
        protocol_type: Some("consumer".into()),
        protocol_name: Some(KafkaStr::copied_from(&group.protocol)),
        leader: KafkaStr::copied_from(&group.leader),
        member_id: KafkaStr::copied_from(member_id),
        members: if group.leader == member_id { members.collect() } else { Vec::new() },
        ..JoinGroupResponse::default()
    }
}

pub(super) async fn sync(
    shared: &Arc<Shared>,
    id: i32,
    request: &SyncGroupRequest,
) -> SyncGroupResponse {
    let refused = |error: ErrorCode| SyncGroupResponse {
        error_code: error.code(),
        ..SyncGroupResponse::default()
    };
    loop {
        let change = shared.groups.notified();
        {
            let mut state = shared.lock();
            let group = match led(&mut state, id, &request.group_id) {
                Ok(group) => group,
                Err(error) => return refused(error),
            };
            let instance = request.group_instance_id.as_ref();
            match group.check(&request.member_id, instance, request.generation_id) {
                ErrorCode::None => {}
                error => return refused(error),
            }
            if group.phase == Phase::Completing && *group.leader == *request.member_id {
                for it in &request.assignments {
                    if let Some(member) = group.members.get_mut(it.member_id.as_str()) {
                        member.assignment = it.assignment.clone();
                    }
                }
                group.phase = Phase::Stable;
                shared.groups.notify_waiters();
            }
            match group.phase {
                Phase::Stable => {
                    let assignment = group.members[request.member_id.as_str()].assignment.clone();
                    return SyncGroupResponse { assignment, ..SyncGroupResponse::default() };
                }
                Phase::Completing => {}
                Phase::Preparing | Phase::Empty => return refused(ErrorCode::RebalanceInProgress),
            }
        }
        change.await;
    }
}

pub(super) fn heartbeat(state: &mut State, id: i32, request: &HeartbeatRequest) -> ErrorCode {
    let group = match led(state, id, &request.group_id) {
        Ok(group) => group,
        Err(error) => return error,
    };
    let instance = request.group_instance_id.as_ref();
    match group.check(&request.member_id, instance, request.generation_id) {
        ErrorCode::None if group.phase == Phase::Preparing => ErrorCode::RebalanceInProgress,
        error => error,
    }
}

pub(super) fn leave(state: &mut State, id: i32, request: &LeaveGroupRequest) -> LeaveGroupResponse {
    let group = match led(state, id, &request.group_id) {
        Ok(group) => group,
        Err(error) => {
            return LeaveGroupResponse { error_code: error.code(), ..Default::default() };
        }
    };
    let members = request.members.iter().map(|it| {
        group.expel(&it.member_id);
        MemberResponse { member_id: it.member_id.clone(), ..MemberResponse::default() }
    });
    LeaveGroupResponse { members: members.collect(), ..LeaveGroupResponse::default() }
}

pub(super) fn commit(
    state: &mut State,
    id: i32,
    request: &OffsetCommitRequest,
    before: Option<ErrorCode>,
) -> OffsetCommitResponse {
    let generation = request.generation_id_or_member_epoch;
    let epoch = state.epoch_group.members.get(request.member_id.as_str()).map(|it| it.epoch);
    let mut group = led(state, id, &request.group_id);
    let error = before.unwrap_or_else(|| match &group {
        Err(error) => *error,
        Ok(group) if generation < 0 && group.members.is_empty() => ErrorCode::None,
        Ok(_) if epoch.is_some() => match epoch {
            Some(epoch) if epoch != generation => ErrorCode::StaleMemberEpoch,
            _ => ErrorCode::None,
        },
        Ok(group) => {
            let instance = request.group_instance_id.as_ref();
            match group.check(&request.member_id, instance, generation) {
                ErrorCode::None if group.phase == Phase::Completing => {
                    ErrorCode::RebalanceInProgress
                }
                error => error,
            }
        }
    });
    let mut topics = Vec::new();
    for topic in &request.topics {
        let partitions = topic.partitions.iter().map(|it| {
            if let (ErrorCode::None, Ok(group)) = (error, &mut group) {
                let note = it.committed_metadata.as_ref().map(ToString::to_string);
                let at = (topic.name.to_string(), it.partition_index);
                group.offsets.insert(at, (it.committed_offset, note.unwrap_or_default()));
                group.epochs.push(it.committed_leader_epoch);
                let member = request.member_id.to_string();
                group.commits.push((member, it.partition_index, it.committed_offset));
            }
            OffsetCommitResponsePartition {
                partition_index: it.partition_index,
                error_code: error.code(),
                ..OffsetCommitResponsePartition::default()
            }
        });
        topics.push(OffsetCommitResponseTopic {
            name: topic.name.clone(),
            partitions: partitions.collect(),
            ..OffsetCommitResponseTopic::default()
        });
    }
    OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }
}

pub(super) fn fetch(
    state: &mut State,
    id: i32,
    request: &OffsetFetchRequest,
    before: Option<ErrorCode>,
) -> OffsetFetchResponse {
    let groups = request.groups.iter().map(|asked| {
        let answer = |error: ErrorCode| OffsetFetchResponseGroup {
            group_id: asked.group_id.clone(),
            error_code: error.code(),
            ..OffsetFetchResponseGroup::default()
        };
        let group = match led(state, id, &asked.group_id) {
            Ok(group) => group,
            Err(error) => return answer(error),
        };
        let wanted: HashMap<String, Vec<i32>> = match &asked.topics {
            Some(topics) => topics
                .iter()
                .map(|it| (it.name.to_string(), it.partition_indexes.clone()))
                .collect(),
            None => group.offsets.keys().fold(HashMap::new(), |mut wanted, (topic, partition)| {
                wanted.entry(topic.clone()).or_default().push(*partition);
                wanted
            }),
        };
        let topics = wanted.into_iter().map(|(topic, partitions)| {
            let partitions = partitions.into_iter().map(|partition_index| {
                let known = group.offsets.get(&(topic.clone(), partition_index));
                OffsetFetchResponsePartitions {
                    partition_index,
                    committed_offset: known.map_or(-1, |(offset, _)| *offset),
                    metadata: known.map(|(_, note)| KafkaStr::copied_from(note)),
                    ..OffsetFetchResponsePartitions::default()
                }
            });
            OffsetFetchResponseTopics {
                partitions: partitions.collect(),
                name: KafkaStr::copied_from(&topic),
                ..OffsetFetchResponseTopics::default()
            }
        });
        let topics = topics.collect();
        OffsetFetchResponseGroup { topics, ..answer(before.unwrap_or(ErrorCode::None)) }
    });
    OffsetFetchResponse { groups: groups.collect(), ..OffsetFetchResponse::default() }
}
