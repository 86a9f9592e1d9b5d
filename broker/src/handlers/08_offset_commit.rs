//! OffsetCommit (key 8), versions 2–10. Unknown topics and partitions are refused one by one
//! (UNKNOWN_TOPIC_OR_PARTITION, or by id UNKNOWN_TOPIC_ID), whatever the group says of the others.

use std::rc::Rc;

use thalweg_protocol::ErrorCode;
use thalweg_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use thalweg_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::offsets_topic::with_coordinator;
use crate::controller::image::Topic;
use crate::group::offsets::{Commit, NewOffset};
use crate::node::Node;
use crate::server::connection::Connection;

/// The first version in which topics go by id.
const IDS_SINCE: i16 = 10;

pub(super) async fn handle(
    connection: Rc<Connection>,
    version: i16,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let group_id = request.group_id.clone();
    let (offsets, mut codes) = resolve(&connection.shard.node, version, &request);
    if !offsets.is_empty() {
        let commit = Commit {
            group_id: group_id.clone(),
            member_id: request.member_id.clone(),
            instance_id: request.group_instance_id.clone(),
            generation: request.generation_id_or_member_epoch,
            version,
            offsets,
        };
        let outcomes =
            with_coordinator(&connection.shard, &group_id, |coordinator, id| async move {
                coordinator.run(&id, |groups, turn| groups.commit(&commit, turn)).await?
            });
        let outcomes = outcomes.await;
        let mut outcomes = outcomes.as_ref().map(|codes| codes.iter());
        for code in codes.iter_mut().filter(|code| code.is_none()) {
            *code = match &mut outcomes {
                Ok(outcomes) => outcomes.next().copied().unwrap_or(ErrorCode::UnknownServerError),
                Err(refused) => **refused,
            };
        }
    }
    respond(request, &codes)
}

/// The offsets of partitions that exist, and for every partition of the request its code so far.
fn resolve(
    node: &Node,
    version: i16,
    request: &OffsetCommitRequest,
) -> (Vec<NewOffset>, Vec<ErrorCode>) {
    let (mut offsets, mut codes) = (Vec::new(), Vec::new());
    for asked in &request.topics {
        let (topic, unknown) = if version >= IDS_SINCE {
            (node.topic_by_id(asked.topic_id), ErrorCode::UnknownTopicId)
        } else {
            (node.topic(&asked.name), ErrorCode::UnknownTopicOrPartition)
        };
        for partition in &asked.partitions {
            let code = match &topic {
                None => unknown,
                Some(topic) if topic.partition(partition.partition_index).is_none() => {
                    ErrorCode::UnknownTopicOrPartition
                }
                Some(topic) => {
                    offsets.push(new_offset(topic, partition, request.retention_time_ms));
                    ErrorCode::None
                }
            };
            codes.push(code);
        }
    }
    (offsets, codes)
}

fn new_offset(topic: &Topic, asked: &OffsetCommitRequestPartition, retention_ms: i64) -> NewOffset {
    NewOffset {
        topic: topic.name.clone().into(),
        topic_id: topic.id,
        partition: asked.partition_index,
        offset: asked.committed_offset,
        leader_epoch: asked.committed_leader_epoch,
        metadata: asked.committed_metadata.clone().unwrap_or_default(),
        retention_ms,
    }
}

fn respond(request: OffsetCommitRequest, codes: &[ErrorCode]) -> OffsetCommitResponse {
    let mut codes = codes.iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partition = |asked: OffsetCommitRequestPartition| OffsetCommitResponsePartition {
            partition_index: asked.partition_index,
            error_code: codes.next().map_or(0, |code| code.code()),
            ..OffsetCommitResponsePartition::default()
        };
        OffsetCommitResponseTopic {
            partitions: topic.partitions.into_iter().map(partition).collect(),
            name: topic.name,
            topic_id: topic.topic_id,
            ..OffsetCommitResponseTopic::default()
        }
    });
    OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() }
}
