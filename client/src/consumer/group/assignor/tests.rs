//! What the assignors promise, by example and for made-up groups.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

fn member(id: &str, topics: &[&str]) -> Subscriber {
    let topics = topics.iter().map(|topic| Arc::from(*topic)).collect();
    Subscriber { member_id: id.into(), topics, generation: -1, ..Subscriber::default() }
}

fn counts(topics: &[(&str, i32)]) -> PartitionCounts {
    topics.iter().map(|(topic, count)| (Arc::from(*topic), *count)).collect()
}

fn names(division: &Division) -> Vec<Vec<String>> {
    let name = |it: &TopicPartition| format!("{}{}", it.topic, it.partition);
    division.iter().map(|partitions| partitions.iter().map(name).collect()).collect()
}

/// Rebalances until nothing changes, as the members of a cooperative group do.
fn settle(members: &mut [Subscriber], counts: &PartitionCounts) -> usize {
    for round in 1..10 {
        let division = Assignor::CooperativeSticky.divide(members, counts);
        let has_changed = members.iter().zip(&division).any(|(it, given)| it.owned != *given);
        for (member, given) in members.iter_mut().zip(division) {
            member.generation = round;
            member.owned = given;
        }
        if !has_changed {
            return round as usize - 1;
        }
    }
    panic!("it does not settle");
}

#[test]
fn range_gives_neighbours_and_the_first_get_more() {
    let members = [member("b", &["t", "u"]), member("a", &["t", "u"])];
    let division = Assignor::Range.divide(&members, &counts(&[("t", 3), ("u", 2)]));
    assert_eq!(names(&division), [vec!["t2", "u1"], vec!["t0", "t1", "u0"]]);
}

#[test]
fn range_serves_static_members_first() {
    let mut members = [member("a", &["t"]), member("b", &["t"])];
    members[1].group_instance_id = Some("z".into());
    let division = Assignor::Range.divide(&members, &counts(&[("t", 3)]));
    assert_eq!(names(&division), [vec!["t2"], vec!["t0", "t1"]]);
}

#[test]
fn round_robin_goes_around_and_passes_over_whoever_does_not_subscribe() {
    // The example in the documentation of Kafka's RoundRobinAssignor.
    let members = [
        member("c0", &["t0-"]),
        member("c1", &["t0-", "t1-"]),
        member("c2", &["t0-", "t1-", "t2-"]),
    ];
    let division =
        Assignor::RoundRobin.divide(&members, &counts(&[("t0-", 1), ("t1-", 2), ("t2-", 3)]));
    let expected = [vec!["t0-0"], vec!["t1-0"], vec!["t1-1", "t2-0", "t2-1", "t2-2"]];
    assert_eq!(names(&division), expected);
}

#[test]
fn topics_that_are_not_there_are_nobodys() {
    for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
        let division = assignor.divide(&[member("a", &["gone"])], &counts(&[("t", 2)]));
        assert_eq!(names(&division), [Vec::<String>::new()]);
        assert!(assignor.divide(&[], &counts(&[("t", 2)])).is_empty());
    }
}

#[test]
fn a_newcomer_gets_its_share_only_when_it_has_been_given_up() {
    let counts = counts(&[("t", 4)]);
    let mut members = vec![member("a", &["t"])];
    settle(&mut members, &counts);
    members.push(member("b", &["t"]));
    let first = Assignor::CooperativeSticky.divide(&members, &counts);
    assert_eq!((first[0].len(), first[1].len()), (2, 0), "what moves is nobody's for a while");
    settle(&mut members, &counts);
    assert_eq!((members[0].owned.len(), members[1].owned.len()), (2, 2));
}

