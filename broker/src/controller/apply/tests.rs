//! What commands do to an image, and what they are refused for.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::*;
use crate::controller::image::Broker;

fn create(name: &str, id: u128) -> Command {
    Command::CreateTopic {
        name: name.to_owned(),
        id: Uuid::from_u128(id),
        partitions: vec![Assignment::new(vec![1])],
        configs: BTreeMap::new(),
    }
}

fn run(commands: &[Command]) -> (Image, Vec<Result<Outcome, CommandError>>) {
    let mut image = Image::of_brokers(1..=4);
    let mut outcomes = Vec::new();
    for (index, command) in (1..).zip(commands) {
        let (next, outcome) = apply(&image, index, command);
        image = next;
        outcomes.push(outcome);
    }
    (image, outcomes)
}

#[test]
fn a_name_is_taken_once_and_free_again_after_deletion() {
    let (image, outcomes) = run(&[
        create("orders", 1),
        create("orders", 2),
        Command::DeleteTopic { id: Uuid::from_u128(1) },
        create("orders", 3),
    ]);
    assert_eq!(outcomes[1], Err(CommandError::TopicExists("orders".to_owned())));
    assert_eq!(outcomes[3], Ok(Outcome::Applied));
    assert_eq!(image.topic("orders").map(|topic| topic.id), Some(Uuid::from_u128(3)));
    assert!(image.holds_deleted(Uuid::from_u128(1), 1), "old data is marked for removal");
    assert_eq!(image.applied, 4);
}

/// The proposer did not hear the first answer, and asks once more.
#[test]
fn a_creation_that_is_asked_for_twice_is_done_once() {
    let grown = Command::AddPartitions {
        id: Uuid::from_u128(1),
        first: Some(1),
        partitions: vec![Assignment::new(vec![2])],
    };
    let (image, outcomes) = run(&[create("orders", 1), grown, create("orders", 1)]);
    assert_eq!(outcomes[2], Ok(Outcome::Applied));
    assert_eq!(image.topic("orders").map(|topic| topic.partition_count()), Some(2));
}

#[test]
fn names_that_metrics_would_confuse_are_refused() {
    let (_, outcomes) = run(&[create("a.b", 1), create("a_b", 2)]);
    assert_eq!(outcomes[1], Err(CommandError::TopicCollides("a_b".to_owned(), "a.b".to_owned())));
}

#[test]
fn a_change_made_from_stale_configs_is_refused() {
    let set = |expected: Option<&str>, value: &str| Command::SetTopicConfigs {
        id: Uuid::from_u128(1),
        expected: expected.map(|v| BTreeMap::from([("k".to_owned(), v.to_owned())])),
        configs: BTreeMap::from([("k".to_owned(), value.to_owned())]),
    };
    let (image, outcomes) =
        run(&[create("orders", 1), set(None, "1"), set(Some("1"), "2"), set(Some("1"), "3")]);
    assert_eq!(outcomes[3], Err(CommandError::ConfigsChanged));
    assert_eq!(image.topic("orders").map(|topic| topic.configs["k"].as_str()), Some("2"));
}

#[test]
fn producer_ids_are_never_handed_out_twice() {
    let (_, outcomes) = run(&[
        Command::AllocateProducerIds { count: 1000 },
        Command::AllocateProducerIds { count: 1 },
    ]);
    assert_eq!(outcomes[0], Ok(Outcome::ProducerIds { first: 0 }));
    assert_eq!(outcomes[1], Ok(Outcome::ProducerIds { first: 1000 }));
}

#[test]
fn an_image_survives_its_snapshot_form() {
    let (image, _) = run(&[create("orders", 1), Command::AllocateProducerIds { count: 5 }]);
    let json = serde_json::to_vec(&image).expect("an image is plain data");
    let back: Image = serde_json::from_slice(&json).expect("written by us");
    assert_eq!(back, image);
}

