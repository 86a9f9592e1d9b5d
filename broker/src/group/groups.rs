//! The groups of one partition of `__consumer_offsets`: a state machine over its records.
//!
//! Requests change it by way of the group's own protocol (`classic`) or by records that are
//! appended and then replayed here; a new coordinator replays all of them.

use std::collections::{BTreeSet, HashMap};

use thalweg_protocol::group_record::Record;
use thalweg_protocol::messages::describe_groups::DescribedGroup;
use thalweg_protocol::messages::list_groups::ListedGroup;
use thalweg_protocol::{ErrorCode, KafkaStr};
use uuid::Uuid;

use super::classic::{CONSUMER, ClassicGroup, Join, Leave, Sync, refused_join, refused_sync};
use super::consumer::ConsumerGroup;
use super::offsets::Offsets;
use super::turn::{Turn, Waiter};

/// A group: its members by one protocol or another, and its offsets.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) kind: GroupKind,
    pub(crate) offsets: Offsets,
}

/// Which protocol the members speak. A group that only has offsets is a classic one.
#[derive(Clone, Debug)]
pub(crate) enum GroupKind {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
}

impl Group {
    fn new(id: KafkaStr) -> Group {
        let kind = GroupKind::Classic(ClassicGroup::new(id));
        Group { kind, offsets: Offsets::default() }
    }

    /// Whether it has no members.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.kind {
            GroupKind::Classic(classic) => classic.is_empty(),
            GroupKind::Consumer(consumer) => consumer.is_empty(),
        }
    }

    /// Whether it has no members and none are on their way.
    pub(crate) fn is_idle(&self) -> bool {
        match &self.kind {
            GroupKind::Classic(classic) => classic.is_idle(),
            GroupKind::Consumer(consumer) => consumer.is_empty(),
        }
    }

    /// Whether its members read `topic`.
    pub(crate) fn reads_topic(&self, topic: &str) -> bool {
        match &self.kind {
            GroupKind::Classic(classic) => classic.reads_topic(topic),
            GroupKind::Consumer(consumer) => consumer.is_subscribed_to(topic),
        }
    }

    /// The records that make the group itself forgotten; its offsets have their own.
    pub(crate) fn tombstones(&self) -> Vec<Record> {
        match &self.kind {
            GroupKind::Classic(classic) => vec![classic.tombstone()],
            GroupKind::Consumer(consumer) => consumer.tombstones(),
        }
    }

    /// Whether nothing of it is worth keeping, in memory or on disk.
    fn is_worthless(&self) -> bool {
        match &self.kind {
            GroupKind::Classic(classic) => {
                classic.is_idle() && !classic.has_history() && self.offsets.is_empty()
            }
            GroupKind::Consumer(_) => false,
        }
    }

    /// When time has something to do here next.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        match &self.kind {
            GroupKind::Classic(classic) => classic.next_deadline(),
            GroupKind::Consumer(consumer) => consumer.next_deadline(),
        }
    }
}

/// All groups of one partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    by_id: HashMap<KafkaStr, Group>,
}

