//! A classic group as it stands in the log, in Kafka's form, and back.
//!
//! Written when a leader has assigned, when a static member has a new id, and when a group becomes
//! empty. Whatever a group is about in between is lost with the coordinator: members join again.

use std::collections::HashMap;

use bytes::Bytes;
use thalweg_protocol::KafkaStr;
use thalweg_protocol::group_record::{
    GroupMetadataKey, GroupMetadataValue, MemberMetadata, Record,
};

use super::member::{Member, MemberInfo, Protocol};
use super::{ClassicGroup, State, subscription};
use crate::group::turn::Turn;

impl ClassicGroup {
    /// The group as it is.
    pub(crate) fn to_record(&self) -> Record {
        self.record(self.value())
    }

    /// The record that makes the group forgotten.
    pub(crate) fn tombstone(&self) -> Record {
        Record::GroupMetadata(self.key(), None)
    }

    /// The group as it will be, stable, with this assignment.
    pub(super) fn record_with_assignments(
        &self,
        assignments: &HashMap<KafkaStr, Bytes>,
        wall_ms: i64,
    ) -> Record {
        let mut value = self.value();
        value.current_state_timestamp = wall_ms;
        for member in &mut value.members {
            member.assignment = assignments.get(&member.member_id).cloned().unwrap_or_default();
        }
        self.record(value)
    }

    /// The group as it will be when `new_id` stands in the place of `old_id`.
    pub(super) fn record_with_replaced(
        &self,
        old_id: &KafkaStr,
        new_id: &KafkaStr,
        info: &MemberInfo,
    ) -> Record {
        let mut value = self.value();
        if let Some(leader) = value.leader.as_mut().filter(|leader| *leader == old_id) {
            *leader = new_id.clone();
        }
        if let Some(member) = value.members.iter_mut().find(|member| member.member_id == *old_id) {
            let assignment = std::mem::take(&mut member.assignment);
            *member = self.member_value(new_id, info, assignment);
        }
        self.record(value)
    }

    fn key(&self) -> GroupMetadataKey {
        GroupMetadataKey { group: self.id.clone(), ..GroupMetadataKey::default() }
    }

    fn record(&self, value: GroupMetadataValue) -> Record {
        Record::GroupMetadata(self.key(), Some(value))
    }

    fn value(&self) -> GroupMetadataValue {
        let member = |(id, member): (&KafkaStr, &Member)| {
            self.member_value(id, &member.info, member.assignment.clone())
        };
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since_ms,
            members: self.members.iter().map(member).collect(),
            ..GroupMetadataValue::default()
        }
    }

    fn member_value(&self, id: &KafkaStr, info: &MemberInfo, assignment: Bytes) -> MemberMetadata {
        MemberMetadata {
            member_id: id.clone(),
            group_instance_id: info.instance_id.clone(),
            client_id: info.client_id.clone(),
            client_host: info.client_host.clone(),
            rebalance_timeout: info.rebalance_timeout_ms,
            session_timeout: info.session_timeout_ms,
            subscription: info.metadata(self.protocol.as_deref().unwrap_or_default()),
            assignment,
            ..MemberMetadata::default()
        }
    }

    /// A group as a record left it. Its members' sessions begin with `on_loaded`.
    pub(crate) fn from_record(key: &GroupMetadataKey, value: &GroupMetadataValue) -> ClassicGroup {
        let mut group = ClassicGroup::new(key.group.detached());
        group.generation = value.generation;
        group.protocol_type = Some(value.protocol_type.detached()).filter(|kind| !kind.is_empty());
        group.protocol = value.protocol.as_ref().map(KafkaStr::detached);
        group.leader = value.leader.as_ref().map(KafkaStr::detached);
        group.state_since_ms = value.current_state_timestamp;
        for member in &value.members {
            group.restore_member(member);
        }
        if !group.members.is_empty() {
            group.state = State::Stable;
        }
        group.subscribed = match group.members.is_empty() {
            true => group.is_of_consumers().then(Default::default),
            false => subscription::of_group(&group),
        };
        group
    }

    fn restore_member(&mut self, stored: &MemberMetadata) {
        let metadata = Bytes::copy_from_slice(&stored.subscription);
        let protocol = self.protocol.clone().unwrap_or_default();
        let mut member = Member::new(MemberInfo {
            instance_id: stored.group_instance_id.as_ref().map(KafkaStr::detached),
            client_id: stored.client_id.detached(),
            client_host: stored.client_host.detached(),
            rebalance_timeout_ms: stored.rebalance_timeout,
            session_timeout_ms: stored.session_timeout,
            protocols: vec![Protocol { name: protocol, metadata }],
        });
        member.is_new = false;
        member.assignment = Bytes::copy_from_slice(&stored.assignment);
        let id = stored.member_id.detached();
        self.counts.add(&member.info.protocols);
        self.metadata_bytes += member.info.metadata_bytes();
        if let Some(instance_id) = &member.info.instance_id {
            self.static_members.insert(instance_id.clone(), id.clone());
        }
        self.members.insert(id, member);
    }

    /// The coordinator begins to serve a group it has loaded: sessions start now.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<KafkaStr> = self.members.keys().cloned().collect();
        for id in &ids {
            // Who has come meanwhile has a session already.
            if !self.sessions.contains(id) {
                self.restart_session(id, turn);
            }
        }
        if ids.len() > turn.settings.members_max {
            self.prepare_rebalance(turn);
        }
    }
}
