//! What the client knows of the cluster: an immutable picture, replaced as a whole.
//!
//! A new picture never takes a partition's leadership back to an older epoch (KIP-320).

use std::collections::HashMap;
use std::sync::Arc;

use thalweg_protocol::messages::MetadataResponse;
use thalweg_protocol::messages::metadata::{MetadataResponsePartition, MetadataResponseTopic};
use thalweg_protocol::{ErrorCode, LeaderEpoch, NodeId};
use tokio::time::Instant;
use uuid::Uuid;

use crate::address::BrokerAddress;

/// The cluster at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metadata {
    pub(crate) cluster_id: Option<Arc<str>>,
    pub(crate) controller: Option<NodeId>,
    pub(crate) brokers: HashMap<NodeId, Broker>,
    topics: HashMap<Arc<str>, Arc<Topic>>,
    /// When a broker was last asked.
    pub(crate) read_at: Option<Instant>,
}

/// A broker of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: NodeId,
    /// Where it is reached.
    pub address: BrokerAddress,
    /// Where it stands, if it says so.
    pub rack: Option<Arc<str>>,
}

/// A topic, or why it is not known.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    /// Nil from brokers before topic ids (KIP-516).
    pub(crate) id: Uuid,
    pub(crate) error: ErrorCode,
    /// By partition index, without holes.
    pub(crate) partitions: Vec<Partition>,
    pub(crate) read_at: Instant,
}

/// A partition and who leads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) leader: Option<NodeId>,
    /// Unknown from brokers that do not tell (before Metadata version 7).
    pub(crate) leader_epoch: Option<LeaderEpoch>,
}

impl Metadata {
    pub(crate) fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The names of topics, where they are known.
    pub(crate) fn names_of(&self, ids: &[Uuid]) -> HashMap<Uuid, Arc<str>> {
        let wanted = self.topics.values().filter(|topic| ids.contains(&topic.id));
        wanted.map(|topic| (topic.id, topic.name.clone())).collect()
    }

    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        let partition = usize::try_from(partition).ok()?;
        self.topics.get(topic)?.partitions.get(partition)
    }

    /// The leader of a partition, if it is known and is a known broker.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Option<&Broker> {
        self.brokers.get(&self.partition(topic, partition)?.leader?)
    }

    /// This picture with what `response` says. Topics that it does not mention stay.
    pub(crate) fn merged(&self, response: &MetadataResponse, now: Instant) -> Self {
        let mut next = self.clone();
        next.read_at = Some(now);
        next.cluster_id = response.cluster_id.as_ref().map(|id| Arc::from(id.as_str()));
        next.controller = node(response.controller_id);
        next.brokers = response.brokers.iter().filter_map(broker).collect();
        for theirs in &response.topics {
            let Some(name) = theirs.name.as_ref() else { continue };
            let known = self.topics.get(name.as_str());
            let topic = topic(name, theirs, known.map(Arc::as_ref), now);
            next.topics.insert(topic.name.clone(), Arc::new(topic));
        }
        next
    }

    /// This picture without a topic that nobody asks about any more; none if it is not in it.
    pub(crate) fn without(&self, topic: &str) -> Option<Self> {
        let mut next = self.clone();
        next.topics.remove(topic).map(|_| next)
    }

    /// This picture with a leader that a broker named in refusing a request (KIP-951); none if that
    /// is no news.
    pub(crate) fn with_leader(
        &self,
        topic: &str,
        partition: i32,
        leader: NodeId,
        epoch: LeaderEpoch,
        endpoint: Option<Broker>,
    ) -> Option<Self> {
        let known = self.topics.get(topic)?;
        let at = usize::try_from(partition).ok()?;
        let stale = known.partitions.get(at)?.leader_epoch.is_none_or(|known| known < epoch);
        let reachable = endpoint.is_some() || self.brokers.contains_key(&leader);
        if !stale || !reachable {
            return None;
        }
        let mut next = self.clone();
        let mut changed = Topic::clone(known);
        *changed.partitions.get_mut(at)? =
            Partition { leader: Some(leader), leader_epoch: Some(epoch) };
        next.topics.insert(changed.name.clone(), Arc::new(changed));
        next.brokers.extend(endpoint.map(|broker| (broker.id, broker)));
        Some(next)
    }
}

fn node(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(NodeId(id))
}

