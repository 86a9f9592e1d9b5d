//! The strategies against what every assignment must be: complete, permitted, even, and as near to
//! the last one as that allows.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

/// A group whose members come and go.
#[derive(Debug, Clone, Default)]
struct Group {
    members: BTreeMap<String, GroupMember>,
    counts: PartitionCounts,
}

#[derive(Debug, Clone, Default)]
struct GroupMember {
    instance_id: Option<String>,
    topics: BTreeSet<Uuid>,
    assigned: BTreeSet<TopicPartition>,
}

fn topic(number: u128) -> Uuid {
    Uuid::from_u128(number + 1)
}

impl Group {
    fn assign(&mut self, assignor: Assignor) {
        let specs: Vec<MemberSpec<'_>> = self
            .members
            .iter()
            .map(|(id, member)| MemberSpec {
                id,
                instance_id: member.instance_id.as_deref(),
                topics: &member.topics,
                assigned: &member.assigned,
            })
            .collect();
        let assignments = assignor.assign(&specs, &self.counts);
        assert_eq!(assignments, assignor.assign(&specs, &self.counts), "the same again");
        assert_eq!(assignments.len(), self.members.len());
        for (member, assignment) in self.members.values_mut().zip(assignments) {
            member.assigned = assignment;
        }
    }

    /// Every partition of a subscribed topic has exactly one owner, and it subscribes.
    fn assert_complete(&self) {
        let mut seen = BTreeSet::new();
        for member in self.members.values() {
            for partition in &member.assigned {
                assert!(member.topics.contains(&partition.topic_id), "not subscribed: {self:#?}");
                assert!(seen.insert(*partition), "two owners of {partition:?}: {self:#?}");
            }
        }
        let topics = self.members.values().flat_map(|member| &member.topics).copied().collect();
        let expected: BTreeSet<_> = partitions_of(&topics, &self.counts).collect();
        assert_eq!(seen, expected, "{self:#?}");
    }

    fn loads(&self) -> Vec<usize> {
        self.members.values().map(|member| member.assigned.len()).collect()
    }

    fn owners(&self) -> BTreeMap<TopicPartition, &str> {
        self.members
            .iter()
            .flat_map(|(id, member)| member.assigned.iter().map(move |at| (*at, id.as_str())))
            .collect()
    }
}

fn spread(loads: &[usize]) -> usize {
    loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0)
}

fn counts() -> impl Strategy<Value = PartitionCounts> {
    prop::collection::vec(0..14_i32, 1..6).prop_map(|counts| {
        counts.into_iter().enumerate().map(|(at, count)| (topic(at as u128), count)).collect()
    })
}

/// All members subscribe to all topics, and to one that does not exist.
fn homogeneous() -> impl Strategy<Value = Group> {
    (counts(), 1..12_usize).prop_map(|(counts, members)| {
        let mut topics: BTreeSet<Uuid> = counts.keys().copied().collect();
        topics.insert(topic(99));
        let member = GroupMember { topics, ..GroupMember::default() };
        let members = (0..members).map(|at| (format!("m{at:02}"), member.clone())).collect();
        Group { members, counts }
    })
}

fn any_group() -> impl Strategy<Value = Group> {
    let members = prop::collection::vec((prop::bits::u8::masked(0x3f), any::<bool>()), 1..12);
    (counts(), members).prop_map(|(counts, members)| {
        let member = |(at, (mask, is_static)): (usize, (u8, bool))| {
            let topics = (0..6).filter(|bit| mask & (1 << bit) != 0).map(topic).collect();
            let instance_id = is_static.then(|| format!("i{at:02}"));
            let member = GroupMember { instance_id, topics, ..GroupMember::default() };
            (format!("m{at:02}"), member)
        };
        Group { members: members.into_iter().enumerate().map(member).collect(), counts }
    })
}

