//! OffsetFetch: an unknown group, topic or partition is no error, its offset is −1.

use thalweg_protocol::{ErrorCode, KafkaStr};
use uuid::Uuid;

use super::CommittedOffset;
use crate::group::groups::{GroupKind, Groups};

/// What is asked of one group.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    pub(crate) group_id: KafkaStr,
    /// Who asks, if it says so.
    pub(crate) member_id: Option<KafkaStr>,
    /// A consumer group's member epoch, −1 outside of groups.
    pub(crate) member_epoch: i32,
    /// `None` for everything the group has.
    pub(crate) topics: Option<Vec<WantedTopic>>,
}

/// The partitions wanted of one topic.
#[derive(Clone, Debug)]
pub(crate) struct WantedTopic {
    pub(crate) name: KafkaStr,
    /// The id that the topic has now, or nil.
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<i32>,
}

/// The offsets in one topic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FetchedTopic {
    pub(crate) name: KafkaStr,
    pub(crate) partitions: Vec<FetchedOffset>,
}

/// The offset in one partition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FetchedOffset {
    pub(crate) partition: i32,
    pub(crate) offset: Option<CommittedOffset>,
}

impl Groups {
    /// Looks offsets up.
    pub(crate) fn fetch(&self, fetch: &Fetch) -> Result<Vec<FetchedTopic>, ErrorCode> {
        let Some(group) = self.get(&fetch.group_id) else {
            return Ok(nothing(fetch.topics.as_deref().unwrap_or_default()));
        };
        match &group.kind {
            // A classic member is known by its generation, which this API has no field for.
            GroupKind::Classic(_) => {}
            GroupKind::Consumer(consumer) => consumer
                .check_fetch(fetch.member_id.as_deref(), fetch.member_epoch)
                .map_err(|refusal| refusal.code)?,
        }
        let Some(wanted) = &fetch.topics else {
            let topics = group.offsets.topics.iter().map(|(name, partitions)| FetchedTopic {
                name: name.clone(),
                partitions: partitions
                    .iter()
                    .map(|(partition, offset)| FetchedOffset {
                        partition: *partition,
                        offset: Some(offset.clone()),
                    })
                    .collect(),
            });
            return Ok(topics.collect());
        };
        let topics = wanted.iter().map(|topic| FetchedTopic {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|&partition| FetchedOffset {
                    partition,
                    offset: group
                        .offsets
                        .get(&topic.name, partition)
                        .filter(|offset| is_same_topic(offset.topic_id, topic.id))
                        .cloned(),
                })
                .collect(),
        });
        Ok(topics.collect())
    }
}

/// An offset in a topic that was deleted says nothing about the one that now has its name.
fn is_same_topic(committed: Uuid, now: Uuid) -> bool {
    committed.is_nil() || now.is_nil() || committed == now
}

fn nothing(wanted: &[WantedTopic]) -> Vec<FetchedTopic> {
    let topics = wanted.iter().map(|topic| FetchedTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|&partition| FetchedOffset { partition, offset: None })
            .collect(),
    });
    topics.collect()
}
