//! What others want to know of a consumer group: admin tools, and the part of the coordinator that
//! keeps offsets.

use std::borrow::Cow;
use std::collections::BTreeSet;

use thalweg_protocol::messages::consumer_group_describe::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::member::{Current, Member};
use super::partitions::by_topic;
use super::target::preferred_assignor;
use super::{ConsumerGroup, Refusal, refuse};
use crate::controller::image::Image;
use crate::group::assignor::TopicPartition;
use crate::group::classic::Retention;
use crate::group::turn::Turn;

/// The first version of OffsetCommit that knows member epochs.
const COMMIT_VERSION_MIN: i16 = 9;

impl ConsumerGroup {
    /// Where the group stands, under Kafka's names.
    pub(crate) fn state_name(&self) -> &'static str {
        let is_reconciled =
            |member: &Member| member.current.is_reconciled_to(self.assignment_epoch);
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.assignment_epoch {
            "Assigning"
        } else if self.members.values().all(is_reconciled) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// The group with its members, what they have, and what they are to have.
    pub(crate) fn describe(&self, turn: &Turn<'_>) -> DescribedGroup {
        let (image, settings) = (turn.image, &turn.settings.consumer);
        let members: Vec<_> = self.members.iter().collect();
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: self.state_name().into(),
            group_epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            assignor_name: preferred_assignor(&members, settings).name().into(),
            members: members.iter().map(|(id, it)| self.describe_member(id, it, image)).collect(),
            ..DescribedGroup::default()
        }
    }

    fn describe_member(&self, id: &KafkaStr, member: &Member, image: &Image) -> DescribedMember {
        let info = &member.info;
        let target = self.targets.get(id);
        DescribedMember {
            member_id: id.clone(),
            instance_id: info.instance_id.clone(),
            rack_id: info.rack_id.clone(),
            member_epoch: member.current.epoch,
            client_id: info.client_id.clone(),
            client_host: info.client_host.clone(),
            subscribed_topic_names: info.topic_names.iter().cloned().collect(),
            subscribed_topic_regex: info.topic_regex.clone(),
            assignment: with_names(member.current.assigned.keys(), image),
            target_assignment: with_names(target.into_iter().flatten(), image),
            member_type: if member.is_classic() { 0 } else { 1 },
            ..DescribedMember::default()
        }
    }

    /// Whether offsets of a topic are in use: a member subscribes to it.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.members.values().any(|member| {
            let info = &member.info;
            let resolved = info.topic_regex.as_ref().and_then(|it| self.regexes.get(it));
            info.topic_names.contains(topic)
                || resolved.is_some_and(|resolved| resolved.topics.contains(topic))
        })
    }

    /// How the offsets of this group age: from their commit, unless a member reads the topic.
    pub(crate) fn retention(&self) -> Retention<'_> {
        Retention::SinceCommit { unless_in: Some(Cow::Owned(self.subscribed_topics())) }
    }

    /// All topics that members subscribe to.
    pub(super) fn subscribed_topics(&self) -> BTreeSet<KafkaStr> {
        let members = self.members.values();
        let names = members.flat_map(|member| member.info.topic_names.iter());
        let resolved = self.regexes.values().flat_map(|resolved| resolved.topics.iter());
        names.chain(resolved).cloned().collect()
    }

    /// Whether a member at `epoch` may commit offsets of `partitions`. With an older epoch it may
    /// for what it has had since then (KIP-1251). Without members anybody may who states no epoch.
    pub(crate) fn check_commit(
        &self,
        version: i16,
        member_id: &str,
        epoch: i32,
        mut partitions: impl Iterator<Item = TopicPartition>,
    ) -> Result<(), Refusal> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.member(member_id)?;
        if !member.is_classic() && version < COMMIT_VERSION_MIN {
            let message = "Members of consumer groups commit with version 9 and later.";
            return refuse(ErrorCode::UnsupportedVersion, message);
        }
        if epoch == member.current.epoch {
            return Ok(());
        }
        let has_had = |at: TopicPartition| had_since(&member.current, at, epoch);
        if epoch < 0
            || epoch > member.current.epoch
            || member.is_classic()
            || !partitions.all(has_had)
        {
            return stale(member, epoch);
        }
        Ok(())
    }

    /// Whether a member at `epoch` may ask for offsets. Whoever states neither may always.
    pub(crate) fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), Refusal> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = self.member(member_id.unwrap_or_default())?;
        if epoch == member.current.epoch { Ok(()) } else { stale(member, epoch) }
    }
}

fn had_since(current: &Current, at: TopicPartition, epoch: i32) -> bool {
    let since = current.assigned.get(&at).or_else(|| current.revoking.get(&at));
    since.is_some_and(|since| *since <= epoch)
}

/// A member of the classic protocol knows its epoch as a generation.
fn stale(member: &Member, epoch: i32) -> Result<(), Refusal> {
    let ours = member.current.epoch;
    let code = match member.is_classic() {
        true => ErrorCode::IllegalGeneration,
        false => ErrorCode::StaleMemberEpoch,
    };
    refuse(code, format!("The member states the epoch {epoch}; the coordinator has {ours}."))
}

/// Partitions of the topics there still are, with the topics' names.
fn with_names<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
    image: &Image,
) -> Assignment {
    let topics = by_topic(partitions).into_iter();
    let topic_partitions = topics.filter_map(|(topic_id, partitions)| {
        let topic = image.topic_by_id(topic_id)?;
        Some(TopicPartitions {
            topic_id,
            topic_name: KafkaStr::copied_from(&topic.name),
            partitions,
            ..TopicPartitions::default()
        })
    });
    Assignment { topic_partitions: topic_partitions.collect(), ..Assignment::default() }
}
