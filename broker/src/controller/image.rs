//! The cluster image: everything the controller knows, as one immutable value.
//!
//! Only `apply` makes a new image from an old one. Every shard reads the current image through an
//! `Arc` that is swapped whole, so a reader never sees half a change. Topics are `Arc`s of their
//! own: a command copies the two maps of pointers, not the topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
    /// Topics that were deleted and whose data some broker may still hold. Data is removed only
    /// because an id stands here, never because an id is absent from `topics`.
    pub(crate) deleted: BTreeSet<Uuid>,
    /// Configuration of all brokers (key `""`) and of single ones (their id).
    pub(crate) broker_configs: BTreeMap<String, BTreeMap<String, String>>,
    /// The first producer id that was never handed out.
    pub(crate) next_producer_id: i64,
}

/// How clients reach a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Broker {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) rack: Option<String>,
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

/// The brokers that hold one partition, the preferred leader first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) replicas: Vec<i32>,
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

    /// Adds or replaces a topic under its name and id.
    pub(super) fn put_topic(&mut self, topic: Topic) {
        self.names.insert(topic.id, topic.name.clone());
        self.topics.insert(topic.name.clone(), Arc::new(topic));
    }

    /// Takes a topic out and remembers that its data may be removed.
    pub(super) fn remove_topic(&mut self, name: &str) {
        if let Some(topic) = self.topics.remove(name) {
            self.names.remove(&topic.id);
            self.deleted.insert(topic.id);
        }
    }
}
