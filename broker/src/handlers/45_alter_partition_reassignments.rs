//! AlterPartitionReassignments (key 45), versions 0–1: gives partitions other replicas, or takes a
//! reassignment back (KIP-455). Answered when the controller has it; the partitions' leaders carry
//! it out. Another order of the same replicas only names another preferred leader.

use std::rc::Rc;

use futures_util::{StreamExt, stream};
use thalweg_protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::topic_creation::{Refusal, propose};
use crate::controller::command::Command;
use crate::server::connection::Connection;
use crate::shard::Shard;

/// Commands of one request that wait for the controller's disk together.
const IN_FLIGHT_MAX: usize = 64;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let (shard, may_resize) = (&connection.shard, request.allow_replication_factor_change);
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let name = &topic.name;
        let partitions = stream::iter(topic.partitions).map(async |partition| {
            let partition_index = partition.partition_index;
            let refusal = reassign(shard, name, partition, may_resize).await.err();
            ReassignablePartitionResponse {
                partition_index,
                error_code: refusal.as_ref().map_or(0, |refusal| refusal.code.code()),
                error_message: refusal.map(|refusal| refusal.message.into()),
                ..ReassignablePartitionResponse::default()
            }
        });
        responses.push(ReassignableTopicResponse {
            partitions: partitions.buffered(IN_FLIGHT_MAX).collect().await,
            name: topic.name,
            ..ReassignableTopicResponse::default()
        });
    }
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: may_resize,
        error_message: None,
        responses,
        ..AlterPartitionReassignmentsResponse::default()
    }
}

async fn reassign(
    shard: &Rc<Shard>,
    name: &KafkaStr,
    wanted: ReassignablePartition,
    may_resize: bool,
) -> Result<(), Refusal> {
    let (image, partition) = (shard.node.images.load(), wanted.partition_index);
    let topic = image.topic(name).ok_or_else(|| {
        let message = format!("topic '{name}' does not exist");
        Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
    })?;
    let assignment = topic.partition(partition).ok_or_else(|| {
        let message = format!("topic '{name}' has no partition {partition}");
        Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
    })?;
    let (now, then) = (assignment.replicas.len(), wanted.replicas.as_ref().map(Vec::len));
    if !may_resize && then.is_some_and(|then| then != now) {
        let message = format!("partition {partition} of '{name}' is to keep its {now} replicas");
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
    }
    let command = Command::Reassign { id: topic.id, partition, target: wanted.replicas };
    propose(shard, command).await.map(drop)
}
