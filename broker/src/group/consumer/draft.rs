//! A change of a group in the making: the group as it will be, over the group as it is, and the
//! records that make it so. Dropped without a trace if the journal does not take the records.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use thalweg_protocol::KafkaStr;
use thalweg_protocol::group_record::Record;

use super::member::{Current, Member, MemberInfo};
use super::regex::ResolvedRegex;
use super::{ConsumerGroup, record};
use crate::controller::image::Image;
use crate::group::assignor::TopicPartition;

/// A change in the making.
pub(super) struct Draft<'a> {
    pub(super) group: &'a ConsumerGroup,
    pub(super) image: &'a Image,
    /// The group epoch.
    pub(super) epoch: i32,
    pub(super) assignment_epoch: i32,
    /// Members that differ from the group's; `None` for those that will be gone.
    members: BTreeMap<KafkaStr, Option<Member>>,
    targets: BTreeMap<KafkaStr, BTreeSet<TopicPartition>>,
    pub(super) regexes: BTreeMap<KafkaStr, Option<ResolvedRegex>>,
    pub(super) records: Vec<Record>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(group: &'a ConsumerGroup, image: &'a Image) -> Self {
        Draft {
            group,
            image,
            epoch: group.epoch,
            assignment_epoch: group.assignment_epoch,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            regexes: BTreeMap::new(),
            records: Vec::new(),
        }
    }

    /// The member at `id`, if there will be one.
    pub(super) fn member(&self, id: &KafkaStr) -> Option<&Member> {
        match self.members.get(id) {
            Some(changed) => changed.as_ref(),
            None => self.group.members.get(id),
        }
    }

    /// All members there will be, in order of ids.
    pub(super) fn members(&self) -> Vec<(&KafkaStr, &Member)> {
        let kept = self.group.members.iter().filter(|(id, _)| !self.members.contains_key(*id));
        let changed = self.members.iter().filter_map(|(id, member)| Some((id, member.as_ref()?)));
        let mut members: Vec<_> = kept.chain(changed).collect();
        members.sort_unstable_by_key(|(id, _)| *id);
        members
    }

    /// What the member at `id` is to have, if that is known.
    pub(super) fn target(&self, id: &KafkaStr) -> Option<&BTreeSet<TopicPartition>> {
        match self.targets.get(id) {
            Some(changed) => Some(changed),
            None => self.group.targets.get(id),
        }
    }

    /// The topics that `pattern` stands for.
    pub(super) fn regex(&self, pattern: &KafkaStr) -> Option<&ResolvedRegex> {
        match self.regexes.get(pattern) {
            Some(changed) => changed.as_ref(),
            None => self.group.regexes.get(pattern),
        }
    }

    /// Whether `id` can have a partition: whoever occupied it is `id` itself, or gone.
    pub(super) fn is_free(&self, at: &TopicPartition, id: &KafkaStr) -> bool {
        let owner = self.group.owners.get(at);
        owner.is_none_or(|owner| owner == id || matches!(self.members.get(owner), Some(None)))
    }

    /// The member says `info` of itself. Returns whether that is news.
    pub(super) fn put_info(&mut self, id: &KafkaStr, info: MemberInfo) -> bool {
        let before = self.member(id);
        if before.is_some_and(|member| *member.info == info) {
            return false;
        }
        let current = before.map(|member| Rc::clone(&member.current)).unwrap_or_default();
        self.records.push(record::member(&self.group.id, id, Some(&info)));
        self.members.insert(id.clone(), Some(Member { info: Rc::new(info), current }));
        true
    }

    /// The member has `current`.
    pub(super) fn put_current(&mut self, id: &KafkaStr, current: Current) {
        let Some(member) = self.member(id) else { return };
        let info = Rc::clone(&member.info);
        self.records.push(record::current(&self.group.id, id, Some(&current)));
        self.members.insert(id.clone(), Some(Member { info, current: Rc::new(current) }));
    }

    /// The member is to have `target`.
    pub(super) fn put_target(&mut self, id: &KafkaStr, target: BTreeSet<TopicPartition>) {
        if self.target(id) == Some(&target) {
            return;
        }
        self.records.push(record::target(&self.group.id, id, Some(&target)));
        self.targets.insert(id.clone(), target);
    }

    /// The member is gone.
    pub(super) fn remove(&mut self, id: &KafkaStr) {
        let group_id = &self.group.id;
        self.records.extend([
            record::current(group_id, id, None),
            record::target(group_id, id, None),
            record::member(group_id, id, None),
        ]);
        self.targets.remove(id);
        self.members.insert(id.clone(), None);
    }

    /// `new_id` stands in the place of `old_id`, with all that it was and had, but to the epoch
    /// that joins.
    pub(super) fn replace(&mut self, old_id: &KafkaStr, new_id: &KafkaStr) {
        let Some(old) = self.member(old_id).cloned() else { return };
        let target = self.target(old_id).cloned();
        self.remove(old_id);
        self.put_info(new_id, MemberInfo::clone(&old.info));
        if let Some(target) = target {
            self.put_target(new_id, target);
        }
        let current = Current { epoch: 0, previous_epoch: 0, ..Current::clone(&old.current) };
        self.put_current(new_id, current);
    }

    /// The group goes to its next epoch.
    pub(super) fn bump_epoch(&mut self, metadata_hash: i64) {
        self.epoch = self.epoch.saturating_add(1);
        self.records.push(record::group(&self.group.id, self.epoch, metadata_hash));
    }

    /// `pattern` stands for `resolved`, or is used by nobody any more.
    pub(super) fn put_regex(&mut self, pattern: &KafkaStr, resolved: Option<ResolvedRegex>) {
        self.records.push(record::regex(&self.group.id, pattern, resolved.as_ref()));
        self.regexes.insert(pattern.clone(), resolved);
    }
}