fn register(node: i32, disk: u128) -> Command {
    let disk = Some(Uuid::from_u128(disk));
    Command::RegisterBroker { node, broker: Broker { disk, ..Broker::default() } }
}

fn reassign(target: Option<&[i32]>) -> Command {
    let target = target.map(<[i32]>::to_vec);
    Command::Reassign { id: Uuid::from_u128(1), partition: 0, target }
}

fn finish(replicas: &[i32]) -> Command {
    let replicas = replicas.to_vec();
    Command::FinishReassignment { id: Uuid::from_u128(1), partition: 0, replicas, since: None }
}

fn finish_of(since: u64, replicas: &[i32]) -> Command {
    let replicas = replicas.to_vec();
    let since = Some(since);
    Command::FinishReassignment { id: Uuid::from_u128(1), partition: 0, replicas, since }
}

fn purged(node: i32) -> Command {
    Command::ReplicaPurged { id: Uuid::from_u128(1), partition: 0, node }
}

fn assignment(image: &Image) -> &Assignment {
    &image.topic("orders").expect("created").partitions[0]
}

/// A command that was sent again because its outcome was not heard, and arrives late.
#[test]
fn a_deleted_topic_is_not_created_again_by_the_same_command() {
    let (image, outcomes) = run(&[
        create("orders", 1),
        Command::DeleteTopic { id: Uuid::from_u128(1) },
        create("orders", 1),
        Command::TopicPurged { id: Uuid::from_u128(1), node: Some(1) },
        create("orders", 1),
        create("orders", 2),
    ]);
    for late in [2, 4] {
        assert_eq!(outcomes[late], Err(CommandError::TopicDeleted("orders".to_owned())));
    }
    assert_eq!(outcomes[5], Ok(Outcome::Applied));
    assert!(image.deleted.is_empty(), "all data is gone");
}

