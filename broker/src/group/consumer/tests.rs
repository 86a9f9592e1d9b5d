//! The machine of consumer groups against KIP-848, one rule after the other; random histories are
//! in `random`.

mod crossing;
mod random;
mod world;

use thalweg_protocol::messages::ConsumerGroupHeartbeatRequest;
use thalweg_protocol::{ErrorCode, KafkaStr};

use self::world::{Client, World, lasting};
use crate::group::assignor::TopicPartition;

fn code(world: &mut World, request: ConsumerGroupHeartbeatRequest) -> ErrorCode {
    world.send(request).map_or_else(|refusal| refusal.code, |_| ErrorCode::None)
}

/// Both beat until nothing is left to do.
fn settle(world: &mut World, clients: &mut [&mut Client]) {
    for _ in 0..4 {
        for client in clients.iter_mut() {
            client.beat(world).unwrap();
        }
    }
    assert_eq!(world.group.state_name(), "Stable");
}

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut world = World::new(&[("t", 3)]);
    assert_eq!(world.group.state_name(), "Empty");
    let mut one = Client::new("one", &["t"]);
    let response = world.send(one.request()).unwrap();
    assert_eq!(response.member_id, Some("one".into()));
    assert_eq!((response.member_epoch, response.heartbeat_interval_ms), (1, 5000));
    one.learn(&response);
    assert_eq!(one.numbers(), [0, 1, 2]);
    assert_eq!(world.group.state_name(), "Stable");
    // An assignment that did not change is not sent again, and nothing is written.
    let written = world.log.records.len();
    assert_eq!(world.send(one.request()).unwrap().assignment, None);
    assert_eq!(world.log.records.len(), written);
}

#[test]
fn partitions_go_over_only_when_they_have_been_given_up() {
    let mut world = World::new(&[("t", 4)]);
    let (mut one, mut two) = (Client::new("one", &["t"]), Client::new("two", &["t"]));
    one.beat(&mut world).unwrap();
    two.beat(&mut world).unwrap();
    assert_eq!((two.epoch, two.used.len()), (2, 0), "nothing is free");
    assert_eq!(world.group.state_name(), "Reconciling");

    // The first is told, stays in its epoch, and has the partitions until it says otherwise.
    let before = one.used.clone();
    one.beat(&mut world).unwrap();
    assert_eq!((one.epoch, one.used.len()), (1, 2));
    let mut slow = one.clone();
    slow.used = before;
    assert_eq!(world.send(slow.request()).unwrap().member_epoch, 1);
    two.beat(&mut world).unwrap();
    assert_eq!(two.used.len(), 0);

    one.beat(&mut world).unwrap();
    assert_eq!((one.epoch, one.used.len()), (2, 2));
    two.beat(&mut world).unwrap();
    assert_eq!((two.epoch, two.used.len()), (2, 2));
    assert!(one.used.is_disjoint(&two.used));
    assert_eq!(world.group.state_name(), "Stable");
}

#[test]
fn a_member_that_leaves_hands_over_what_it_had() {
    let mut world = World::new(&[("t", 4)]);
    let (mut one, mut two) = (Client::new("one", &["t"]), Client::new("two", &["t"]));
    settle(&mut world, &mut [&mut one, &mut two]);
    let mut request = one.request();
    request.member_epoch = -1;
    let response = world.send(request.clone()).unwrap();
    assert_eq!((response.member_epoch, response.assignment), (-1, None));
    assert_eq!(code(&mut world, request), ErrorCode::UnknownMemberId);
    two.beat(&mut world).unwrap();
    assert_eq!(two.numbers(), [0, 1, 2, 3]);
}

