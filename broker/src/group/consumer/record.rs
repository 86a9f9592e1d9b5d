//! A consumer group as it stands in the log, in Kafka's form, and back.
//!
//! `replay` is the only way in which what lasts changes, for a coordinator that loads the log and
//! for the one that has just written to it. Records may come as compaction leaves them.

use std::collections::BTreeSet;
use std::rc::Rc;

use thalweg_protocol::KafkaStr;
use thalweg_protocol::group_record as log;
use thalweg_protocol::group_record::Record;

use super::ConsumerGroup;
use super::member::{ClassicInfo, Current, MemberInfo, MemberState};
use super::partitions::{from_held, from_target, to_held, to_target};
use super::regex::ResolvedRegex;
use crate::group::assignor::TopicPartition;

/// The group's epoch, and the hash of its topics at that epoch.
pub(super) fn group(group_id: &KafkaStr, epoch: i32, metadata_hash: i64) -> Record {
    let value = log::ConsumerGroupMetadataValue { epoch, metadata_hash, ..Default::default() };
    let key = log::ConsumerGroupMetadataKey { group_id: group_id.clone(), ..Default::default() };
    Record::ConsumerGroupMetadata(key, Some(value))
}

/// What a member said about itself; nothing if it is gone.
pub(super) fn member(group_id: &KafkaStr, id: &KafkaStr, info: Option<&MemberInfo>) -> Record {
    let key = log::ConsumerGroupMemberMetadataKey {
        group_id: group_id.clone(),
        member_id: id.clone(),
        ..Default::default()
    };
    let value = |info: &MemberInfo| log::ConsumerGroupMemberMetadataValue {
        instance_id: info.instance_id.clone(),
        rack_id: info.rack_id.clone(),
        client_id: info.client_id.clone(),
        client_host: info.client_host.clone(),
        subscribed_topic_names: info.topic_names.iter().cloned().collect(),
        subscribed_topic_regex: info.topic_regex.clone(),
        rebalance_timeout_ms: info.rebalance_timeout_ms,
        server_assignor: info.assignor.clone(),
        classic_member_metadata: info.classic.as_ref().map(classic),
        ..Default::default()
    };
    Record::ConsumerGroupMemberMetadata(key, info.map(value))
}

fn classic(info: &ClassicInfo) -> log::ClassicMemberMetadata {
    let protocol = |(name, metadata): &(KafkaStr, bytes::Bytes)| log::ClassicProtocol {
        name: name.clone(),
        metadata: metadata.clone(),
        ..Default::default()
    };
    log::ClassicMemberMetadata {
        session_timeout_ms: info.session_timeout_ms,
        supported_protocols: info.protocols.iter().map(protocol).collect(),
        ..Default::default()
    }
}

/// What a member has; nothing if it is gone.
pub(super) fn current(group_id: &KafkaStr, id: &KafkaStr, current: Option<&Current>) -> Record {
    let key = log::ConsumerGroupCurrentMemberAssignmentKey {
        group_id: group_id.clone(),
        member_id: id.clone(),
        ..Default::default()
    };
    let value = |current: &Current| log::ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: current.epoch,
        previous_member_epoch: current.previous_epoch,
        state: current.state.code(),
        assigned_partitions: to_held(&current.assigned),
        partitions_pending_revocation: to_held(&current.revoking),
        ..Default::default()
    };
    Record::ConsumerGroupCurrentMemberAssignment(key, current.map(value))
}

/// What a member is to have; nothing if it is gone.
pub(super) fn target(
    group_id: &KafkaStr,
    id: &KafkaStr,
    partitions: Option<&BTreeSet<TopicPartition>>,
) -> Record {
    let key = log::ConsumerGroupTargetAssignmentMemberKey {
        group_id: group_id.clone(),
        member_id: id.clone(),
        ..Default::default()
    };
    let value = |partitions| log::ConsumerGroupTargetAssignmentMemberValue {
        topic_partitions: to_target(partitions),
        ..Default::default()
    };
    Record::ConsumerGroupTargetAssignmentMember(key, partitions.map(value))
}

/// The epoch for which the target assignment was made.
pub(super) fn assignment_epoch(group_id: &KafkaStr, epoch: i32, wall_ms: i64) -> Record {
    let key = log::ConsumerGroupTargetAssignmentMetadataKey {
        group_id: group_id.clone(),
        ..Default::default()
    };
    let value = log::ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: epoch,
        assignment_timestamp: wall_ms,
        ..Default::default()
    };
    Record::ConsumerGroupTargetAssignmentMetadata(key, Some(value))
}

/// The topics that a regular expression stands for; nothing if nobody uses it any more.
pub(super) fn regex(
    group_id: &KafkaStr,
    pattern: &KafkaStr,
    resolved: Option<&ResolvedRegex>,
) -> Record {
    let key = log::ConsumerGroupRegularExpressionKey {
        group_id: group_id.clone(),
        regular_expression: pattern.clone(),
        ..Default::default()
    };
    let value = |resolved: &ResolvedRegex| log::ConsumerGroupRegularExpressionValue {
        topics: resolved.topics.iter().cloned().collect(),
        version: resolved.version,
        timestamp: resolved.timestamp_ms,
        ..Default::default()
    };
    Record::ConsumerGroupRegularExpression(key, resolved.map(value))
}

