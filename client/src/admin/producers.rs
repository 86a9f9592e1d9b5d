//! The producers that partitions remember.

use std::sync::Arc;

use thalweg_protocol::messages::describe_producers::{ProducerState, TopicRequest};
use thalweg_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};
use thalweg_protocol::{ErrorCode, ProducerId};

use super::Admin;
use crate::cluster::{PartitionError, PartitionOutcome};
use crate::topic_partition::{TopicPartition, by_topic};

/// An idempotent or transactional producer that has written to a partition (KIP-664).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: i32,
    /// The number of the last record it wrote here, if known.
    pub last_sequence: Option<i32>,
    /// When it last wrote here, in milliseconds since 1970, if known.
    pub last_timestamp: Option<i64>,
    /// The epoch of the coordinator of its last transaction, if known.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins here, if it has one.
    pub transaction_start_offset: Option<i64>,
}

impl Admin {
    /// The producers that each partition's leader remembers.
    pub async fn describe_producers(
        &self,
        partitions: &[TopicPartition],
    ) -> Vec<Result<Vec<ActiveProducer>, PartitionError>> {
        let build = |asked: &[&TopicPartition]| DescribeProducersRequest {
            topics: by_topic(asked.iter().copied(), |partition| partition.partition)
                .into_iter()
                .map(|(name, partition_indexes)| TopicRequest {
                    name,
                    partition_indexes,
                    ..TopicRequest::default()
                })
                .collect(),
            ..DescribeProducersRequest::default()
        };
        self.cluster.ask_leaders(partitions, build, read).await
    }
}

fn read(response: DescribeProducersResponse) -> Vec<PartitionOutcome<Vec<ActiveProducer>>> {
    let mut outcomes = Vec::new();
    for topic in response.topics {
        let name: Arc<str> = topic.name.as_str().into();
        for partition in topic.partitions {
            let outcome = match ErrorCode::from(partition.error_code) {
                ErrorCode::None => Ok(partition.active_producers.iter().map(producer).collect()),
                error => Err(error),
            };
            let partition = TopicPartition::new(name.clone(), partition.partition_index);
            outcomes.push((partition, outcome));
        }
    }
    outcomes
}

fn producer(state: &ProducerState) -> ActiveProducer {
    let known = |value: i32| (value >= 0).then_some(value);
    ActiveProducer {
        producer_id: ProducerId(state.producer_id),
        producer_epoch: state.producer_epoch,
        last_sequence: known(state.last_sequence),
        last_timestamp: (state.last_timestamp >= 0).then_some(state.last_timestamp),
        coordinator_epoch: known(state.coordinator_epoch),
        transaction_start_offset: (state.current_txn_start_offset >= 0)
            .then_some(state.current_txn_start_offset),
    }
}
