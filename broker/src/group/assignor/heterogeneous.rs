//! The uniform strategy where members subscribe to different topics. Everybody keeps what they may,
//! what is free goes to the subscriber that has least, and then partitions move from those who have
//! most to those who have least until no single move makes it more even.
//!
//! Every move lowers the sum of the squares of the members' loads, so the moves come to an end.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Assignments, MemberSpec, PartitionCounts, TopicPartition, is_valid};

pub(super) fn assign(members: &[MemberSpec<'_>], counts: &PartitionCounts) -> Assignments {
    let mut plan = Plan::keep(members, counts);
    // The topics with the fewest subscribers leave the least choice.
    let mut topics: Vec<Uuid> = plan.topics.keys().copied().collect();
    topics.sort_by_key(|topic_id| plan.topics.get(topic_id).map(|topic| topic.subscribers.len()));
    for topic_id in &topics {
        plan.hand_out(*topic_id);
    }
    // From the most subscribers on: they can take most of what others have too much of.
    topics.reverse();
    let mut moved = true;
    while moved {
        moved = false;
        for topic_id in &topics {
            moved |= plan.balance(*topic_id);
        }
    }
    plan.into_assignments()
}

/// A topic, by members' places in the list of members.
struct Topic {
    subscribers: Vec<usize>,
    free: BTreeSet<i32>,
    /// Who has which partitions of it. Whoever has none is absent.
    owners: BTreeMap<usize, BTreeSet<i32>>,
}

/// Who has what, while it changes.
struct Plan {
    topics: BTreeMap<Uuid, Topic>,
    /// How many partitions each member has of all topics.
    loads: Vec<usize>,
}

impl Plan {
    /// Everybody has what they had, so far as they still may.
    fn keep(members: &[MemberSpec<'_>], counts: &PartitionCounts) -> Plan {
        let mut topics: BTreeMap<Uuid, Topic> = BTreeMap::new();
        for (at, member) in members.iter().enumerate() {
            for topic_id in member.topics {
                let Some(&count) = counts.get(topic_id) else { continue };
                let topic = topics.entry(*topic_id).or_insert_with(|| Topic {
                    subscribers: Vec::new(),
                    free: (0..count).collect(),
                    owners: BTreeMap::new(),
                });
                topic.subscribers.push(at);
            }
        }
        let mut plan = Plan { topics, loads: vec![0; members.len()] };
        for (at, member) in members.iter().enumerate() {
            for &partition in member.assigned {
                if is_valid(member, partition, counts) {
                    plan.take(at, partition);
                }
            }
        }
        plan
    }

    /// Gives a free partition to the member at `at`.
    fn take(&mut self, at: usize, partition: TopicPartition) {
        let Some(topic) = self.topics.get_mut(&partition.topic_id) else { return };
        if topic.free.remove(&partition.partition) {
            topic.owners.entry(at).or_default().insert(partition.partition);
            self.add_load(at, 1);
        }
    }

    fn load(&self, at: usize) -> usize {
        self.loads.get(at).copied().unwrap_or_default()
    }

    fn add_load(&mut self, at: usize, change: isize) {
        if let Some(load) = self.loads.get_mut(at) {
            *load = load.saturating_add_signed(change);
        }
    }

    /// Gives each free partition of a topic to the subscriber that has least.
    fn hand_out(&mut self, topic_id: Uuid) {
        let Some(topic) = self.topics.get(&topic_id) else { return };
        let free = topic.free.clone();
        let mut by_load: BTreeSet<(usize, usize)> =
            topic.subscribers.iter().map(|&at| (self.load(at), at)).collect();
        for partition in free {
            let Some((load, at)) = by_load.pop_first() else { return };
            self.take(at, TopicPartition { topic_id, partition });
            by_load.insert((load + 1, at));
        }
    }

    /// Moves partitions of a topic from owners that have most to subscribers that have least.
    /// Returns whether any moved.
    fn balance(&mut self, topic_id: Uuid) -> bool {
        let Some(topic) = self.topics.get(&topic_id) else { return false };
        let least = topic.subscribers.iter().map(|&at| self.load(at)).min().unwrap_or_default();
        let most = topic.owners.keys().map(|&at| self.load(at)).max().unwrap_or_default();
        if most < least + 2 {
            return false;
        }
        let mut takers: BTreeSet<(usize, usize)> =
            topic.subscribers.iter().map(|&at| (self.load(at), at)).collect();
        let mut owners: BTreeSet<(usize, usize)> =
            topic.owners.keys().map(|&at| (self.load(at), at)).collect();
        while let (Some(&(most, from)), Some(&(least, to))) = (owners.last(), takers.first()) {
            if most < least + 2 {
                break;
            }
            let left = self.hand_over(topic_id, from, to);
            takers.remove(&(least, to));
            takers.insert((least + 1, to));
            takers.remove(&(most, from));
            takers.insert((most - 1, from));
            owners.remove(&(least, to));
            owners.insert((least + 1, to));
            owners.remove(&(most, from));
            if left > 0 {
                owners.insert((most - 1, from));
            }
        }
        true
    }

    /// Moves one partition of a topic, and returns how many of it `from` has left.
    fn hand_over(&mut self, topic_id: Uuid, from: usize, to: usize) -> usize {
        let Some(topic) = self.topics.get_mut(&topic_id) else { return 0 };
        let Some(owned) = topic.owners.get_mut(&from) else { return 0 };
        let moved = owned.pop_last();
        let left = owned.len();
        if left == 0 {
            topic.owners.remove(&from);
        }
        topic.owners.entry(to).or_default().extend(moved);
        self.add_load(from, -1);
        self.add_load(to, 1);
        left
    }

    fn into_assignments(self) -> Assignments {
        let mut assignments = vec![BTreeSet::new(); self.loads.len()];
        for (topic_id, topic) in self.topics {
            for (at, partitions) in topic.owners {
                let partitions = partitions.into_iter();
                let partitions = partitions.map(|partition| TopicPartition { topic_id, partition });
                if let Some(assignment) = assignments.get_mut(at) {
                    assignment.extend(partitions);
                }
            }
        }
        assignments
    }
}
