//! Offsets outlive members, and go by age (KIP-211) or on request (KIP-229, KIP-496).

use thalweg_protocol::{ErrorCode, KafkaStr};
use uuid::Uuid;

use super::bench::*;
use crate::group::groups::Groups;
use crate::group::offsets::{CommittedOffset, Fetch, WantedTopic};

fn fetch(
    groups: &Groups,
    topics: Option<&[(&str, i32)]>,
) -> Vec<(String, i32, Option<CommittedOffset>)> {
    let wanted = |(name, partition): &(&str, i32)| WantedTopic {
        name: KafkaStr::copied_from(name),
        id: Uuid::nil(),
        partitions: vec![*partition],
    };
    let topics = topics.map(|topics| topics.iter().map(wanted).collect());
    let fetched = groups
        .fetch(&Fetch { group_id: GROUP.into(), member_id: None, member_epoch: -1, topics })
        .unwrap();
    let rows = fetched.into_iter().flat_map(|topic| {
        let name = topic.name.to_string();
        topic.partitions.into_iter().map(move |at| (name.clone(), at.partition, at.offset))
    });
    rows.collect()
}

fn expire(bench: &mut Bench) {
    bench.turn(|groups, turn| groups.expire(&GROUP.into(), turn)).unwrap();
}

#[test]
fn an_unknown_group_has_no_offsets_and_that_is_no_error() {
    let mut bench = Bench::new();
    let rows = fetch(&bench.groups, Some(&[("orders", 0)]));
    assert_eq!(rows, [("orders".to_owned(), 0, None)]);
    assert_eq!(fetch(&bench.groups, None), []);
    bench.commit(&commit("", -1, 42)).unwrap();
    let rows = fetch(&bench.groups, Some(&[("orders", 1), ("other", 0)]));
    assert!(rows.iter().all(|(_, _, offset)| offset.is_none()));
}

#[test]
fn what_was_committed_comes_back_as_it_was() {
    let mut bench = Bench::new();
    bench.commit(&commit("", -1, 42)).unwrap();
    for groups in [&bench.groups, &bench.replayed()] {
        let rows = fetch(groups, None);
        let offset = rows[0].2.as_ref().unwrap();
        assert_eq!((offset.offset, offset.leader_epoch, &*offset.metadata), (42, 4, "note"));
    }
}

#[test]
fn metadata_above_the_limit_is_refused_beside_the_others() {
    let mut bench = Bench::new();
    let mut commit = commit("", -1, 42);
    let mut large = commit.offsets[0].clone();
    (large.partition, large.metadata) = (1, "x".repeat(4097).into());
    commit.offsets.push(large);
    let mut largest = commit.offsets[0].clone();
    (largest.partition, largest.metadata) = (2, "x".repeat(4096).into());
    commit.offsets.push(largest);
    let codes = [ErrorCode::None, ErrorCode::OffsetMetadataTooLarge, ErrorCode::None];
    assert_eq!(bench.commit(&commit), Ok(codes.to_vec()));
    assert_eq!(fetch(&bench.groups, None).len(), 2);
}

#[test]
fn an_offset_of_a_deleted_topic_is_not_one_of_its_successor() {
    let mut bench = Bench::new();
    let mut commit = commit("", -1, 42);
    commit.offsets[0].topic_id = Uuid::from_u128(1);
    bench.commit(&commit).unwrap();
    for (id, expected) in [(0, Some(42)), (1, Some(42)), (2, None)] {
        let topics = vec![WantedTopic {
            name: "orders".into(),
            id: Uuid::from_u128(id),
            partitions: vec![0],
        }];
        let fetch = Fetch {
            group_id: GROUP.into(),
            member_id: None,
            member_epoch: -1,
            topics: Some(topics),
        };
        let fetched = bench.groups.fetch(&fetch).unwrap();
        let offset = fetched[0].partitions[0].offset.as_ref().map(|offset| offset.offset);
        assert_eq!(offset, expected, "topic id {id}");
    }
}

#[test]
fn retention_runs_from_the_moment_a_group_is_empty() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a")]);
    bench.commit(&commit("a", generation, 42)).unwrap();
    for _ in 0..300 {
        bench.pass_ms(5_000);
        assert_eq!(bench.heartbeat("a", generation), Ok(()));
    }
    expire(&mut bench);
    assert_eq!(fetch(&bench.groups, None).len(), 1, "the group reads it");
    bench.leave("a", None);
    bench.pass_ms(999_999);
    expire(&mut bench);
    assert_eq!(fetch(&bench.groups, None).len(), 1);
    bench.groups = bench.replayed();
    bench.pass_ms(1);
    expire(&mut bench);
    assert_eq!(bench.state(), "Dead");
    assert_eq!(bench.replayed().ids(), Vec::<KafkaStr>::new());
}