#[test]
fn a_member_whose_session_ends_is_given_up() {
    let mut world = World::new(&[("t", 4)]);
    let (mut one, mut two) = (Client::new("one", &["t"]), Client::new("two", &["t"]));
    settle(&mut world, &mut [&mut one, &mut two]);
    world.pass(44_999);
    two.beat(&mut world).unwrap();
    assert!(world.group.next_deadline().unwrap() <= world.now_ms + 1);
    world.pass(1);
    two.beat(&mut world).unwrap();
    assert_eq!(two.used.len(), 4);
    assert_eq!(one.beat(&mut world), Err(ErrorCode::UnknownMemberId));
    one.beat(&mut world).unwrap();
}

#[test]
fn a_member_that_does_not_give_up_in_time_is_given_up() {
    let mut world = World::new(&[("t", 4)]);
    let (mut one, mut two) = (Client::new("one", &["t"]), Client::new("two", &["t"]));
    one.beat(&mut world).unwrap();
    two.beat(&mut world).unwrap();
    let mut stuck = one.clone();
    stuck.tells_all = false;
    for _ in 0..2 {
        world.send(stuck.request()).unwrap();
        two.beat(&mut world).unwrap();
        world.pass(30_000);
    }
    assert_eq!(code(&mut world, stuck.request()), ErrorCode::UnknownMemberId);
    two.beat(&mut world).unwrap();
    assert_eq!(two.used.len(), 4);
}

#[test]
fn a_member_that_was_late_stays_late_when_the_log_refuses_once() {
    let mut world = World::new(&[("t", 4)]);
    let (mut one, mut two) = (Client::new("one", &["t"]), Client::new("two", &["t"]));
    one.beat(&mut world).unwrap();
    two.beat(&mut world).unwrap();
    let mut stuck = one.clone();
    stuck.tells_all = false;
    world.send(stuck.request()).unwrap();
    two.beat(&mut world).unwrap();
    world.pass(40_000);
    world.send(stuck.request()).unwrap();
    two.beat(&mut world).unwrap();
    world.log.refuses = Some(ErrorCode::CoordinatorNotAvailable);
    world.pass(20_000);
    // It is alive, and has still not given anything up.
    world.send(stuck.request()).unwrap();
    world.log.refuses = None;
    world.pass(5_000);
    assert_eq!(code(&mut world, stuck.request()), ErrorCode::UnknownMemberId);
}

#[test]
fn epochs_that_are_not_ours_are_fenced() {
    let mut world = World::new(&[("t", 4)]);
    let (mut one, mut two) = (Client::new("one", &["t"]), Client::new("two", &["t"]));
    settle(&mut world, &mut [&mut one, &mut two]);
    let mut ahead = one.request();
    ahead.member_epoch += 1;
    assert_eq!(code(&mut world, ahead), ErrorCode::FencedMemberEpoch);

    // The answer with the new epoch was lost: the previous one will do, with nothing beside what
    // is assigned.
    let mut lost = one.request();
    lost.member_epoch = 1;
    assert_eq!(code(&mut world, lost.clone()), ErrorCode::None);
    let other = lost.topic_partitions.as_mut().unwrap();
    other[0].partitions = vec![0, 1, 2, 3];
    assert_eq!(code(&mut world, lost.clone()), ErrorCode::FencedMemberEpoch);
    lost.topic_partitions = None;
    assert_eq!(code(&mut world, lost), ErrorCode::FencedMemberEpoch);
    let mut stranger = two.request();
    stranger.member_id = "stranger".into();
    assert_eq!(code(&mut world, stranger), ErrorCode::UnknownMemberId);
}

#[test]
fn joining_again_gives_the_assignment_again() {
    let mut world = World::new(&[("t", 3)]);
    let mut one = Client::new("one", &["t"]);
    one.beat(&mut world).unwrap();
    let again = Client::new("one", &["t"]);
    let response = world.send(again.request()).unwrap();
    assert_eq!(response.member_epoch, 1);
    assert!(response.assignment.is_some());
}

