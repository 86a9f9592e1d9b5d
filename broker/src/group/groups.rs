//! The groups of one partition of `__consumer_offsets`: a state machine over its records.
//!
//! Requests change it by way of the group's own protocol (`classic`) or by records that are
//! appended and then replayed here; a new coordinator replays all of them.

use std::collections::HashMap;

use thalweg_protocol::group_record::Record;
use thalweg_protocol::messages::describe_groups::DescribedGroup;
use thalweg_protocol::messages::list_groups::ListedGroup;
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::classic::{ClassicGroup, Join, Leave, Sync, refused_join, refused_sync};
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
        }
    }

    /// Whether it has no members and none are on their way.
    pub(crate) fn is_idle(&self) -> bool {
        match &self.kind {
            GroupKind::Classic(classic) => classic.is_idle(),
        }
    }

    /// Whether its members read `topic`.
    pub(crate) fn reads_topic(&self, topic: &str) -> bool {
        match &self.kind {
            GroupKind::Classic(classic) => classic.reads_topic(topic),
        }
    }

    /// The records that make the group itself forgotten; its offsets have their own.
    pub(crate) fn tombstones(&self) -> Vec<Record> {
        match &self.kind {
            GroupKind::Classic(classic) => vec![classic.tombstone()],
        }
    }

    /// Whether nothing of it is worth keeping, in memory or on disk.
    fn is_worthless(&self) -> bool {
        let GroupKind::Classic(classic) = &self.kind;
        classic.is_idle() && !classic.has_history() && self.offsets.is_empty()
    }

    /// When time has something to do here next.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        match &self.kind {
            GroupKind::Classic(classic) => classic.next_deadline(),
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

    /// Forgets a group without leaving a trace.
    pub(super) fn forget(&mut self, id: &str) {
        self.by_id.remove(id);
    }

    /// Takes over what a record says.
    pub(crate) fn replay(&mut self, record: &Record) {
        let id = record.group_id();
        if record.is_tombstone() && !self.by_id.contains_key(id) {
            return;
        }
        let group = match self.by_id.get_mut(id) {
            Some(group) => group,
            None => {
                let id = id.detached();
                self.by_id.entry(id.clone()).or_insert_with(|| Group::new(id))
            }
        };
        match record {
            Record::OffsetCommit(key, value) => group.offsets.replay(key, value.as_ref()),
            Record::GroupMetadata(key, Some(value)) => {
                group.kind = GroupKind::Classic(ClassicGroup::from_record(key, value));
            }
            Record::GroupMetadata(key, None) => {
                group.kind = GroupKind::Classic(ClassicGroup::new(key.group.detached()));
            }
            // Groups of the newer protocol are not coordinated here.
            _ => {}
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
        if let Some(Group { kind: GroupKind::Classic(classic), .. }) = self.by_id.get_mut(id) {
            classic.on_loaded(turn);
        }
        self.maybe_forget(id);
    }

    /// JoinGroup. A group begins with its first member, but not with one that claims to be known.
    pub(crate) fn join(&mut self, id: &KafkaStr, join: Join, waiter: Waiter, turn: &mut Turn<'_>) {
        if join.member_id.is_empty() && !self.by_id.contains_key(id) {
            self.by_id.insert(id.clone(), Group::new(id.clone()));
        }
        match self.by_id.get_mut(id) {
            Some(Group { kind: GroupKind::Classic(classic), .. }) => {
                classic.join(join, waiter, turn);
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
        };
        self.maybe_forget(id);
        Ok(outcomes)
    }

    /// Does everything whose time has come in one group.
    pub(crate) fn on_time(&mut self, id: &str, turn: &mut Turn<'_>) {
        if let Some(Group { kind: GroupKind::Classic(classic), .. }) = self.by_id.get_mut(id) {
            classic.on_time(turn);
        }
        self.maybe_forget(id);
    }

    /// DescribeGroups of one group, if it is there.
    pub(crate) fn describe(&self, id: &str) -> Option<DescribedGroup> {
        match &self.by_id.get(id)?.kind {
            GroupKind::Classic(classic) => Some(classic.describe()),
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
        };
        self.by_id.iter().map(listed).collect()
    }
}