impl ConsumerGroup {
    /// Takes over what a record says. All that is kept is copied out of the record.
    pub(crate) fn replay(&mut self, record: &Record) {
        match record {
            Record::ConsumerGroupMetadata(_, Some(value)) => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            Record::ConsumerGroupTargetAssignmentMetadata(_, Some(value)) => {
                self.assignment_epoch = value.assignment_epoch;
            }
            Record::ConsumerGroupMemberMetadata(key, Some(value)) => {
                self.replay_member(key.member_id.detached(), value);
            }
            Record::ConsumerGroupMemberMetadata(key, None) => self.forget_member(&key.member_id),
            Record::ConsumerGroupCurrentMemberAssignment(key, value) => {
                self.replay_current(&key.member_id, value.as_ref());
            }
            Record::ConsumerGroupTargetAssignmentMember(key, value) => match value {
                Some(value) => {
                    let partitions = from_target(&value.topic_partitions);
                    self.targets.insert(key.member_id.detached(), partitions);
                }
                None => {
                    self.targets.remove(&key.member_id);
                }
            },
            Record::ConsumerGroupRegularExpression(key, value) => match value {
                Some(value) => {
                    let resolved = ResolvedRegex {
                        topics: value.topics.iter().map(KafkaStr::detached).collect(),
                        version: value.version,
                        timestamp_ms: value.timestamp,
                    };
                    self.regexes.insert(key.regular_expression.detached(), resolved);
                }
                None => {
                    self.regexes.remove(&key.regular_expression);
                }
            },
            // The group itself goes with the tombstone of its epoch; what Kafka up to 4.0 wrote of
            // its topics is now in the hash; and the rest are not records of consumer groups.
            Record::ConsumerGroupMetadata(_, None)
            | Record::ConsumerGroupTargetAssignmentMetadata(_, None)
            | Record::ConsumerGroupPartitionMetadata(..)
            | Record::OffsetCommit(..)
            | Record::GroupMetadata(..) => {}
        }
    }

    fn replay_member(&mut self, id: KafkaStr, value: &log::ConsumerGroupMemberMetadataValue) {
        let detached = |text: &Option<KafkaStr>| text.as_ref().map(KafkaStr::detached);
        let copied = |bytes: &bytes::Bytes| bytes::Bytes::copy_from_slice(bytes);
        let info = MemberInfo {
            instance_id: detached(&value.instance_id),
            rack_id: detached(&value.rack_id),
            client_id: value.client_id.detached(),
            client_host: value.client_host.detached(),
            topic_names: value.subscribed_topic_names.iter().map(KafkaStr::detached).collect(),
            topic_regex: detached(&value.subscribed_topic_regex).filter(|text| !text.is_empty()),
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            assignor: detached(&value.server_assignor),
            classic: value.classic_member_metadata.as_ref().map(|classic| ClassicInfo {
                session_timeout_ms: classic.session_timeout_ms,
                protocols: classic
                    .supported_protocols
                    .iter()
                    .map(|protocol| (protocol.name.detached(), copied(&protocol.metadata)))
                    .collect(),
            }),
        };
        if let Some(instance_id) = &info.instance_id {
            self.static_members.insert(instance_id.clone(), id.clone());
        }
        self.members.entry(id).or_default().info = Rc::new(info);
    }

    fn forget_member(&mut self, id: &KafkaStr) {
        self.release(id);
        self.sessions.remove(id);
        self.revocations.remove(id);
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance_id) = &member.info.instance_id
            && self.static_members.get(instance_id) == Some(id)
        {
            self.static_members.remove(instance_id);
        }
    }

    fn replay_current(
        &mut self,
        id: &KafkaStr,
        value: Option<&log::ConsumerGroupCurrentMemberAssignmentValue>,
    ) {
        self.release(id);
        let Some(value) = value else {
            if let Some(member) = self.members.get_mut(id) {
                member.current = Rc::default();
            }
            return;
        };
        let current = Current {
            epoch: value.member_epoch,
            previous_epoch: value.previous_member_epoch,
            state: MemberState::from_code(value.state),
            assigned: from_held(&value.assigned_partitions, value.member_epoch),
            revoking: from_held(&value.partitions_pending_revocation, value.member_epoch),
        };
        let id = id.detached();
        self.owners.extend(current.occupied().map(|at| (*at, id.clone())));
        self.members.entry(id).or_default().current = Rc::new(current);
    }

    /// Nobody has what the member had.
    fn release(&mut self, id: &KafkaStr) {
        let Some(member) = self.members.get(id) else { return };
        for at in member.current.occupied() {
            if self.owners.get(at) == Some(id) {
                self.owners.remove(at);
            }
        }
    }

    /// The records that make all of the group forgotten.
    pub(crate) fn tombstones(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for id in self.members.keys() {
            records.push(current(&self.id, id, None));
        }
        records.extend(self.targets.keys().map(|id| target(&self.id, id, None)));
        records.extend(self.members.keys().map(|id| member(&self.id, id, None)));
        records.extend(self.regexes.keys().map(|pattern| regex(&self.id, pattern, None)));
        let group_id = self.id.clone();
        let key = log::ConsumerGroupTargetAssignmentMetadataKey { group_id, ..Default::default() };
        records.push(Record::ConsumerGroupTargetAssignmentMetadata(key, None));
        let group_id = self.id.clone();
        let key = log::ConsumerGroupMetadataKey { group_id, ..Default::default() };
        records.push(Record::ConsumerGroupMetadata(key, None));
        records
    }
}