#[test]
fn requests_that_make_no_sense_are_invalid() {
    let mut world = World::new(&[("t", 3)]);
    let join = Client::new("one", &["t"]).request();
    type Spoil = fn(&mut ConsumerGroupHeartbeatRequest);
    let spoiled: [Spoil; 10] = [
        |request| request.group_id = KafkaStr::default(),
        |request| request.member_id = KafkaStr::default(),
        |request| request.instance_id = Some(KafkaStr::default()),
        |request| request.rack_id = Some(KafkaStr::default()),
        |request| request.rebalance_timeout_ms = -1,
        |request| request.subscribed_topic_names = None,
        |request| request.topic_partitions = None,
        |request| request.topic_partitions.as_mut().unwrap().push(Default::default()),
        |request| request.member_epoch = -3,
        |request| request.member_epoch = -2,
    ];
    for (at, spoil) in spoiled.into_iter().enumerate() {
        let mut request = join.clone();
        spoil(&mut request);
        assert_eq!(code(&mut world, request), ErrorCode::InvalidRequest, "{at}");
    }
    let mut request = join.clone();
    request.server_assignor = Some("cooperative-sticky".into());
    assert_eq!(code(&mut world, request), ErrorCode::UnsupportedAssignor);
    let mut request = join.clone();
    request.subscribed_topic_regex = Some("(".into());
    assert_eq!(code(&mut world, request), ErrorCode::InvalidRegularExpression);
    world.settings.consumer.members_max = 0;
    assert_eq!(code(&mut world, join), ErrorCode::GroupMaxSizeReached);
    assert!(world.log.records.is_empty() && world.group.is_empty(), "the state is untouched");
}

#[test]
fn what_the_journal_refuses_has_not_happened() {
    let mut world = World::new(&[("t", 3)]);
    let mut one = Client::new("one", &["t"]);
    one.beat(&mut world).unwrap();
    let before = lasting(&world.group);
    world.log.refuses = Some(ErrorCode::NotCoordinator);
    let two = Client::new("two", &["t"]);
    assert_eq!(code(&mut world, two.request()), ErrorCode::NotCoordinator);
    world.pass(45_000);
    assert_eq!(lasting(&world.group), before);
    world.log.refuses = None;
    world.pass(1_000);
    assert!(world.group.is_empty(), "sent away when it became possible");
}

#[test]
fn a_static_member_keeps_its_place_while_it_is_away() {
    let mut world = World::new(&[("t", 4)]);
    let (mut one, mut two) = (Client::new("one", &["t"]), Client::new("two", &["t"]));
    one.instance_id = Some("first".into());
    settle(&mut world, &mut [&mut one, &mut two]);
    let mut usurper = Client::new("other", &["t"]);
    usurper.instance_id = Some("first".into());
    assert_eq!(code(&mut world, usurper.request()), ErrorCode::UnreleasedInstanceId);

    let mut leaving = one.request();
    leaving.member_epoch = -2;
    assert_eq!(world.send(leaving).unwrap().member_epoch, -2);
    two.beat(&mut world).unwrap();
    assert_eq!(two.used.len(), 2, "nothing moves");
    let epoch = world.group.epoch;
    usurper.beat(&mut world).unwrap();
    assert_eq!(usurper.used, one.used);
    assert_eq!(world.group.epoch, epoch, "the others need not know");
    assert_eq!(one.beat(&mut world), Err(ErrorCode::FencedInstanceId));
    two.beat(&mut world).unwrap();
    assert_eq!(world.group.state_name(), "Stable");
}

#[test]
fn a_static_member_that_stays_away_is_given_up() {
    let mut world = World::new(&[("t", 2)]);
    let mut one = Client::new("one", &["t"]);
    one.instance_id = Some("first".into());
    one.beat(&mut world).unwrap();
    let mut leaving = one.request();
    leaving.member_epoch = -2;
    world.send(leaving).unwrap();
    world.pass(45_000);
    assert!(world.group.is_empty());
    assert_eq!(one.beat(&mut world), Err(ErrorCode::UnknownMemberId));
    one.beat(&mut world).unwrap();
}

