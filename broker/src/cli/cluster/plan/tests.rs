//! What is planned for small clusters.

use super::*;

fn broker(id: i32, rack: Option<&str>) -> BrokerView {
    let rack = rack.map(str::to_owned);
    BrokerView { id, address: String::new(), rack, fenced: false, drained: false }
}

fn plain(ids: impl IntoIterator<Item = i32>) -> Vec<BrokerView> {
    ids.into_iter().map(|id| broker(id, None)).collect()
}

fn view(brokers: Vec<BrokerView>, replicas: &[&[i32]]) -> View {
    let partition = |(index, members): (i32, &&[i32])| PartitionView {
        name: TopicPartition::new("t", index),
        leader: members.first().copied(),
        members: members.to_vec(),
        in_sync: members.to_vec(),
        offline: Vec::new(),
        is_moving: false,
        adding: Vec::new(),
        removing: Vec::new(),
    };
    View {
        brokers,
        partitions: (0..).zip(replicas).map(partition).collect(),
        controllers: vec![1],
        active_controller: Some(1),
    }
}

/// How many replicas, and how many preferred leaders, brokers 1 to 4 have after the moves.
fn counts(view: &View, moves: &[Move]) -> ([usize; 4], [usize; 4]) {
    let after = view.partitions.iter().map(|partition| {
        let moved = moves.iter().find(|it| it.partition == partition.name);
        moved.map_or_else(|| partition.goal(), |it| it.to.clone())
    });
    let after: Vec<_> = after.collect();
    let count = |counts: &dyn Fn(&Vec<i32>, i32) -> bool| {
        [1, 2, 3, 4].map(|node| after.iter().filter(|replicas| counts(replicas, node)).count())
    };
    (
        count(&|replicas, node| replicas.contains(&node)),
        count(&|replicas, node| replicas.first() == Some(&node)),
    )
}

#[test]
fn a_drained_broker_keeps_nothing_and_the_others_share_it() {
    let view = view(plain(1..=4), &[&[1, 2], &[1, 3], &[2, 1], &[3, 4]]);
    let moves = drain(&view, 1).expect("three brokers hold two replicas");
    assert_eq!(moves.len(), 3);
    assert_eq!(counts(&view, &moves).0, [0, 3, 3, 2]);
    assert!(moves.iter().all(|it| !it.is_only_order()));
}

#[test]
fn replicas_go_to_a_rack_that_has_none_before_they_go_to_an_idle_broker() {
    let racks = ["a", "b", "b", "c"];
    let brokers = (1..).zip(racks).map(|(id, rack)| broker(id, Some(rack))).collect();
    let view = view(brokers, &[&[1, 2], &[4, 2], &[4, 1]]);
    let moves = drain(&view, 1).expect("three brokers hold two replicas");
    assert_eq!(moves[0].to, [4, 2], "broker 3 is idle, but in the rack of 2");
    assert_eq!(moves[1].to, [4, 3]);
}

#[test]
fn a_partition_that_can_be_nowhere_else_stops_the_plan() {
    let mut brokers = plain(1..=3);
    brokers[2].fenced = true;
    let view = view(brokers, &[&[1, 2]]);
    let partition = TopicPartition::new("t", 0);
    assert_eq!(drain(&view, 1), Err(Stuck { partition, replicas: 2, brokers: 1 }));
}

#[test]
fn what_is_leaving_already_is_not_moved_again() {
    let mut view = view(plain(1..=3), &[&[1, 2, 3]]);
    view.partitions[0].removing = vec![1];
    view.partitions[0].is_moving = true;
    assert_eq!(drain(&view, 1), Ok(Vec::new()));
    assert_eq!(balance(&view), Vec::new());
}

#[test]
fn balance_fills_an_empty_broker_and_spreads_leaders() {
    let view = view(plain(1..=4), &[&[1, 2, 3][..]; 8]);
    let moves = balance(&view);
    assert_eq!(counts(&view, &moves), ([6, 6, 6, 6], [2, 2, 2, 2]));
    let copied: usize = moves.iter().filter(|it| !it.is_only_order()).count();
    assert_eq!(copied, 6, "no more is copied than the empty broker gets");
    for it in moves {
        let mut once = it.to.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), 3, "{it:?}");
    }
}

#[test]
fn what_is_even_stays_and_racks_are_never_made_worse() {
    assert_eq!(balance(&view(plain(1..=3), &[&[1, 2], &[2, 3], &[3, 1]])), Vec::new());
    let racks = ["a", "b", "b"];
    let brokers = (1..).zip(racks).map(|(id, rack)| broker(id, Some(rack))).collect();
    let view = view(brokers, &[&[1, 2], &[2, 1], &[1, 3], &[3, 1]]);
    assert_eq!(balance(&view), Vec::new(), "broker 1 is the only one of its rack");
}
