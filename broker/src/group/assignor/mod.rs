//! The strategies by which the broker itself assigns partitions to the members of a consumer group
//! (KIP-848): pure functions over members, subscriptions and what everybody had.
//!
//! Whatever the strategy: every partition of a subscribed topic goes to exactly one member that
//! subscribes to it, and the same input gives the same output.

mod heterogeneous;
mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// A partition by its topic's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicPartition {
    pub(crate) topic_id: Uuid,
    pub(crate) partition: i32,
}

/// A member as a strategy sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberSpec<'a> {
    pub(crate) id: &'a str,
    /// A static member's own name, which outlives its id.
    pub(crate) instance_id: Option<&'a str>,
    pub(crate) topics: &'a BTreeSet<Uuid>,
    /// What it was to have before.
    pub(crate) assigned: &'a BTreeSet<TopicPartition>,
}

/// The number of partitions of each topic that exists.
pub(crate) type PartitionCounts = BTreeMap<Uuid, i32>;

/// What each member is to have, in the order in which the members were given.
pub(crate) type Assignments = Vec<BTreeSet<TopicPartition>>;

/// A strategy, named as in Kafka's `group.consumer.assignors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assignor {
    /// As even as can be, and as little as possible moves.
    Uniform,
    /// Neighbouring partitions together, and topics of one size split alike, for joins.
    Range,
}

impl Assignor {
    /// All of them, the default first, as in Kafka.
    pub(crate) const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The strategy that clients and operators call `name`.
    pub(crate) fn named(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Assigns all partitions of all subscribed topics that exist.
    pub(crate) fn assign(
        self,
        members: &[MemberSpec<'_>],
        partitions: &PartitionCounts,
    ) -> Assignments {
        match self {
            _ if members.is_empty() => Vec::new(),
            Assignor::Range => range::assign(members, partitions),
            Assignor::Uniform if is_homogeneous(members) => uniform::assign(members, partitions),
            Assignor::Uniform => heterogeneous::assign(members, partitions),
        }
    }
}

/// Whether all members subscribe to the same topics.
fn is_homogeneous(members: &[MemberSpec<'_>]) -> bool {
    members.windows(2).all(|pair| match pair {
        [one, other] => std::ptr::eq(one.topics, other.topics) || one.topics == other.topics,
        _ => true,
    })
}

/// All partitions of the topics among `topics` that exist, in order.
fn partitions_of<'a>(
    topics: &'a BTreeSet<Uuid>,
    counts: &'a PartitionCounts,
) -> impl Iterator<Item = TopicPartition> + 'a {
    let existing = topics.iter().filter_map(|topic_id| Some((*topic_id, *counts.get(topic_id)?)));
    existing.flat_map(|(topic_id, count)| {
        (0..count).map(move |partition| TopicPartition { topic_id, partition })
    })
}

/// Whether `member` may have `partition`.
fn is_valid(member: &MemberSpec<'_>, partition: TopicPartition, counts: &PartitionCounts) -> bool {
    let count = counts.get(&partition.topic_id).copied().unwrap_or_default();
    (0..count).contains(&partition.partition) && member.topics.contains(&partition.topic_id)
}
