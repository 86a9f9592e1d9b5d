//! Of each topic a contiguous range to each subscriber, as Kafka's `RangeAssignor` gives it without
//! racks: the first ones get one more where it does not come out even.

use super::{Division, PartitionCounts, Subscriber, by_topic};
use crate::topic_partition::TopicPartition;

pub(super) fn divide(members: &[Subscriber], counts: &PartitionCounts) -> Division {
    let mut division: Division = vec![Vec::new(); members.len()];
    for (topic, subscribers) in by_topic(members, counts) {
        let count = counts.get(topic).copied().unwrap_or_default();
        let shares = i32::try_from(subscribers.len()).unwrap_or(i32::MAX);
        let (each, mut left_over) = (count / shares, count % shares);
        let mut next = 0;
        for place in subscribers {
            let end = next + each + i32::from(left_over > 0);
            left_over = (left_over - 1).max(0);
            division[place].extend((next..end).map(|it| TopicPartition::new(topic.clone(), it)));
            next = end;
        }
    }
    division
}
