//! Who reads what: the strategies by which the leader of a classic group divides the partitions
//! among its members. Pure functions of what the members say and how many partitions there are.
//!
//! Names and results of range and round-robin are those of Kafka's own, so that it does not matter
//! which client leads. Cooperative-sticky is free to differ in detail: only its promises count.

mod cooperative_sticky;
mod range;
mod round_robin;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::topic_partition::TopicPartition;

/// A strategy by which partitions are divided among the members of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Assignor {
    /// Of each topic a contiguous range to each member: partitions with the same number in several
    /// topics come together. All partitions are given up for every rebalance.
    Range,
    /// All partitions of all topics in turn. All are given up for every rebalance.
    RoundRobin,
    /// As evenly as possible, with as few changes as possible, and only what changes hands is given
    /// up (KIP-429). If it is the only one of a consumer's assignors, rebalances are cooperative.
    CooperativeSticky,
}

/// A member of the group, as its leader sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::consumer) struct Subscriber {
    pub(in crate::consumer) member_id: String,
    pub(in crate::consumer) group_instance_id: Option<String>,
    pub(in crate::consumer) topics: Vec<Arc<str>>,
    /// What it says it has, as of `generation`.
    pub(in crate::consumer) owned: Vec<TopicPartition>,
    pub(in crate::consumer) generation: i32,
}

/// How many partitions each topic has. Topics that are not here do not exist.
pub(in crate::consumer) type PartitionCounts = BTreeMap<Arc<str>, i32>;

/// The partitions of each member, by its place among the members.
pub(in crate::consumer) type Division = Vec<Vec<TopicPartition>>;

impl Assignor {
    /// The name under which members agree upon it.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    pub(in crate::consumer) fn from_name(name: &str) -> Option<Self> {
        let all = [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky];
        all.into_iter().find(|assignor| assignor.name() == name)
    }

    pub(in crate::consumer) fn divide(
        self,
        members: &[Subscriber],
        counts: &PartitionCounts,
    ) -> Division {
        match self {
            Assignor::Range => range::divide(members, counts),
            Assignor::RoundRobin => round_robin::divide(members, counts),
            Assignor::CooperativeSticky => cooperative_sticky::divide(members, counts),
        }
    }

    /// What a member notes for the leader beside its subscription. Leaders from before KIP-792 find
    /// the generation here.
    pub(in crate::consumer) fn user_data(self, generation: i32) -> Option<Bytes> {
        (self == Assignor::CooperativeSticky)
            .then(|| Bytes::copy_from_slice(&generation.to_be_bytes()))
    }

    /// The generation that a member from before KIP-792 notes.
    pub(in crate::consumer) fn generation_of(self, user_data: Option<&Bytes>) -> Option<i32> {
        let noted = user_data.filter(|_| self == Assignor::CooperativeSticky)?;
        noted.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
    }
}

/// The places of the members in the order in which Kafka's assignors serve them: static ones first,
/// by their names, the others by their ids.
fn in_order(members: &[Subscriber]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..members.len()).collect();
    places.sort_by_key(|place| {
        let member = &members[*place];
        (member.group_instance_id.is_none(), &member.group_instance_id, &member.member_id)
    });
    places
}

/// The subscribers of each topic that exists, in the order of [`in_order`].
fn by_topic<'a>(
    members: &[Subscriber],
    counts: &'a PartitionCounts,
) -> BTreeMap<&'a Arc<str>, Vec<usize>> {
    let mut subscribers: BTreeMap<&Arc<str>, Vec<usize>> = BTreeMap::new();
    for place in in_order(members) {
        for topic in &members[place].topics {
            if let Some((topic, _)) = counts.get_key_value(topic) {
                let subscribers = subscribers.entry(topic).or_default();
                // Whoever names a topic twice has it once.
                if subscribers.last() != Some(&place) {
                    subscribers.push(place);
                }
            }
        }
    }
    subscribers
}
