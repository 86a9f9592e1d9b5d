//! The cluster image: everything the controller knows, as one immutable value.
//!
//! Only `apply` makes a new image from an old one. Every shard reads the current image through an
//! `Arc` that is swapped whole, so a reader never sees half a change. Topics are `Arc`s of their
//! own: a command copies the two maps of pointers, not the topics.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::assignment::Assignment;
use crate::config::kafka_names::BROKER_DRAINED;

/// How many topics are remembered after their deletion: more than are deleted while a command is
/// on its way.
const DELETED_LAST_MAX: usize = 1000;

/// The state of the whole cluster after one of the controller's commands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Image {
    /// Raft index of the last command in this image.
    pub(crate) applied: u64,
    /// Brokers by id.
    pub(crate) brokers: BTreeMap<i32, Broker>,
    /// Topics by name.
    #[serde(with = "topics")]
    pub(crate) topics: BTreeMap<String, Arc<Topic>>,
    /// Names by topic id.
    pub(super) names: BTreeMap<Uuid, String>,
    /// Topics that were deleted, and the brokers that may still hold their data. Data is removed
    /// only because an id stands here, never because an id is absent from `topics`.
    #[serde(deserialize_with = "deleted::read")]
    pub(crate) deleted: BTreeMap<Uuid, BTreeSet<i32>>,
    /// The topics deleted last, so that a command to create one, sent again because its outcome was
    /// not heard, does not bring it back while its data is being removed.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub(super) deleted_last: VecDeque<Uuid>,
    /// Configuration of all brokers (key `""`) and of single ones (their id).
    pub(crate) broker_configs: BTreeMap<String, BTreeMap<String, String>>,
    /// The first producer id that was never handed out.
    pub(crate) next_producer_id: i64,
    /// Brokers that were removed for good. Their ids are not given to others.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) removed: BTreeSet<i32>,
}

/// A broker, and how it is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Broker {
    /// Where clients connect.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) rack: Option<String>,
    /// Where other brokers connect; a broker that is alone has no such address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node_address: Option<String>,
    /// The data directory it registered with. Another one under the same id is another broker,
    /// which has forgotten its votes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disk: Option<Uuid>,
    /// The controller has not heard from it for a while. It is given no new replicas, and clients
    /// are not sent to it.
    #[serde(default)]
    pub(crate) fenced: bool,
}

/// A topic and where its partitions live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// Index = partition.
    pub(crate) partitions: Vec<Assignment>,
    /// Overrides only; everything else comes from the broker.
    pub(crate) configs: BTreeMap<String, String>,
}

/// Topics in a snapshot: serde shares nothing, so the pointers are left out.
mod topics {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Topic;

    pub(super) fn serialize<S: Serializer>(
        topics: &BTreeMap<String, Arc<Topic>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        topics.values().map(Arc::as_ref).collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Arc<Topic>>, D::Error> {
        let topics = Vec::<Topic>::deserialize(deserializer)?;
        Ok(topics.into_iter().map(|topic| (topic.name.clone(), Arc::new(topic))).collect())
    }
}

/// The deleted topics of a snapshot, also in the form of a version that knew only one broker: a
/// list of ids. Nobody is named then, and [`Image::holds_deleted`] takes that for everybody.
mod deleted {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::{Deserialize, Deserializer};
    use uuid::Uuid;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        ByBroker(BTreeMap<Uuid, BTreeSet<i32>>),
        Ids(Vec<Uuid>),
    }

    pub(super) fn read<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Uuid, BTreeSet<i32>>, D::Error> {
        Ok(match Stored::deserialize(deserializer)? {
            Stored::ByBroker(deleted) => deleted,
            Stored::Ids(ids) => ids.into_iter().map(|id| (id, BTreeSet::new())).collect(),
        })
    }
}