proptest! {
    #[test]
    fn every_partition_of_a_subscribed_topic_has_one_owner(mut group in any_group()) {
        for assignor in Assignor::ALL {
            group.assign(assignor);
            group.assert_complete();
        }
    }

    #[test]
    fn members_with_equal_subscriptions_differ_by_one_at_most(mut group in homogeneous()) {
        group.assign(Assignor::Uniform);
        group.assert_complete();
        prop_assert!(spread(&group.loads()) <= 1, "{:?}", group.loads());
    }

    #[test]
    fn nothing_moves_without_a_change(mut group in any_group()) {
        for assignor in Assignor::ALL {
            group.assign(assignor);
            let before = group.clone();
            group.assign(assignor);
            prop_assert_eq!(before.owners(), group.owners());
        }
    }

    #[test]
    fn when_a_member_leaves_only_its_partitions_move(mut group in homogeneous(), leaver: usize) {
        group.assign(Assignor::Uniform);
        let mut before = group.clone();
        let leaver = group.members.keys().nth(leaver % group.members.len()).unwrap().clone();
        group.members.remove(&leaver);
        before.members.remove(&leaver);
        group.assign(Assignor::Uniform);
        let owners = group.owners();
        for (partition, owner) in before.owners() {
            prop_assert_eq!(owners.get(&partition), Some(&owner), "{:?}", partition);
        }
        prop_assert!(spread(&group.loads()) <= 1);
    }

    #[test]
    fn a_member_that_joins_takes_no_more_than_its_share(mut group in homogeneous()) {
        group.assign(Assignor::Uniform);
        let before = group.clone();
        let newcomer = GroupMember { assigned: BTreeSet::new(), ..group.members["m00"].clone() };
        group.members.insert("newcomer".to_owned(), newcomer);
        group.assign(Assignor::Uniform);
        group.assert_complete();
        prop_assert!(spread(&group.loads()) <= 1);
        let owners = group.owners();
        let moved = before.owners().into_iter().filter(|(at, owner)| owners[at] != *owner);
        prop_assert_eq!(moved.count(), group.members["newcomer"].assigned.len());
    }

    /// No single move from one member to another that subscribes makes it more even.
    #[test]
    fn unequal_subscriptions_come_out_as_even_as_one_move_can_make_them(
        mut group in any_group(),
        grown in counts(),
    ) {
        group.assign(Assignor::Uniform);
        // The second time there is something to keep, and it does not fit any more.
        group.counts = grown;
        group.assign(Assignor::Uniform);
        group.assert_complete();
        for giver in group.members.values() {
            for partition in &giver.assigned {
                let takers = group.members.values();
                for taker in takers.filter(|taker| taker.topics.contains(&partition.topic_id)) {
                    prop_assert!(giver.assigned.len() <= taker.assigned.len() + 1, "{:#?}", group);
                }
            }
        }
    }

    #[test]
    fn a_range_is_a_run_of_neighbours_of_even_length(mut group in any_group()) {
        group.assign(Assignor::Range);
        for topic_id in group.counts.keys() {
            let subscribers = group.members.values().filter(|it| it.topics.contains(topic_id));
            let mut lengths = Vec::new();
            for member in subscribers {
                let of_topic = member.assigned.iter().filter(|at| at.topic_id == *topic_id);
                let numbers: Vec<i32> = of_topic.map(|at| at.partition).collect();
                prop_assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
                lengths.push(numbers.len());
            }
            prop_assert!(spread(&lengths) <= 1);
        }
    }
}

#[test]
fn topics_of_one_size_are_cut_alike() {
    let member = GroupMember { topics: [topic(0), topic(1)].into(), ..GroupMember::default() };
    let members = ["a", "b", "c"].map(|id| (id.to_owned(), member.clone())).into();
    let mut group = Group { members, counts: [(topic(0), 7), (topic(1), 7)].into() };
    group.assign(Assignor::Range);
    let numbers = |id: &str, topic_id: Uuid| -> Vec<i32> {
        let assigned = group.members[id].assigned.iter();
        assigned.filter(|at| at.topic_id == topic_id).map(|at| at.partition).collect()
    };
    for topic_id in [topic(0), topic(1)] {
        assert_eq!(numbers("a", topic_id), [0, 1, 2]);
        assert_eq!(numbers("b", topic_id), [3, 4]);
        assert_eq!(numbers("c", topic_id), [5, 6]);
    }
}

#[test]
fn a_static_member_that_returns_under_another_id_has_its_old_range() {
    let member = |instance_id: &str| GroupMember {
        instance_id: Some(instance_id.to_owned()),
        topics: [topic(0)].into(),
        ..GroupMember::default()
    };
    let mut group = Group { counts: [(topic(0), 5)].into(), ..Group::default() };
    group.members.insert("m1".to_owned(), member("one"));
    group.members.insert("m2".to_owned(), member("two"));
    group.assign(Assignor::Range);
    let before = group.members["m1"].assigned.clone();
    group.members.remove("m1");
    group.members.insert("z9".to_owned(), member("one"));
    group.assign(Assignor::Range);
    assert_eq!(group.members["z9"].assigned, before);
}

#[test]
fn a_thousand_members_share_ten_thousand_partitions() {
    let counts: PartitionCounts = (0..100).map(|number| (topic(number), 100)).collect();
    let topics: BTreeSet<Uuid> = counts.keys().copied().collect();
    let member = GroupMember { topics, ..GroupMember::default() };
    let members = (0..1000).map(|at| (format!("m{at:04}"), member.clone())).collect();
    let mut group = Group { members, counts };
    for assignor in Assignor::ALL {
        group.assign(assignor);
        group.assert_complete();
    }
    // Half of them leave out one topic, which asks for the other way of being even.
    for member in group.members.values_mut().step_by(2) {
        member.topics.remove(&topic(7));
    }
    group.assign(Assignor::Uniform);
    group.assert_complete();
    assert!(spread(&group.loads()) <= 1, "the others can make up for it");
}

#[test]
fn strategies_go_by_kafkas_names() {
    assert_eq!(Assignor::named("uniform"), Some(Assignor::Uniform));
    assert_eq!(Assignor::named("range"), Some(Assignor::Range));
    assert_eq!(Assignor::named("Uniform"), None);
    assert!(Assignor::Uniform.assign(&[], &PartitionCounts::new()).is_empty());
}
