//! How far a group has read: its committed offsets, by topic and partition.

mod commit;
mod delete;
mod fetch;
mod retention;

use std::collections::BTreeMap;

use thalweg_protocol::KafkaStr;
use thalweg_protocol::group_record::{OffsetCommitKey, OffsetCommitValue, Record};
use uuid::Uuid;

pub(crate) use commit::{Commit, NewOffset};
pub(crate) use fetch::{Fetch, FetchedOffset, FetchedTopic, WantedTopic};

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    /// The offset of the next record to read.
    pub(crate) offset: i64,
    /// The epoch of the last record read, or −1.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: KafkaStr,
    commit_timestamp_ms: i64,
    /// When it is to be forgotten, −1 for the group's rule.
    expire_timestamp_ms: i64,
    /// Nil if it was committed before offsets knew their topic's id.
    pub(crate) topic_id: Uuid,
}

/// The offsets of one group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Offsets {
    topics: BTreeMap<KafkaStr, BTreeMap<i32, CommittedOffset>>,
}

impl Offsets {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&KafkaStr, i32, &CommittedOffset)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, offset)| (topic, *partition, offset))
        })
    }

    fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)
    }

    /// Takes over what a record says. State outlives the record's buffer, so texts are copied.
    pub(super) fn replay(&mut self, key: &OffsetCommitKey, value: Option<&OffsetCommitValue>) {
        let Some(value) = value else {
            if let Some(partitions) = self.topics.get_mut(&key.topic) {
                partitions.remove(&key.partition);
                if partitions.is_empty() {
                    self.topics.remove(&key.topic);
                }
            }
            return;
        };
        let offset = CommittedOffset {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.detached(),
            commit_timestamp_ms: value.commit_timestamp,
            expire_timestamp_ms: value.expire_timestamp,
            topic_id: value.topic_id,
        };
        match self.topics.get_mut(&key.topic) {
            Some(partitions) => {
                partitions.insert(key.partition, offset);
            }
            None => {
                let partitions = BTreeMap::from([(key.partition, offset)]);
                self.topics.insert(key.topic.detached(), partitions);
            }
        }
    }
}

fn key(group: &KafkaStr, topic: &KafkaStr, partition: i32) -> OffsetCommitKey {
    OffsetCommitKey {
        group: group.clone(),
        topic: topic.clone(),
        partition,
        ..OffsetCommitKey::default()
    }
}

/// The record that makes an offset forgotten.
fn tombstone(group: &KafkaStr, topic: &KafkaStr, partition: i32) -> Record {
    Record::OffsetCommit(key(group, topic, partition), None)
}