#[test]
fn offsets_without_a_group_age_from_their_commit() {
    let mut bench = Bench::new();
    bench.commit(&commit("", -1, 1)).unwrap();
    bench.pass_ms(999_999);
    expire(&mut bench);
    bench.commit(&commit("", -1, 2)).unwrap();
    bench.pass_ms(999_999);
    expire(&mut bench);
    assert_eq!(fetch(&bench.groups, None).len(), 1);
    bench.pass_ms(1);
    expire(&mut bench);
    assert_eq!(bench.state(), "Dead");
}

#[test]
fn a_topic_that_members_no_longer_read_ages_too() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a")]);
    let mut both = commit("a", generation, 1);
    let mut other = both.offsets[0].clone();
    other.topic = "payments".into();
    both.offsets.push(other);
    bench.commit(&both).unwrap();
    for _ in 0..200 {
        bench.pass_ms(5_000);
        assert_eq!(bench.heartbeat("a", generation), Ok(()));
    }
    expire(&mut bench);
    let rows = fetch(&bench.groups, None);
    assert_eq!(rows.iter().map(|row| row.0.as_str()).collect::<Vec<_>>(), ["orders"]);
}

#[test]
fn a_client_of_old_can_ask_for_an_age_of_its_own() {
    let mut bench = Bench::new();
    let mut commit = commit("", -1, 1);
    commit.offsets[0].retention_ms = 500;
    bench.commit(&commit).unwrap();
    bench.groups = bench.replayed();
    bench.pass_ms(499);
    expire(&mut bench);
    assert_eq!(bench.state(), "Empty");
    bench.pass_ms(1);
    expire(&mut bench);
    assert_eq!(bench.state(), "Dead");
}

#[test]
fn a_live_group_cannot_be_deleted() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a")]);
    bench.commit(&commit("a", generation, 42)).unwrap();
    let delete =
        |bench: &mut Bench| bench.turn(|groups, turn| groups.delete_group(&GROUP.into(), turn));
    assert_eq!(delete(&mut bench), Err(ErrorCode::NonEmptyGroup));
    bench.leave("a", None);
    assert_eq!(delete(&mut bench), Ok(()));
    assert_eq!(bench.state(), "Dead");
    assert_eq!(bench.replayed().ids(), Vec::<KafkaStr>::new());
    assert_eq!(delete(&mut bench), Err(ErrorCode::GroupIdNotFound));
}

#[test]
fn simple_commits_are_taken_only_while_empty() {
    let mut bench = Bench::new();
    bench.commit(&commit("", -1, 1)).unwrap();
    let generation = bench.settle(vec![joining_as("a")]);
    assert_eq!(bench.commit(&commit("", -1, 2)), Err(ErrorCode::UnknownMemberId));
    bench.leave("a", None);
    assert_eq!(bench.commit(&commit("", -1, 3)), Ok(vec![ErrorCode::None]));
    assert_eq!(bench.commit(&commit("a", generation, 4)), Err(ErrorCode::UnknownMemberId));
    assert_eq!(fetch(&bench.groups, None)[0].2.as_ref().unwrap().offset, 3);
}

#[test]
fn offsets_in_topics_that_are_read_cannot_be_deleted() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a")]);
    bench.commit(&commit("a", generation, 42)).unwrap();
    let partitions = [("orders".into(), 0), ("payments".into(), 0)];
    let delete = |bench: &mut Bench| {
        bench.turn(|groups, turn| groups.delete_offsets(&GROUP.into(), &partitions, turn))
    };
    let outcome = delete(&mut bench);
    assert_eq!(outcome, Ok(vec![ErrorCode::GroupSubscribedToTopic, ErrorCode::None]));
    bench.leave("a", None);
    assert_eq!(delete(&mut bench), Ok(vec![ErrorCode::None, ErrorCode::None]));
    assert_eq!(fetch(&bench.groups, None), []);
    assert_eq!(fetch(&bench.replayed(), None), []);
}

#[test]
fn offsets_go_with_their_topic() {
    let mut bench = Bench::new();
    bench.commit(&commit("", -1, 42)).unwrap();
    bench
        .turn(|groups, turn| groups.delete_topics(&GROUP.into(), |name, _| *name == "orders", turn))
        .unwrap();
    assert_eq!(fetch(&bench.groups, None), []);
    assert_eq!(fetch(&bench.replayed(), None), []);
}

#[test]
fn a_commit_that_cannot_be_written_changes_nothing() {
    let mut bench = Bench::new();
    bench.commit(&commit("", -1, 1)).unwrap();
    bench.log.refuse = Some(ErrorCode::NotCoordinator);
    assert_eq!(bench.commit(&commit("", -1, 2)), Err(ErrorCode::NotCoordinator));
    assert_eq!(fetch(&bench.groups, None)[0].2.as_ref().unwrap().offset, 1);
    bench.log.refuse = Some(ErrorCode::UnknownServerError);
    let too_large = bench.commit(&commit("", -1, 2));
    assert_eq!(too_large, Err(ErrorCode::InvalidCommitOffsetSize));
}
