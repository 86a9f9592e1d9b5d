//! The name of a partition.

use std::fmt;
use std::sync::Arc;

use thalweg_protocol::KafkaStr;

/// A partition of a topic. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's index in it, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {} partition {}", self.topic, self.partition)
    }
}

/// What `entry` makes of each partition, gathered by topic as requests want it.
pub(crate) fn by_topic<'a, T>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
    entry: impl Fn(&TopicPartition) -> T,
) -> Vec<(KafkaStr, Vec<T>)> {
    let mut topics: Vec<(KafkaStr, Vec<T>)> = Vec::new();
    for partition in partitions {
        // Partitions of a topic mostly stand together.
        match topics.iter_mut().rfind(|(name, _)| **name == *partition.topic) {
            Some((_, entries)) => entries.push(entry(partition)),
            None => {
                let name = KafkaStr::copied_from(&partition.topic);
                topics.push((name, vec![entry(partition)]));
            }
        }
    }
    topics
}