impl Groups {
    /// The group called `id`.
    pub(crate) fn get(&self, id: &str) -> Option<&Group> {
        self.by_id.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Group> {
        self.by_id.get_mut(id)
    }

    /// The ids of all groups.
    pub(crate) fn ids(&self) -> Vec<KafkaStr> {
        self.by_id.keys().cloned().collect()
    }

    /// The topics in which any group has offsets, with their ids as far as they were known.
    pub(super) fn topics_with_offsets(&self) -> BTreeSet<(KafkaStr, Uuid)> {
        let offsets = self.by_id.values().flat_map(|group| group.offsets.iter());
        offsets.map(|(topic, _, offset)| (topic.clone(), offset.topic_id)).collect()
    }

    /// Forgets a group without leaving a trace.
    pub(super) fn forget(&mut self, id: &str) {
        self.by_id.remove(id);
    }

    /// The group called `id`, made if it is not there.
    pub(super) fn entry(&mut self, id: &KafkaStr) -> &mut Group {
        if !self.by_id.contains_key(id) {
            let id = id.detached();
            self.by_id.insert(id.clone(), Group::new(id));
        }
        let group = self.by_id.get_mut(id);
        group.unwrap_or_else(|| unreachable!("the group {id} was inserted"))
    }

    /// Takes over what a record says.
    pub(crate) fn replay(&mut self, record: &Record) {
        let id = record.group_id();
        if record.is_tombstone() && !self.by_id.contains_key(id) {
            return;
        }
        let group = self.entry(id);
        match record {
            Record::OffsetCommit(key, value) => group.offsets.replay(key, value.as_ref()),
            Record::GroupMetadata(key, Some(value)) => {
                group.kind = GroupKind::Classic(ClassicGroup::from_record(key, value));
            }
            Record::GroupMetadata(key, None) => {
                if let GroupKind::Classic(classic) = &mut group.kind {
                    *classic = ClassicGroup::new(key.group.detached());
                }
            }
            Record::ConsumerGroupMetadata(..)
            | Record::ConsumerGroupPartitionMetadata(..)
            | Record::ConsumerGroupMemberMetadata(..)
            | Record::ConsumerGroupTargetAssignmentMetadata(..)
            | Record::ConsumerGroupTargetAssignmentMember(..)
            | Record::ConsumerGroupCurrentMemberAssignment(..)
            | Record::ConsumerGroupRegularExpression(..) => group.replay_consumer(record),
        }
        if record.is_tombstone() {
            self.maybe_forget(record.group_id());
        }
    }

    /// Drops a group that came to nothing: ids are a client's, and memory is ours.
    fn maybe_forget(&mut self, id: &str) {
        if self.by_id.get(id).is_some_and(Group::is_worthless) {
            self.by_id.remove(id);
        }
    }

    /// Everything is loaded: sessions begin.
    pub(crate) fn on_loaded(&mut self, id: &str, turn: &mut Turn<'_>) {
        match self.by_id.get_mut(id).map(|group| &mut group.kind) {
            Some(GroupKind::Classic(classic)) => classic.on_loaded(turn),
            Some(GroupKind::Consumer(consumer)) => consumer.on_loaded(turn),
            None => {}
        }
        self.maybe_forget(id);
    }

    /// JoinGroup. A group begins with its first member, but not with one that claims to be known.
    pub(crate) fn join(&mut self, id: &KafkaStr, join: Join, waiter: Waiter, turn: &mut Turn<'_>) {
        if join.member_id.is_empty() && !self.by_id.contains_key(id) {
            self.by_id.insert(id.clone(), Group::new(id.clone()));
        }
        if let Err(code) = self.make_classic_if_empty(id, turn) {
            turn.answer_join(waiter, refused_join(&join.member_id, code));
            return;
        }
        match self.by_id.get_mut(id) {
            Some(Group { kind: GroupKind::Classic(classic), .. }) => {
                classic.join(join, waiter, turn);
            }
            Some(Group { kind: GroupKind::Consumer(consumer), .. }) => {
                consumer.join(&join, waiter, turn);
                self.maybe_downgrade(id, turn);
            }
            None => {
                let refused = refused_join(&join.member_id, ErrorCode::UnknownMemberId);
                turn.answer_join(waiter, refused);
            }
        }
        self.maybe_forget(id);
    }

    /// SyncGroup.
    pub(crate) fn sync(&mut self, id: &KafkaStr, sync: &Sync, waiter: Waiter, turn: &mut Turn<'_>) {
        match self.by_id.get_mut(id) {
            Some(Group { kind: GroupKind::Classic(classic), .. }) => {
                classic.sync(sync, waiter, turn);
            }
            Some(Group { kind: GroupKind::Consumer(consumer), .. }) => {
                consumer.sync(sync, waiter, turn);
            }
            None => turn.answer_sync(waiter, refused_sync(ErrorCode::UnknownMemberId)),
        }
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        id: &KafkaStr,
        member_id: &KafkaStr,
        instance_id: Option<&KafkaStr>,
        generation: i32,
        turn: &Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let group = self.by_id.get_mut(id).ok_or(ErrorCode::UnknownMemberId)?;
        match &mut group.kind {
            GroupKind::Classic(classic) => {
                classic.heartbeat(member_id, instance_id, generation, turn)
            }
            GroupKind::Consumer(consumer) => {
                consumer.classic_heartbeat(member_id, instance_id, generation, turn)
            }
        }
    }

    /// LeaveGroup: the outcome of each member, or why all are refused.
    pub(crate) fn leave(
        &mut self,
        id: &KafkaStr,
        leaves: &[Leave],
        turn: &mut Turn<'_>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let group = self.by_id.get_mut(id).ok_or(ErrorCode::UnknownMemberId)?;
        let outcomes = match &mut group.kind {
            GroupKind::Classic(classic) => classic.leave(leaves, turn),
            GroupKind::Consumer(consumer) => consumer.leave_classic(leaves, turn)?,
        };
        self.maybe_downgrade(id, turn);
        self.maybe_forget(id);
        Ok(outcomes)
    }

    /// Does everything whose time has come in one group.
    pub(crate) fn on_time(&mut self, id: &KafkaStr, turn: &mut Turn<'_>) {
        match self.by_id.get_mut(id).map(|group| &mut group.kind) {
            Some(GroupKind::Classic(classic)) => classic.on_time(turn),
            Some(GroupKind::Consumer(consumer)) => {
                consumer.on_time(turn);
                self.maybe_downgrade(id, turn);
            }
            None => {}
        }
        self.maybe_forget(id);
    }

    /// DescribeGroups of one group, if it is there.
    pub(crate) fn describe(&self, id: &str) -> Option<DescribedGroup> {
        match &self.by_id.get(id)?.kind {
            GroupKind::Classic(classic) => Some(classic.describe()),
            // It has a request of its own.
            GroupKind::Consumer(_) => None,
        }
    }

    /// ListGroups, unfiltered.
    pub(crate) fn list(&self) -> Vec<ListedGroup> {
        let listed = |(id, group): (&KafkaStr, &Group)| match &group.kind {
            GroupKind::Classic(classic) => ListedGroup {
                group_id: id.clone(),
                protocol_type: classic.protocol_type().cloned().unwrap_or_default(),
                group_state: classic.state().name().into(),
                group_type: "classic".into(),
                ..ListedGroup::default()
            },
            GroupKind::Consumer(consumer) => ListedGroup {
                group_id: id.clone(),
                protocol_type: CONSUMER.into(),
                group_state: consumer.state_name().into(),
                group_type: "consumer".into(),
                ..ListedGroup::default()
            },
        };
        self.by_id.iter().map(listed).collect()
    }
}
