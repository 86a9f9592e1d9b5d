//! The range strategy: each topic is cut into as many runs of neighbouring partitions as it has
//! subscribers, and the subscribers take them in one order. So members that subscribe to the same
//! topics of the same size have the same partition numbers in each, which is what joins need.

use std::collections::BTreeSet;

use super::{Assignments, MemberSpec, PartitionCounts, TopicPartition};

pub(super) fn assign(members: &[MemberSpec<'_>], counts: &PartitionCounts) -> Assignments {
    let mut assignments = vec![BTreeSet::new(); members.len()];
    let order = in_order(members);
    let topics: BTreeSet<_> = members.iter().flat_map(|member| member.topics).collect();
    for topic_id in topics {
        let Some(count) = counts.get(topic_id).and_then(|count| usize::try_from(*count).ok())
        else {
            continue;
        };
        let subscribers: Vec<usize> = order
            .iter()
            .copied()
            .filter(|&at| members.get(at).is_some_and(|member| member.topics.contains(topic_id)))
            .collect();
        let (each, extras) = (count / subscribers.len(), count % subscribers.len());
        let mut partitions =
            (0..).map(|partition| TopicPartition { topic_id: *topic_id, partition });
        for (place, at) in subscribers.into_iter().enumerate() {
            let run = each + usize::from(place < extras);
            if let Some(assignment) = assignments.get_mut(at) {
                assignment.extend(partitions.by_ref().take(run));
            }
        }
    }
    assignments
}

/// Static members first, by the names that outlive their ids: one that comes back with another id
/// has its old place, and nobody's partitions move.
fn in_order(members: &[MemberSpec<'_>]) -> Vec<usize> {
    let mut order: Vec<_> = members
        .iter()
        .enumerate()
        .map(|(at, member)| (member.instance_id.is_none(), member.instance_id, member.id, at))
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(.., at)| at).collect()
}
