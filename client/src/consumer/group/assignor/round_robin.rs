//! All partitions in turn, each to the next member that subscribes to its topic, as Kafka's
//! `RoundRobinAssignor` gives them.

use super::{Division, PartitionCounts, Subscriber, by_topic, in_order};
use crate::topic_partition::TopicPartition;

pub(super) fn divide(members: &[Subscriber], counts: &PartitionCounts) -> Division {
    let mut division: Division = vec![Vec::new(); members.len()];
    let circle = in_order(members);
    let mut turn = 0;
    for (topic, subscribers) in by_topic(members, counts) {
        for partition in 0..counts.get(topic).copied().unwrap_or_default() {
            // Somebody subscribes, so the turn comes to them before the circle closes.
            while !subscribers.contains(&circle[turn % circle.len()]) {
                turn += 1;
            }
            let place = circle[turn % circle.len()];
            turn += 1;
            division[place].push(TopicPartition::new(topic.clone(), partition));
        }
    }
    division
}
