//! The controller's state machine: `apply(image, command)` is a pure function.
//!
//! Every broker applies the same commands in the same order and so holds the same image. Whatever
//! a proposer checked beforehand is checked again here, because another command may have come
//! between.

use super::assignment::Assignment;
use super::command::{Command, CommandError, Configs, Outcome};
use super::image::{Image, Topic};
use super::membership;

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
            membership::register(image, *node, broker)?;
        }
        Command::SetFenced { node, fenced } => membership::set_fenced(image, *node, *fenced)?,
        Command::UnregisterBroker { node } => membership::unregister(image, *node)?,
        Command::CreateTopic { name, id, partitions, configs } => {
            // Asked for again, because the first answer was lost: it has been done.
            if image.names.contains_key(id) {
                return Ok(Outcome::Applied);
            }
            refuse_collision(image, name)?;
            if image.was_there(*id) {
                return Err(CommandError::TopicDeleted(name.clone()));
            }
            refuse_unknown_brokers(image, partitions)?;
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
        Command::TopicPurged { id, node } => membership::forget_deleted(image, *id, *node),
        Command::AddPartitions { id, first, partitions } => {
            refuse_unknown_brokers(image, partitions)?;
            let mut topic = topic(image, *id)?;
            if first.is_some_and(|first| first != topic.partitions.len()) {
                let partitions = topic.partitions.len();
                return Err(CommandError::PartitionsChanged { topic: topic.name, partitions });
            }
            topic.partitions.extend(partitions.iter().cloned());
            image.put_topic(topic);
        }
        Command::Reassign { id, partition, target } => {
            let target = target.as_deref();
            if let Some(target) = target {
                refuse_replicas(image, target)?;
            }
            let index = image.applied;
            change_assignment(image, *id, *partition, |now| reassign(now, target, index))?;
        }
        Command::FinishReassignment { id, partition, replicas, since } => {
            change_assignment(image, *id, *partition, |now| finish(now, replicas, *since))?;
        }
        Command::ReplicaPurged { id, partition, node } => {
            change_assignment(image, *id, *partition, |now| {
                now.leaving.retain(|leaving| leaving != node);
                Ok(())
            })?;
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
        Command::Barrier => {}
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

/// Changes the assignment of one partition, or nothing at all.
fn change_assignment(
    image: &mut Image,
    id: uuid::Uuid,
    partition: i32,
    change: impl FnOnce(&mut Assignment) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut topic = topic(image, id)?;
    let unknown = CommandError::UnknownPartition { topic: topic.name.clone(), partition };
    let slot = usize::try_from(partition).ok().and_then(|slot| topic.partitions.get_mut(slot));
    change(slot.ok_or(unknown)?)?;
    image.put_topic(topic);
    Ok(())
}

fn reassign(
    assignment: &mut Assignment,
    target: Option<&[i32]>,
    index: u64,
) -> Result<(), CommandError> {
    let Some(target) = target else {
        if assignment.target.is_none() {
            return Err(CommandError::NoReassignment);
        }
        assignment.begin(assignment.replicas.clone(), index);
        return Ok(());
    };
    if let Some(node) = target.iter().find(|node| assignment.leaving.contains(node)) {
        return Err(CommandError::ReplicaLeaving { node: *node });
    }
    assignment.begin(target.to_vec(), index);
    Ok(())
}

fn finish(
    assignment: &mut Assignment,
    replicas: &[i32],
    since: Option<u64>,
) -> Result<(), CommandError> {
    let another = since.is_some() && since != assignment.target_since;
    match &assignment.target {
        None => Err(CommandError::NoReassignment),
        Some(target) if another || target != replicas => Err(CommandError::TargetChanged),
        Some(_) => {
            assignment.finish();
            Ok(())
        }
    }
}

fn refuse_replicas(image: &Image, replicas: &[i32]) -> Result<(), CommandError> {
    let twice =
        (1..).zip(replicas).any(|(after, node)| replicas.iter().skip(after).any(|it| it == node));
    if replicas.is_empty() || twice {
        return Err(CommandError::InvalidReplicas { replicas: replicas.to_vec() });
    }
    match replicas.iter().find(|node| !image.brokers.contains_key(node)) {
        Some(node) => Err(CommandError::UnknownReplica(*node)),
        None => Ok(()),
    }
}

/// A broker may have been removed after the proposer placed replicas on it.
fn refuse_unknown_brokers(image: &Image, partitions: &[Assignment]) -> Result<(), CommandError> {
    partitions.iter().try_for_each(|assignment| refuse_replicas(image, &assignment.replicas))
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
mod tests;