#[test]
fn a_topic_that_grows_or_goes_is_noticed() {
    let mut world = World::new(&[("t", 2)]);
    let mut one = Client::new("one", &["t", "later"]);
    one.beat(&mut world).unwrap();
    world.create_topic("of no interest", 3);
    one.beat(&mut world).unwrap();
    assert_eq!(one.epoch, 1);
    world.add_partitions("t", 1);
    one.beat(&mut world).unwrap();
    assert_eq!((one.epoch, one.numbers()), (2, vec![0, 1, 2]));
    world.create_topic("later", 1);
    one.beat(&mut world).unwrap();
    assert_eq!(one.used.len(), 4);
    world.delete_topic("t");
    one.beat(&mut world).unwrap();
    one.beat(&mut world).unwrap();
    assert_eq!((one.epoch, one.numbers()), (4, vec![0]));
    assert_eq!(one.used.first(), Some(&world.at("later", 0)));
}

#[test]
fn a_pattern_follows_the_topics() {
    let mut world = World::new(&[("orders-eu", 1), ("orders-us", 1), ("payments", 1)]);
    let mut one = Client::new("one", &["payments"]);
    one.regex = Some("orders-.*".into());
    one.beat(&mut world).unwrap();
    assert_eq!(one.used.len(), 3);
    assert!(world.group.is_subscribed_to("orders-eu"));
    world.create_topic("orders-asia", 2);
    world.now_ms += 9_999;
    one.beat(&mut world).unwrap();
    assert_eq!(one.used.len(), 3, "not tried again so soon");
    world.now_ms += 1;
    one.beat(&mut world).unwrap();
    assert_eq!(one.used.len(), 5);
    // An empty pattern is none.
    one.regex = Some(KafkaStr::default());
    one.tells_all = true;
    one.beat(&mut world).unwrap();
    one.beat(&mut world).unwrap();
    assert_eq!(one.used.len(), 1);
    assert!(world.group.regexes.is_empty());
}

#[test]
fn the_strategy_is_the_one_that_most_ask_for() {
    let mut world = World::new(&[("t", 2), ("u", 2)]);
    let mut clients = ["one", "two", "three"].map(|id| Client::new(id, &["t", "u"]));
    clients[0].assignor = Some("range".into());
    for client in &mut clients {
        client.beat(&mut world).unwrap();
    }
    assert_eq!(world.turn(|group, turn| group.describe(turn)).assignor_name, "range");
    clients[1].assignor = Some("uniform".into());
    clients[1].tells_all = true;
    clients[1].beat(&mut world).unwrap();
    assert_eq!(world.turn(|group, turn| group.describe(turn)).assignor_name, "uniform");
}

#[test]
fn a_description_shows_what_members_have_and_are_to_have() {
    let mut world = World::new(&[("t", 2)]);
    let (mut one, mut two) = (Client::new("one", &["t"]), Client::new("two", &["t"]));
    one.beat(&mut world).unwrap();
    two.beat(&mut world).unwrap();
    let described = world.turn(|group, turn| group.describe(turn));
    assert_eq!(described.group_state, "Reconciling");
    assert_eq!((described.group_epoch, described.assignment_epoch), (2, 2));
    assert_eq!(described.members[0].assignment.topic_partitions[0].partitions, [0, 1]);
    assert_eq!(described.members[0].assignment.topic_partitions[0].topic_name, "t");
    assert_eq!(described.members[0].target_assignment.topic_partitions[0].partitions, [0]);
    assert!(described.members[1].assignment.topic_partitions.is_empty());
    assert_eq!(described.members[1].target_assignment.topic_partitions[0].partitions, [1]);
    assert_eq!(described.members[1].member_type, 1);
}