#[test]
fn another_disk_is_another_broker() {
    let (image, outcomes) = run(&[
        register(5, 50),
        Command::SetFenced { node: 5, fenced: true },
        register(5, 51),
        Command::SetFenced { node: 6, fenced: true },
    ]);
    assert_eq!(outcomes[2], Err(CommandError::DiskMismatch { node: 5 }));
    assert_eq!(outcomes[3], Err(CommandError::UnknownBroker(6)));
    assert!(image.is_fenced(5));
    let (image, _) = apply(&image, 9, &register(5, 50));
    assert!(!image.is_fenced(5), "a broker that registers lives");
    assert_eq!(image.live_brokers().map(|(id, _)| id).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_reassignment_goes_from_target_to_replicas_to_purged_copies() {
    let (image, outcomes) = run(&[
        create("orders", 1),
        finish(&[1]),
        reassign(Some(&[2, 3])),
        finish(&[3, 2]),
        finish(&[2, 3]),
        reassign(Some(&[1, 2])),
        purged(1),
        reassign(Some(&[1, 2])),
    ]);
    assert_eq!(outcomes[1], Err(CommandError::NoReassignment));
    assert_eq!(outcomes[3], Err(CommandError::TargetChanged));
    assert_eq!(outcomes[4], Ok(Outcome::Applied));
    assert_eq!(outcomes[5], Err(CommandError::ReplicaLeaving { node: 1 }));
    assert_eq!(outcomes[7], Ok(Outcome::Applied));
    let now = assignment(&image);
    assert_eq!((&now.replicas, &now.target), (&vec![2, 3], &Some(vec![1, 2])));
    assert_eq!(now.initial_voters(), [1]);
}

#[test]
fn a_cancelled_reassignment_is_one_to_where_it_came_from() {
    let (image, outcomes) = run(&[
        create("orders", 1),
        reassign(None),
        reassign(Some(&[2])),
        reassign(None),
        finish(&[2]),
        finish(&[1]),
    ]);
    assert_eq!(outcomes[1], Err(CommandError::NoReassignment));
    assert_eq!(outcomes[4], Err(CommandError::TargetChanged), "the leader was too late");
    let now = assignment(&image);
    assert_eq!((&now.replicas, &now.target, &now.leaving), (&vec![1], &None, &vec![2]));
}

/// A report that was sent twice, and arrives when the same brokers are a target again.
#[test]
fn the_end_of_one_reassignment_is_not_the_end_of_another() {
    let (image, outcomes) = run(&[
        create("orders", 1),
        reassign(Some(&[2])),
        finish_of(2, &[2]),
        purged(1),
        reassign(Some(&[1])),
        finish_of(5, &[1]),
        purged(2),
        reassign(Some(&[2])),
        finish_of(2, &[2]),
    ]);
    assert_eq!(outcomes[5], Ok(Outcome::Applied));
    assert_eq!(outcomes[8], Err(CommandError::TargetChanged));
    let now = assignment(&image);
    assert_eq!((&now.replicas, &now.target, &now.leaving), (&vec![1], &Some(vec![2]), &vec![]));
}

#[test]
fn impossible_reassignments_change_nothing() {
    let unknown = Command::Reassign { id: Uuid::from_u128(1), partition: 1, target: None };
    let (image, outcomes) = run(&[
        create("orders", 1),
        reassign(Some(&[])),
        reassign(Some(&[1, 2, 1])),
        reassign(Some(&[9])),
        unknown,
        Command::ReplicaPurged { id: Uuid::from_u128(2), partition: 0, node: 1 },
    ]);
    let topic = "orders".to_owned();
    assert_eq!(outcomes[1], Err(CommandError::InvalidReplicas { replicas: vec![] }));
    assert_eq!(outcomes[2], Err(CommandError::InvalidReplicas { replicas: vec![1, 2, 1] }));
    assert_eq!(outcomes[3], Err(CommandError::UnknownReplica(9)));
    assert_eq!(outcomes[4], Err(CommandError::UnknownPartition { topic, partition: 1 }));
    assert_eq!(outcomes[5], Err(CommandError::UnknownTopic(Uuid::from_u128(2))));
    assert_eq!(assignment(&image), &Assignment::new(vec![1]));
}

#[test]
fn a_broker_is_removed_when_nothing_of_it_is_left() {
    let remove = |node| Command::UnregisterBroker { node };
    let fence = |node, fenced| Command::SetFenced { node, fenced };
    let in_use = |node| Err(CommandError::BrokerInUse { node, partitions: 1 });
    let (image, outcomes) = run(&[
        create("orders", 1),
        fence(1, true),
        remove(1),
        reassign(Some(&[2])),
        remove(2),
        finish(&[2]),
        fence(1, false),
        remove(1),
        fence(1, true),
        remove(1),
        remove(1),
        create("lost", 3),
    ]);
    assert_eq!(outcomes[2], in_use(1), "its data is still the only copy");
    assert_eq!(outcomes[4], in_use(2), "it is about to get a replica");
    assert_eq!(outcomes[7], in_use(1), "it lives and removes its copy");
    assert_eq!(outcomes[9], Ok(Outcome::Applied), "a lost broker never removes its copy");
    assert_eq!(outcomes[10], Err(CommandError::UnknownBroker(1)));
    assert_eq!(outcomes[11], Err(CommandError::UnknownReplica(1)), "placed before the removal");
    assert_eq!(image.replicas_hosting(1).count(), 0);
    assert_eq!(
        image.replicas_hosting(2).map(|(_, partition, _)| partition).collect::<Vec<_>>(),
        [0]
    );
}

#[test]
fn a_broker_that_lives_is_not_removed_and_partitions_are_added_once() {
    let add = |first| Command::AddPartitions {
        id: Uuid::from_u128(1),
        first: Some(first),
        partitions: vec![Assignment::new(vec![1])],
    };
    let (image, outcomes) =
        run(&[create("orders", 1), Command::UnregisterBroker { node: 4 }, add(1), add(1)]);
    assert_eq!(outcomes[1], Err(CommandError::BrokerAlive { node: 4 }));
    let topic = "orders".to_owned();
    assert_eq!(outcomes[3], Err(CommandError::PartitionsChanged { topic, partitions: 2 }));
    assert_eq!(image.topic("orders").map(|topic| topic.partitions.len()), Some(2));
}

#[test]
fn the_last_broker_that_lives_cannot_be_removed() {
    let fence = |node| Command::SetFenced { node, fenced: true };
    let (_, outcomes) = run(&[fence(1), fence(2), fence(3), Command::UnregisterBroker { node: 4 }]);
    assert_eq!(outcomes[3], Err(CommandError::LastBroker(4)));
}

#[test]
fn a_removed_broker_leaves_no_settings_and_never_comes_back() {
    let configs: BTreeMap<_, _> = [("broker.drained".to_owned(), "true".to_owned())].into();
    let drain = Command::SetBrokerConfigs { node: Some(2), expected: None, configs };
    let (drained, _) = run(std::slice::from_ref(&drain));
    assert!(drained.is_drained(2) && !drained.is_drained(1));
    let fence = Command::SetFenced { node: 2, fenced: true };
    let commands = [drain, fence, Command::UnregisterBroker { node: 2 }, register(2, 1)];
    let (anew, outcomes) = run(&commands);
    assert!(!anew.is_drained(2));
    assert_eq!(outcomes[3], Err(CommandError::Removed { node: 2 }), "an id is used once");
}

#[test]
fn a_deleted_topic_is_remembered_until_every_holder_has_purged_it() {
    let id = Uuid::from_u128(1);
    let gone = |node| Command::TopicPurged { id, node };
    let holders = |commands: &[Command]| {
        let (image, _) = run(commands);
        (1..=4).filter(|node| image.holds_deleted(id, *node)).collect::<Vec<_>>()
    };
    let mut commands = vec![
        create("orders", 1),
        reassign(Some(&[2])),
        finish(&[2]),
        reassign(Some(&[3])),
        Command::DeleteTopic { id },
    ];
    assert_eq!(holders(&commands), [1, 2, 3], "leaving, here, and on the way");
    let fence = Command::SetFenced { node: 3, fenced: true };
    commands.extend([gone(Some(1)), fence, Command::UnregisterBroker { node: 3 }]);
    assert_eq!(holders(&commands), [2]);
    commands.push(gone(Some(2)));
    assert_eq!(run(&commands).0.deleted, BTreeMap::new());
    commands.splice(5.., [gone(None)]);
    assert_eq!(run(&commands).0.deleted, BTreeMap::new(), "as a lone broker used to say it");
}

#[test]
fn an_image_of_a_version_with_one_broker_is_read() {
    let id = Uuid::from_u128(7);
    let json = format!(
        r#"{{"applied":3,"brokers":{{"1":{{"host":"h","port":9092,"rack":null}}}},"topics":[
            {{"id":"{}","name":"t","partitions":[{{"replicas":[1]}}],"configs":{{}}}}],
            "names":{{}},"deleted":["{id}"],"broker_configs":{{}},"next_producer_id":0}}"#,
        Uuid::from_u128(8)
    );
    let image: Image = serde_json::from_str(&json).expect("a form we wrote once");
    assert!(!image.is_fenced(1) && image.live_brokers().count() == 1);
    assert_eq!(
        image.topic("t").map(|topic| topic.partitions.clone()),
        Some(vec![Assignment::new(vec![1])])
    );
    assert!(image.holds_deleted(id, 1));
    let (image, _) = apply(&image, 4, &Command::TopicPurged { id, node: Some(1) });
    assert!(!image.holds_deleted(id, 1));
    let old: Command = serde_json::from_str(&format!(r#"{{"type":"topic_purged","id":"{id}"}}"#))
        .expect("a form we wrote once");
    assert_eq!(old, Command::TopicPurged { id, node: None });
}
