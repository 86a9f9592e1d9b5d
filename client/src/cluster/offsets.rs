//! Looking up offsets: the ends of a partition, or the first record at or after a time. Consumers
//! begin with it, and admin offers it.

use std::collections::HashMap;
use std::sync::Arc;

use thalweg_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use thalweg_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::PartitionOutcome;
use super::{Cluster, PartitionError};
use crate::topic_partition::TopicPartition;

/// Which offset of a partition is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetAt {
    /// That of the oldest record there is.
    Earliest,
    /// That of the next record to be written; reading committed records, the end of what is
    /// decided.
    Latest,
    /// That of the first record with this timestamp, in milliseconds since 1970, or a later one.
    Timestamp(i64),
    /// That of the record with the largest timestamp (KIP-734).
    MaxTimestamp,
}

/// Which records a reader is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All that are replicated, those of open and of aborted transactions too.
    #[default]
    ReadUncommitted,
    /// Only those outside transactions and those of committed ones.
    ReadCommitted,
}

impl Isolation {
    pub(crate) fn on_the_wire(self) -> i8 {
        match self {
            Isolation::ReadUncommitted => 0,
            Isolation::ReadCommitted => 1,
        }
    }
}

/// An offset that was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: i64,
    /// The record's timestamp, if it was looked up by that.
    pub timestamp: Option<i64>,
    /// The leader epoch of the record, if the broker tells.
    pub leader_epoch: Option<i32>,
}

impl OffsetAt {
    fn on_the_wire(self) -> i64 {
        match self {
            OffsetAt::Latest => -1,
            OffsetAt::Earliest => -2,
            OffsetAt::MaxTimestamp => -3,
            // Below zero are codes, not times.
            OffsetAt::Timestamp(ms) => ms.max(0),
        }
    }
}

impl Cluster {
    /// Looks up an offset in each partition; none where no record is late enough.
    ///
    /// Cancel-safe.
    pub(crate) async fn find_offsets(
        self: &Arc<Self>,
        wanted: &[(TopicPartition, OffsetAt)],
        isolation: Isolation,
    ) -> Vec<Result<Option<FoundOffset>, PartitionError>> {
        let at: HashMap<&TopicPartition, OffsetAt> =
            wanted.iter().map(|(partition, at)| (partition, *at)).collect();
        let partitions: Vec<TopicPartition> =
            wanted.iter().map(|(partition, _)| partition.clone()).collect();
        let build = |asked: &[&TopicPartition]| self.offsets_request(asked, &at, isolation);
        self.ask_leaders(&partitions, build, read).await
    }

    fn offsets_request(
        &self,
        asked: &[&TopicPartition],
        at: &HashMap<&TopicPartition, OffsetAt>,
        isolation: Isolation,
    ) -> ListOffsetsRequest {
        let metadata = self.metadata();
        let topics = asked.iter().map(|partition| {
            let known = metadata.partition(&partition.topic, partition.partition);
            let epoch = known.and_then(|known| known.leader_epoch);
            ListOffsetsTopic {
                name: KafkaStr::copied_from(&partition.topic),
                partitions: vec![ListOffsetsPartition {
                    partition_index: partition.partition,
                    current_leader_epoch: epoch.map_or(-1, |epoch| epoch.get()),
                    timestamp: at.get(partition).copied().unwrap_or(OffsetAt::Latest).on_the_wire(),
                    ..ListOffsetsPartition::default()
                }],
                ..ListOffsetsTopic::default()
            }
        });
        ListOffsetsRequest {
            replica_id: -1,
            isolation_level: isolation.on_the_wire(),
            topics: merged(topics),
            timeout_ms: i32::try_from(self.options.request_timeout.as_millis()).unwrap_or(i32::MAX),
            ..ListOffsetsRequest::default()
        }
    }
}

/// Neighbours with the same name become one: brokers reject a topic that occurs twice.
fn merged(topics: impl Iterator<Item = ListOffsetsTopic>) -> Vec<ListOffsetsTopic> {
    let mut merged: Vec<ListOffsetsTopic> = Vec::new();
    let mut places: HashMap<KafkaStr, usize> = HashMap::new();
    for topic in topics {
        match places.get(&topic.name).and_then(|place| merged.get_mut(*place)) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => {
                places.insert(topic.name.clone(), merged.len());
                merged.push(topic);
            }
        }
    }
    merged
}

fn read(response: ListOffsetsResponse) -> Vec<PartitionOutcome<Option<FoundOffset>>> {
    let mut outcomes = Vec::new();
    for topic in response.topics {
        let name: Arc<str> = topic.name.as_str().into();
        for partition in topic.partitions {
            let key = TopicPartition::new(name.clone(), partition.partition_index);
            let found = FoundOffset {
                offset: partition.offset,
                timestamp: (partition.timestamp >= 0).then_some(partition.timestamp),
                leader_epoch: (partition.leader_epoch >= 0).then_some(partition.leader_epoch),
            };
            let outcome = match ErrorCode::from(partition.error_code) {
                ErrorCode::None => Ok((found.offset >= 0).then_some(found)),
                error => Err(error),
            };
            outcomes.push((key, outcome));
        }
    }
    outcomes
}
