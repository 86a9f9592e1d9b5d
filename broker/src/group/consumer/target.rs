//! The target assignment: what every member is to have at the group's epoch.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_protocol::KafkaStr;
use uuid::Uuid;

use super::ConsumerGroup;
use super::draft::Draft;
use super::member::{Member, MemberInfo};
use super::record;
use super::settings::ConsumerSettings;
use crate::group::assignor::{Assignor, MemberSpec, PartitionCounts, TopicPartition};
use crate::group::turn::Turn;

impl Draft<'_> {
    /// Whether the last assignment is old enough for the next. The group's first member does not
    /// wait.
    pub(super) fn may_assign(&self, turn: &Turn<'_>) -> bool {
        self.group.is_empty() || self.group.assignment_due_in(turn).is_none()
    }

    /// Assigns anew if the group epoch has grown since.
    pub(super) fn update_targets(&mut self, turn: &Turn<'_>) {
        if self.epoch <= self.assignment_epoch {
            return;
        }
        for (id, target) in self.assign(&turn.settings.consumer) {
            self.put_target(&id, target);
        }
        self.assignment_epoch = self.epoch;
        let record = record::assignment_epoch(&self.group.id, self.epoch, turn.wall_ms);
        self.records.push(record);
    }

    fn assign(&self, settings: &ConsumerSettings) -> Vec<(KafkaStr, BTreeSet<TopicPartition>)> {
        let members = self.members();
        // Most groups have one subscription: its topics are looked up, and compared, once.
        let mut subscriptions: BTreeMap<(&BTreeSet<KafkaStr>, Option<&KafkaStr>), BTreeSet<Uuid>> =
            BTreeMap::new();
        for (_, member) in &members {
            let entry = subscriptions.entry(subscription(&member.info));
            entry.or_insert_with(|| self.topic_ids(&member.info));
        }
        let topics = subscriptions.values().flatten();
        let counts: PartitionCounts = topics
            .filter_map(|id| Some((*id, self.image.topic_by_id(*id)?.partition_count())))
            .collect();
        let nothing = (BTreeSet::new(), BTreeSet::new());
        let specs: Vec<MemberSpec<'_>> = members
            .iter()
            .map(|(id, member)| MemberSpec {
                id,
                instance_id: member.info.instance_id.as_deref(),
                topics: subscriptions.get(&subscription(&member.info)).unwrap_or(&nothing.0),
                assigned: self.target(id).unwrap_or(&nothing.1),
            })
            .collect();
        let assignor = preferred_assignor(&members, settings);
        let targets = assignor.assign(&specs, &counts);
        members.into_iter().map(|(id, _)| id.clone()).zip(targets).collect()
    }
}

impl ConsumerGroup {
    /// How long the assignment there is must still do.
    pub(super) fn assignment_due_in(&self, turn: &Turn<'_>) -> Option<u64> {
        let due_ms =
            self.assigned_ms?.saturating_add(turn.settings.consumer.assignment_interval_ms);
        due_ms.checked_sub(turn.now_ms).filter(|wait_ms| *wait_ms > 0)
    }
}

fn subscription(info: &MemberInfo) -> (&BTreeSet<KafkaStr>, Option<&KafkaStr>) {
    (&info.topic_names, info.topic_regex.as_ref())
}

/// The strategy that most members ask for; of two, the one that the operator prefers.
pub(super) fn preferred_assignor(
    members: &[(&KafkaStr, &Member)],
    settings: &ConsumerSettings,
) -> Assignor {
    let votes = |assignor: &Assignor| {
        let wants = |member: &Member| member.info.assignor.as_deref() == Some(assignor.name());
        members.iter().filter(|(_, member)| wants(member)).count()
    };
    // Of equals `max_by_key` takes the last.
    let preferred = settings.assignors.iter().rev().max_by_key(|assignor| votes(assignor));
    preferred
        .copied()
        .filter(|assignor| votes(assignor) > 0)
        .unwrap_or(settings.assignors.default_assignor())
}
