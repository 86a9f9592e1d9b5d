//! Brokers come, fall silent, and go; deleted topics are forgotten when all have removed them.
//!
//! The part of `apply` that is about brokers.

use uuid::Uuid;

use super::command::CommandError;
use super::image::{Broker, Image};

/// A broker under a known id must be the one that is known: with another disk it has lost its
/// votes.
pub(super) fn register(image: &mut Image, node: i32, broker: &Broker) -> Result<(), CommandError> {
    let known = image.brokers.get(&node).and_then(|known| known.disk);
    if known.is_some() && broker.disk.is_some() && known != broker.disk {
        return Err(CommandError::DiskMismatch { node });
    }
    if image.removed.contains(&node) {
        return Err(CommandError::Removed { node });
    }
    let disk = broker.disk.or(known);
    image.brokers.insert(node, Broker { disk, fenced: false, ..broker.clone() });
    Ok(())
}

pub(super) fn set_fenced(image: &mut Image, node: i32, fenced: bool) -> Result<(), CommandError> {
    let broker = image.brokers.get_mut(&node).ok_or(CommandError::UnknownBroker(node))?;
    broker.fenced = fenced;
    Ok(())
}

/// Removes a broker that has no replicas. Copies that it was to remove do not hold it back when
/// it is fenced: a broker that is lost will never remove them.
pub(super) fn unregister(image: &mut Image, node: i32) -> Result<(), CommandError> {
    if !image.brokers.contains_key(&node) {
        return Err(CommandError::UnknownBroker(node));
    }
    let fenced = image.is_fenced(node);
    let in_use = image.replicas_hosting(node).filter(|(_, _, it)| !fenced || it.has_member(node));
    let partitions = in_use.count();
    if partitions > 0 {
        return Err(CommandError::BrokerInUse { node, partitions });
    }
    if !image.live_brokers().any(|(other, _)| other != node) {
        return Err(CommandError::LastBroker(node));
    }
    if !fenced {
        return Err(CommandError::BrokerAlive { node });
    }
    let left: Vec<_> =
        image.replicas_hosting(node).map(|(topic, _, _)| (**topic).clone()).collect();
    for mut topic in left {
        for assignment in &mut topic.partitions {
            assignment.leaving.retain(|leaving| *leaving != node);
        }
        image.put_topic(topic);
    }
    for id in image.deleted.keys().copied().collect::<Vec<_>>() {
        forget_holder(image, id, node);
    }
    image.brokers.remove(&node);
    image.removed.insert(node);
    image.broker_configs.remove(&node.to_string());
    Ok(())
}

/// A broker, or all of them, have removed a deleted topic's data.
pub(super) fn forget_deleted(image: &mut Image, id: Uuid, node: Option<i32>) {
    match node {
        Some(node) => forget_holder(image, id, node),
        None => drop(image.deleted.remove(&id)),
    }
}

fn forget_holder(image: &mut Image, id: Uuid, node: i32) {
    if let Some(holders) = image.deleted.get_mut(&id) {
        holders.remove(&node);
        if holders.is_empty() {
            image.deleted.remove(&id);
        }
    }
}