#[test]
fn commits_need_the_epoch_or_partitions_that_were_held_then() {
    let mut world = World::new(&[("t", 2)]);
    let (mut one, mut two) = (Client::new("one", &["t"]), Client::new("two", &["t"]));
    let none = || std::iter::empty::<TopicPartition>();
    assert_eq!(world.group.check_commit(9, "", -1, none()), Ok(()), "nobody is here");
    settle(&mut world, &mut [&mut one, &mut two]);
    let group = &world.group;
    let commit = |version, member: &str, epoch, at: Option<TopicPartition>| {
        let checked = group.check_commit(version, member, epoch, at.into_iter());
        checked.map_or_else(|refusal| refusal.code, |()| ErrorCode::None)
    };
    let (kept, given_up) = (world.at("t", 0), world.at("t", 1));
    assert_eq!(commit(9, "one", 2, Some(kept)), ErrorCode::None);
    assert_eq!(commit(9, "one", 1, Some(kept)), ErrorCode::None, "it has had it since epoch 1");
    assert_eq!(commit(9, "one", 1, Some(given_up)), ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(9, "two", 1, Some(given_up)), ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(9, "one", 3, Some(kept)), ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(9, "one", -1, Some(kept)), ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(8, "one", 2, Some(kept)), ErrorCode::UnsupportedVersion);
    assert_eq!(commit(9, "", -1, Some(kept)), ErrorCode::UnknownMemberId);

    let fetch = |member: Option<&str>, epoch| {
        group.check_fetch(member, epoch).map_or_else(|refusal| refusal.code, |()| ErrorCode::None)
    };
    assert_eq!(fetch(None, -1), ErrorCode::None);
    assert_eq!(fetch(Some("one"), 2), ErrorCode::None);
    assert_eq!(fetch(Some("one"), 1), ErrorCode::StaleMemberEpoch);
    assert_eq!(fetch(Some("three"), 1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_group_that_is_forgotten_leaves_nothing() {
    let mut world = World::new(&[("t", 2)]);
    let mut one = Client::new("one", &["t"]);
    one.regex = Some("t.*".into());
    one.beat(&mut world).unwrap();
    let tombstones = world.group.tombstones();
    let keys: Vec<_> = tombstones.iter().map(|it| it.key_bytes().unwrap()).collect();
    assert!(tombstones.iter().all(|record| record.is_tombstone()));
    for record in &world.log.records {
        assert!(keys.contains(&record.key_bytes().unwrap()), "{record:?}");
    }
}

#[test]
fn an_assignment_lasts_for_its_interval_and_the_next_is_made_of_all_that_changed_meanwhile() {
    let mut world = World::new(&[("t", 6)]);
    world.settings.consumer.assignment_interval_ms = 1_000;
    let mut clients = ["one", "two", "three"].map(|id| Client::new(id, &["t"]));
    clients[0].beat(&mut world).unwrap();
    assert_eq!((clients[0].epoch, clients[0].used.len()), (1, 6), "the first does not wait");
    world.now_ms += 200;
    for client in &mut clients[1..] {
        let response = world.send(client.request()).unwrap();
        client.learn(&response);
        assert_eq!((client.epoch, client.used.len()), (1, 0));
        assert_eq!(response.heartbeat_interval_ms, 800, "it comes back when there is news");
    }
    assert_eq!(world.group.state_name(), "Assigning");
    // The first has nothing to give up yet.
    clients[0].beat(&mut world).unwrap();
    assert_eq!(clients[0].used.len(), 6);
    world.now_ms += 800;
    let [one, two, three] = &mut clients;
    settle(&mut world, &mut [one, two, three]);
    for client in [&*one, two, three] {
        // One assignment for both that came: the third epoch has no target of its own.
        assert_eq!((client.epoch, client.used.len()), (3, 2));
    }
    let response = world.send(one.request()).unwrap();
    assert_eq!(response.heartbeat_interval_ms, 5_000);
}