impl Topic {
    /// The number of partitions, as Kafka counts them.
    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// The assignment of partition `index`, if the topic has it.
    pub(crate) fn partition(&self, index: i32) -> Option<&Assignment> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

impl Image {
    /// The topic called `name`.
    pub(crate) fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic with this id.
    pub(crate) fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(&id)?)
    }

    /// A cluster of these brokers and nothing else.
    #[cfg(test)]
    pub(crate) fn of_brokers(nodes: impl IntoIterator<Item = i32>) -> Image {
        let brokers = nodes.into_iter().map(|node| (node, Broker::default())).collect();
        Image { brokers, ..Image::default() }
    }

    /// The brokers that are not fenced, in the order of their ids.
    pub(crate) fn live_brokers(&self) -> impl Iterator<Item = (i32, &Broker)> {
        self.brokers.iter().filter(|(_, broker)| !broker.fenced).map(|(id, broker)| (*id, broker))
    }

    /// Whether the controller knows the broker and has not heard from it for a while.
    pub(crate) fn is_fenced(&self, node: i32) -> bool {
        self.brokers.get(&node).is_some_and(|broker| broker.fenced)
    }

    /// Whether an operator wants the broker to be left empty.
    pub(crate) fn is_drained(&self, node: i32) -> bool {
        let configs = self.broker_configs.get(&node.to_string());
        configs.and_then(|configs| configs.get(BROKER_DRAINED.name)).is_some_and(|it| it == "true")
    }

    /// The partitions that a broker has a replica of, is getting one of, or may still have data
    /// of, in the order of topic names.
    pub(crate) fn replicas_hosting(
        &self,
        node: i32,
    ) -> impl Iterator<Item = (&Arc<Topic>, i32, &Assignment)> {
        self.topics.values().flat_map(move |topic| {
            let partitions = (0..).zip(&topic.partitions);
            let hosted = partitions.filter(move |(_, assignment)| assignment.names(node));
            hosted.map(move |(partition, assignment)| (topic, partition, assignment))
        })
    }

    /// Kafka's in-sync replicas: those that are not fenced, and that their leader has not seen lag.
    /// A broker that a reassignment is only adding is not among them.
    pub(crate) fn isr(&self, assignment: &Assignment, lagging: &[i32]) -> Vec<i32> {
        let in_sync = |node: &i32| !self.is_fenced(*node) && !lagging.contains(node);
        assignment.replicas.iter().copied().filter(in_sync).collect()
    }

    /// The members of a partition that are fenced.
    pub(crate) fn offline_replicas(&self, assignment: &Assignment) -> Vec<i32> {
        assignment.members().into_iter().filter(|node| self.is_fenced(*node)).collect()
    }

    /// Whether a topic with this id was there, lately or still.
    pub(super) fn was_there(&self, id: Uuid) -> bool {
        self.names.contains_key(&id)
            || self.deleted.contains_key(&id)
            || self.deleted_last.contains(&id)
    }

    /// Whether a broker may still hold data of a deleted topic.
    pub(crate) fn holds_deleted(&self, topic: Uuid, node: i32) -> bool {
        let holders = self.deleted.get(&topic);
        holders.is_some_and(|holders| holders.is_empty() || holders.contains(&node))
    }

    /// Adds or replaces a topic under its name and id.
    pub(super) fn put_topic(&mut self, topic: Topic) {
        self.names.insert(topic.id, topic.name.clone());
        self.topics.insert(topic.name.clone(), Arc::new(topic));
    }

    /// Takes a topic out and remembers who may hold its data.
    pub(super) fn remove_topic(&mut self, name: &str) {
        if let Some(topic) = self.topics.remove(name) {
            self.names.remove(&topic.id);
            let holders = topic.partitions.iter().flat_map(Assignment::holders).collect();
            self.deleted.insert(topic.id, holders);
            self.deleted_last.push_back(topic.id);
            if self.deleted_last.len() > DELETED_LAST_MAX {
                self.deleted_last.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_replicas_that_live_are_in_sync_and_only_members_are_offline() {
        let mut image = Image::of_brokers(1..=4);
        let assignment = Assignment {
            target: Some(vec![2, 3, 4]),
            leaving: vec![9],
            ..Assignment::new(vec![1, 2])
        };
        assert_eq!(image.isr(&assignment, &[]), [1, 2], "what is being added is not in sync yet");
        assert_eq!(image.offline_replicas(&assignment), Vec::<i32>::new());
        assert_eq!(image.isr(&assignment, &[2, 4]), [1]);
        for node in [2, 4] {
            image.brokers.get_mut(&node).expect("one of the four").fenced = true;
        }
        assert_eq!(image.isr(&assignment, &[]), [1]);
        assert_eq!(image.offline_replicas(&assignment), [2, 4]);
        assert_eq!(image.live_brokers().map(|(id, _)| id).collect::<Vec<_>>(), [1, 3]);
    }
}