fn broker(
    theirs: &thalweg_protocol::messages::metadata::MetadataResponseBroker,
) -> Option<(NodeId, Broker)> {
    let id = NodeId(theirs.node_id);
    let address = BrokerAddress::of_node(id, &theirs.host, u16::try_from(theirs.port).ok()?);
    let rack = theirs.rack.as_ref().map(|rack| Arc::from(rack.as_str()));
    Some((id, Broker { id, address, rack }))
}

fn topic(name: &str, theirs: &MetadataResponseTopic, known: Option<&Topic>, now: Instant) -> Topic {
    // A topic that was deleted and made anew starts its epochs from the beginning.
    let known = known.filter(|known| known.id == theirs.topic_id);
    let mut partitions: Vec<Partition> = Vec::new();
    for theirs in &theirs.partitions {
        // Indexes are dense; anything else is not worth believing.
        let Ok(at) = usize::try_from(theirs.partition_index) else { continue };
        if at >= PARTITIONS_MAX {
            continue;
        }
        if partitions.len() <= at {
            partitions.resize(at + 1, Partition::default());
        }
        if let Some(place) = partitions.get_mut(at) {
            *place = partition(theirs, known.and_then(|known| known.partitions.get(at)));
        }
    }
    Topic {
        name: name.into(),
        id: theirs.topic_id,
        error: ErrorCode::from(theirs.error_code),
        partitions,
        read_at: now,
    }
}

/// More partitions than any topic has: a bound on what a mad broker makes us allocate.
const PARTITIONS_MAX: usize = 1_000_000;

/// Brokers learn of a new leader one after another: the higher epoch is the newer truth (KIP-320).
fn partition(theirs: &MetadataResponsePartition, known: Option<&Partition>) -> Partition {
    let epoch = (theirs.leader_epoch >= 0).then_some(LeaderEpoch(theirs.leader_epoch));
    match known {
        Some(known) if epoch.is_some() && known.leader_epoch > epoch => known.clone(),
        _ => Partition { leader: node(theirs.leader_id), leader_epoch: epoch },
    }
}

#[cfg(test)]
mod tests {
    use thalweg_protocol::messages::metadata::MetadataResponseBroker;

    use super::*;

    fn response(topic_id: Uuid, leader_id: i32, leader_epoch: i32) -> MetadataResponse {
        let partition = MetadataResponsePartition {
            leader_id,
            leader_epoch,
            ..MetadataResponsePartition::default()
        };
        let topic = MetadataResponseTopic {
            name: Some("t".into()),
            topic_id,
            partitions: vec![partition],
            ..MetadataResponseTopic::default()
        };
        let broker = |node_id| MetadataResponseBroker {
            node_id,
            host: "host".into(),
            port: 9092 + node_id,
            ..MetadataResponseBroker::default()
        };
        MetadataResponse {
            brokers: vec![broker(1), broker(2)],
            topics: vec![topic],
            ..MetadataResponse::default()
        }
    }

    fn leader(metadata: &Metadata) -> Option<i32> {
        metadata.leader("t", 0).map(|broker| broker.id.get())
    }

    #[tokio::test]
    async fn an_older_leader_epoch_does_not_undo_a_newer_one() {
        let now = Instant::now();
        let id = Uuid::from_u128(7);
        let newer = Metadata::default().merged(&response(id, 2, 5), now);
        assert_eq!(leader(&newer), Some(2));
        assert_eq!(leader(&newer.merged(&response(id, 1, 4), now)), Some(2));
        assert_eq!(leader(&newer.merged(&response(id, 1, 6), now)), Some(1));
        let made_anew = Uuid::from_u128(8);
        let merged = newer.merged(&response(made_anew, 1, 0), now);
        assert_eq!(leader(&merged), Some(1));
    }

    #[tokio::test]
    async fn a_leader_named_in_an_answer_counts_if_its_epoch_is_newer() {
        let metadata = Metadata::default().merged(&response(Uuid::nil(), 1, 5), Instant::now());
        let learn =
            |epoch, node| metadata.with_leader("t", 0, NodeId(node), LeaderEpoch(epoch), None);
        assert!(learn(5, 2).is_none());
        assert!(learn(6, 3).is_none(), "nobody knows where broker 3 is");
        assert_eq!(leader(&learn(6, 2).unwrap()), Some(2));
    }
}