#[test]
fn an_old_claim_does_not_count_against_a_newer_one() {
    let counts = counts(&[("t", 2)]);
    let mut members = [member("a", &["t"]), member("b", &["t"])];
    let both = vec![TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
    (members[0].owned, members[0].generation) = (both, 3);
    (members[1].owned, members[1].generation) = (vec![TopicPartition::new("t", 1)], 5);
    let division = Assignor::CooperativeSticky.divide(&members, &counts);
    // Both say that they have partition 1, so for now nobody is given it.
    assert_eq!(names(&division), [vec!["t0"], vec![]]);
}

#[test]
fn the_generation_is_found_in_the_note_of_older_members() {
    let note = Assignor::CooperativeSticky.user_data(7);
    assert_eq!(Assignor::CooperativeSticky.generation_of(note.as_ref()), Some(7));
    assert_eq!(Assignor::CooperativeSticky.generation_of(Some(&Bytes::from_static(b"x"))), None);
    assert_eq!(Assignor::Range.generation_of(note.as_ref()), None);
}

const TOPICS: [&str; 4] = ["a", "b", "c", "d"];

fn subscribed() -> impl Strategy<Value = BTreeSet<usize>> {
    prop::collection::btree_set(0..TOPICS.len(), 1..=TOPICS.len())
}

fn group() -> impl Strategy<Value = Vec<Subscriber>> {
    prop::collection::vec(subscribed(), 1..8).prop_map(|all| {
        let topics = |set: BTreeSet<usize>| set.into_iter().map(|it| TOPICS[it]).collect();
        let topics = all.into_iter().map(topics).collect::<Vec<Vec<_>>>();
        (0..).zip(topics).map(|(id, topics): (usize, _)| member(&id.to_string(), &topics)).collect()
    })
}

fn partition_counts() -> impl Strategy<Value = PartitionCounts> {
    prop::collection::vec(0..12i32, TOPICS.len()).prop_map(|all| {
        all.iter().zip(TOPICS).map(|(count, topic)| (Arc::from(topic), *count)).collect()
    })
}

/// Everything that somebody subscribes to is given, to one subscriber.
fn assert_complete(members: &[Subscriber], counts: &PartitionCounts, division: &Division) {
    let mut given: HashMap<&TopicPartition, usize> = HashMap::new();
    for (place, partition) in division
        .iter()
        .enumerate()
        .flat_map(|(at, all)| all.iter().map(move |partition| (at, partition)))
    {
        assert!(given.insert(partition, place).is_none(), "{partition} twice");
        assert!(members[place].topics.contains(&partition.topic), "{partition} unasked for");
    }
    let wanted = counts
        .iter()
        .filter(|(topic, _)| members.iter().any(|member| member.topics.contains(topic)));
    let wanted: i32 = wanted.map(|(_, count)| count).sum();
    assert_eq!(given.len(), wanted as usize);
}

/// No partition could move to somebody who has two fewer.
fn assert_even(members: &[Subscriber]) {
    for from in members {
        for to in members.iter().filter(|to| to.owned.len() + 1 < from.owned.len()) {
            let could_move = from.owned.iter().any(|it| to.topics.contains(&it.topic));
            assert!(!could_move, "{} has too much: {members:?}", from.member_id);
        }
    }
}

proptest! {
    #[test]
    fn every_assignor_gives_everything_to_one_subscriber(
        members in group(), counts in partition_counts(),
    ) {
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
            assert_complete(&members, &counts, &assignor.divide(&members, &counts));
        }
    }

    #[test]
    fn sticky_groups_settle_evenly_whoever_comes_and_goes(
        mut members in group(),
        counts in partition_counts(),
        later in partition_counts(),
        goes in any::<prop::sample::Index>(),
        comes in group(),
    ) {
        settle(&mut members, &counts);
        assert_even(&members);
        let before = members.clone();
        members.remove(goes.index(before.len()));
        members.extend(comes.into_iter().map(|mut it| {
            it.member_id.push_str("-late");
            it
        }));
        // At every step, nobody is given what somebody else has not given up.
        for round in 10..16 {
            let division = Assignor::CooperativeSticky.divide(&members, &later);
            for (place, given) in division.iter().enumerate() {
                for (other, member) in members.iter().enumerate().filter(|(at, _)| *at != place) {
                    let taken = given.iter().find(|it| member.owned.contains(it));
                    prop_assert!(taken.is_none(), "{taken:?} of {other} was given to {place}");
                }
            }
            for (member, given) in members.iter_mut().zip(division) {
                (member.owned, member.generation) = (given, round);
            }
        }
        let owned = members.iter().map(|member| member.owned.clone()).collect();
        assert_complete(&members, &later, &owned);
        assert_even(&members);
    }

    #[test]
    fn what_is_even_stays_as_it_is(mut members in group(), counts in partition_counts()) {
        settle(&mut members, &counts);
        prop_assert_eq!(settle(&mut members, &counts), 0);
    }

    #[test]
    fn with_one_topic_nobody_gives_up_more_than_evenness_asks_for(
        size in 1..6usize, newcomers in 1..4usize, count in 0..40i32,
    ) {
        let counts = counts(&[("a", count)]);
        let id = |at: usize| member(&at.to_string(), &["a"]);
        let mut members: Vec<_> = (0..size).map(id).collect();
        settle(&mut members, &counts);
        members.extend((size..size + newcomers).map(id));
        let before: usize = members.iter().map(|it| it.owned.len()).sum();
        let division = Assignor::CooperativeSticky.divide(&members, &counts);
        let kept: usize = division.iter().map(Vec::len).sum();
        // Exactly what the newcomers end up with has moved, and that is no more than their share.
        settle(&mut members, &counts);
        let moved: usize = members[size..].iter().map(|it| it.owned.len()).sum();
        prop_assert_eq!(before - kept, moved);
        prop_assert!(moved <= newcomers * (count as usize).div_ceil(size + newcomers));
    }
}
