//! Partitions as requests, answers and records have them, by topic, and as the machine has them,
//! one by one.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_protocol::group_record::{TopicPartition as TargetTopic, TopicPartitions as HeldTopic};
use thalweg_protocol::messages::consumer_group_heartbeat::TopicPartitions as HeartbeatTopic;
use uuid::Uuid;

use crate::group::assignor::TopicPartition;

/// Partitions that a member has, each with the group epoch at which it got it.
pub(crate) type Held = BTreeMap<TopicPartition, i32>;

/// Partitions in order of topics.
pub(super) fn by_topic<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
) -> BTreeMap<Uuid, Vec<i32>> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for at in partitions {
        topics.entry(at.topic_id).or_default().push(at.partition);
    }
    topics
}

fn one_by_one(topic_id: Uuid, partitions: &[i32]) -> impl Iterator<Item = TopicPartition> + '_ {
    partitions.iter().map(move |&partition| TopicPartition { topic_id, partition })
}

/// What a member says it has.
pub(super) fn from_heartbeat(topics: &[HeartbeatTopic]) -> BTreeSet<TopicPartition> {
    topics.iter().flat_map(|topic| one_by_one(topic.topic_id, &topic.partitions)).collect()
}

/// What a member is told to have.
pub(super) fn to_heartbeat(held: &Held) -> Vec<HeartbeatTopic> {
    let topics = by_topic(held.keys()).into_iter();
    topics
        .map(|(topic_id, partitions)| HeartbeatTopic {
            topic_id,
            partitions,
            ..HeartbeatTopic::default()
        })
        .collect()
}

/// A target assignment in its record.
pub(super) fn to_target(partitions: &BTreeSet<TopicPartition>) -> Vec<TargetTopic> {
    let topics = by_topic(partitions).into_iter();
    topics
        .map(|(topic_id, partitions)| TargetTopic {
            topic_id,
            partitions,
            ..TargetTopic::default()
        })
        .collect()
}

/// A target assignment from its record.
pub(super) fn from_target(topics: &[TargetTopic]) -> BTreeSet<TopicPartition> {
    topics.iter().flat_map(|topic| one_by_one(topic.topic_id, &topic.partitions)).collect()
}

/// What a member has, in its record, with the epochs at which it got it.
pub(super) fn to_held(held: &Held) -> Vec<HeldTopic> {
    let topics = by_topic(held.keys()).into_iter();
    topics
        .map(|(topic_id, partitions)| {
            let epoch = |&partition: &i32| held.get(&TopicPartition { topic_id, partition });
            let epochs = partitions.iter().filter_map(epoch).copied().collect();
            HeldTopic {
                topic_id,
                partitions,
                assignment_epochs: Some(epochs),
                ..HeldTopic::default()
            }
        })
        .collect()
}

/// What a member has, from its record. A broker that knew nothing of the epochs wrote none: then
/// the member has had everything since `member_epoch`.
pub(super) fn from_held(topics: &[HeldTopic], member_epoch: i32) -> Held {
    let mut held = Held::new();
    for topic in topics {
        let epochs = topic.assignment_epochs.iter().flatten().copied();
        let epochs = epochs.chain(std::iter::repeat(member_epoch));
        held.extend(one_by_one(topic.topic_id, &topic.partitions).zip(epochs));
    }
    held
}
