//! The uniform strategy where all members subscribe to the same topics: nobody has two partitions
//! more than anybody else, and no partition moves that need not.

use std::collections::BTreeSet;

use super::{Assignments, MemberSpec, PartitionCounts, TopicPartition, is_valid, partitions_of};

/// How many partitions a member may have.
struct Quota {
    /// What everybody gets.
    each: usize,
    /// How many members get one more, as the number does not divide.
    extras: usize,
}

impl Quota {
    /// Takes one of the extras, if any is left.
    fn take_extra(&mut self) -> bool {
        let taken = self.extras > 0;
        self.extras -= usize::from(taken);
        taken
    }
}

pub(super) fn assign(members: &[MemberSpec<'_>], counts: &PartitionCounts) -> Assignments {
    let Some(first) = members.first() else { return Vec::new() };
    let all: BTreeSet<TopicPartition> = partitions_of(first.topics, counts).collect();
    let mut quota = Quota { each: all.len() / members.len(), extras: all.len() % members.len() };
    let mut free = all;
    let mut assignments = keep(members, counts, &mut quota, &mut free);

    let mut free = free.into_iter();
    for assignment in &mut assignments {
        let missing = quota.each.saturating_sub(assignment.len());
        assignment.extend(free.by_ref().take(missing));
    }
    for assignment in &mut assignments {
        if assignment.len() == quota.each && quota.take_extra() {
            assignment.extend(free.next());
        }
    }
    assignments
}

/// What each member keeps of what it had. What it loses stays in `free`.
fn keep(
    members: &[MemberSpec<'_>],
    counts: &PartitionCounts,
    quota: &mut Quota,
    free: &mut BTreeSet<TopicPartition>,
) -> Assignments {
    let keep_of = |member: &MemberSpec<'_>| {
        let mut kept = BTreeSet::new();
        for &partition in member.assigned {
            if kept.len() > quota.each {
                break;
            }
            // Two members never were to have the same; if they say so, the first has it.
            let wanted = is_valid(member, partition, counts) && free.contains(&partition);
            if wanted && (kept.len() < quota.each || quota.take_extra()) {
                free.remove(&partition);
                kept.insert(partition);
            }
        }
        kept
    };
    members.iter().map(keep_of).collect()
}
