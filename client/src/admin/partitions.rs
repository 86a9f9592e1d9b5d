//! Offsets and records of partitions.

use std::collections::HashMap;
use std::sync::Arc;

use thalweg_protocol::ErrorCode;
use thalweg_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use thalweg_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::Admin;
use crate::cluster::{FoundOffset, Isolation, OffsetAt, PartitionError, PartitionOutcome};
use crate::topic_partition::{TopicPartition, by_topic};

/// What deleting left of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedRecords {
    /// The oldest offset there is now.
    pub low_watermark: i64,
}

impl Admin {
    /// Looks up an offset in each partition: its ends, or the first record at or after a time. None
    /// where no record is late enough.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetAt)],
        isolation: Isolation,
    ) -> Vec<Result<Option<FoundOffset>, PartitionError>> {
        self.cluster.find_offsets(wanted, isolation).await
    }

    /// Deletes the records of each partition below an offset; without one, all that are committed.
    pub async fn delete_records(
        &self,
        below: &[(TopicPartition, Option<i64>)],
    ) -> Vec<Result<DeletedRecords, PartitionError>> {
        let offsets: HashMap<&TopicPartition, i64> =
            below.iter().map(|(partition, offset)| (partition, offset.unwrap_or(-1))).collect();
        let partitions: Vec<TopicPartition> = below.iter().map(|(it, _)| it.clone()).collect();
        let build = |asked: &[&TopicPartition]| DeleteRecordsRequest {
            topics: by_topic(asked.iter().copied(), |partition| DeleteRecordsPartition {
                partition_index: partition.partition,
                offset: offsets.get(partition).copied().unwrap_or_default(),
                ..DeleteRecordsPartition::default()
            })
            .into_iter()
            .map(|(name, partitions)| DeleteRecordsTopic {
                name,
                partitions,
                ..DeleteRecordsTopic::default()
            })
            .collect(),
            timeout_ms: self.timeout_ms(),
            ..DeleteRecordsRequest::default()
        };
        self.cluster.ask_leaders(&partitions, build, read).await
    }
}

fn read(response: DeleteRecordsResponse) -> Vec<PartitionOutcome<DeletedRecords>> {
    let mut outcomes = Vec::new();
    for topic in response.topics {
        let name: Arc<str> = topic.name.as_str().into();
        for partition in topic.partitions {
            let outcome = match ErrorCode::from(partition.error_code) {
                ErrorCode::None => Ok(DeletedRecords { low_watermark: partition.low_watermark }),
                error => Err(error),
            };
            let partition = TopicPartition::new(name.clone(), partition.partition_index);
            outcomes.push((partition, outcome));
        }
    }
    outcomes
}
