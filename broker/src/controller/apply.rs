//! The controller's state machine: `apply(image, command)` is a pure function.
//!
//! Every broker applies the same commands in the same order and so holds the same image. Whatever
//! a proposer checked beforehand is checked again here, because another command may have come
//! between.

use super::command::{Command, CommandError, Configs, Outcome};
use super::image::{Image, Topic};

/// The image after the command at Raft `index`, and what its proposer is told.
///
/// A refused command still moves `applied`: it has been dealt with.
pub(crate) fn apply(
    image: &Image,
    index: u64,
    command: &Command,
) -> (Image, Result<Outcome, CommandError>) {
    assert!(index > image.applied, "command {index} applied twice (image at {})", image.applied);
    let mut next = image.clone();
    next.applied = index;
    let outcome = change(&mut next, command);
    (next, outcome)
}

fn change(image: &mut Image, command: &Command) -> Result<Outcome, CommandError> {
    match command {
        Command::RegisterBroker { node, broker } => {
            image.brokers.insert(*node, broker.clone());
        }
        Command::CreateTopic { name, id, partitions, configs } => {
            refuse_collision(image, name)?;
            image.put_topic(Topic {
                id: *id,
                name: name.clone(),
                partitions: partitions.clone(),
                configs: configs.clone(),
            });
        }
        Command::DeleteTopic { id } => {
            let name = topic(image, *id)?.name;
            image.remove_topic(&name);
        }
        Command::TopicPurged { id } => {
            image.deleted.remove(id);
        }
        Command::AddPartitions { id, partitions } => {
            let mut topic = topic(image, *id)?;
            topic.partitions.extend(partitions.iter().cloned());
            image.put_topic(topic);
        }
        Command::SetTopicConfigs { id, expected, configs } => {
            let mut topic = topic(image, *id)?;
            refuse_changed(expected.as_ref(), Some(&topic.configs))?;
            topic.configs = configs.clone();
            image.put_topic(topic);
        }
        Command::SetBrokerConfigs { node, expected, configs } => {
            let key = node.map(|node| node.to_string()).unwrap_or_default();
            refuse_changed(expected.as_ref(), image.broker_configs.get(&key))?;
            if configs.is_empty() {
                image.broker_configs.remove(&key);
            } else {
                image.broker_configs.insert(key, configs.clone());
            }
        }
        Command::AllocateProducerIds { count } => {
            let first = image.next_producer_id;
            image.next_producer_id += i64::from(*count);
            return Ok(Outcome::ProducerIds { first });
        }
    }
    Ok(Outcome::Applied)
}

fn topic(image: &Image, id: uuid::Uuid) -> Result<Topic, CommandError> {
    image.topic_by_id(id).map(|topic| Topic::clone(topic)).ok_or(CommandError::UnknownTopic(id))
}

/// Two admins who change different keys at once must not undo each other's change.
fn refuse_changed(
    expected: Option<&Configs>,
    current: Option<&Configs>,
) -> Result<(), CommandError> {
    let none = Configs::new();
    match expected {
        Some(expected) if expected != current.unwrap_or(&none) => Err(CommandError::ConfigsChanged),
        _ => Ok(()),
    }
}

/// Kafka refuses names that differ only in `.` and `_`: metrics would confuse them.
fn refuse_collision(image: &Image, name: &str) -> Result<(), CommandError> {
    if image.topic(name).is_some() {
        return Err(CommandError::TopicExists(name.to_owned()));
    }
    if !name.contains(['.', '_']) {
        return Ok(());
    }
    let flat = |name: &str| name.replace('.', "_");
    let wanted = flat(name);
    match image.topics.keys().find(|other| flat(other) == wanted) {
        Some(other) => Err(CommandError::TopicCollides(name.to_owned(), other.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::*;
    use crate::controller::image::Assignment;

    fn create(name: &str, id: u128) -> Command {
        Command::CreateTopic {
            name: name.to_owned(),
            id: Uuid::from_u128(id),
            partitions: vec![Assignment { replicas: vec![1] }],
            configs: BTreeMap::new(),
        }
    }

    fn run(commands: &[Command]) -> (Image, Vec<Result<Outcome, CommandError>>) {
        let mut image = Image::default();
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
        assert!(image.deleted.contains(&Uuid::from_u128(1)), "old data is marked for removal");
        assert_eq!(image.applied, 4);
    }

    #[test]
    fn names_that_metrics_would_confuse_are_refused() {
        let (_, outcomes) = run(&[create("a.b", 1), create("a_b", 2)]);
        assert_eq!(
            outcomes[1],
            Err(CommandError::TopicCollides("a_b".to_owned(), "a.b".to_owned()))
        );
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
}
