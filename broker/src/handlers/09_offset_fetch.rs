//! OffsetFetch (key 9), versions 1–10: one group up to version 7, many from version 8, topics by id
//! from version 10. An unknown group has no offsets, which is no error; nothing committed is −1.
//!
//! `require_stable` changes nothing while there are no transactions: no offset is ever pending.

use std::rc::Rc;

use futures_util::future::join_all;
use thalweg_protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use thalweg_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};
use uuid::Uuid;

use super::offsets_topic::with_coordinator;
use crate::group::offsets::{Fetch, FetchedOffset, FetchedTopic, WantedTopic};
use crate::server::connection::Connection;
use crate::shard::Shard;

const MANY_GROUPS_SINCE: i16 = 8;
const IDS_SINCE: i16 = 10;
/// The first version with an error for the whole answer.
const GROUP_ERROR_SINCE: i16 = 2;

pub(super) async fn handle(
    connection: Rc<Connection>,
    version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let shard = &connection.shard;
    if version >= MANY_GROUPS_SINCE {
        let groups = request.groups.into_iter().map(|group| of_group(shard, version, group));
        let groups = join_all(groups).await;
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let topics = request.topics.map(|topics| {
        let topic = |topic: thalweg_protocol::messages::offset_fetch::OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..OffsetFetchRequestTopics::default()
            }
        };
        topics.into_iter().map(topic).collect()
    });
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..OffsetFetchRequestGroup::default()
    };
    in_old_form(version, of_group(shard, version, group).await)
}

async fn of_group(
    shard: &Rc<Shard>,
    version: i16,
    asked: OffsetFetchRequestGroup,
) -> OffsetFetchResponseGroup {
    let wanted = asked.topics.as_ref();
    let wanted = wanted.map(|topics| topics.iter().map(|it| want(shard, version, it)).collect());
    // An id that names no topic is answered beside the others, not by the group.
    let unknown: Vec<usize> = match &wanted {
        Some(topics) if version >= IDS_SINCE => {
            let topics: &Vec<WantedTopic> = topics;
            let unnamed = topics.iter().enumerate().filter(|(_, topic)| topic.name.is_empty());
            unnamed.map(|(position, _)| position).collect()
        }
        _ => Vec::new(),
    };
    let fetch = Fetch {
        group_id: asked.group_id.clone(),
        member_id: asked.member_id.clone(),
        member_epoch: asked.member_epoch,
        topics: wanted,
    };
    let fetched = with_coordinator(shard, &asked.group_id, |coordinator, id| async move {
        coordinator.run(&id, |groups, _turn| groups.fetch(&fetch)).await?
    });
    let mut response = OffsetFetchResponseGroup {
        group_id: asked.group_id.clone(),
        ..OffsetFetchResponseGroup::default()
    };
    match fetched.await {
        Err(code) => {
            response.error_code = code.code();
            // Version 1 has no error but those of the partitions.
            if version < GROUP_ERROR_SINCE {
                let asked = asked.topics.unwrap_or_default();
                response.topics = asked.iter().map(|topic| failed(topic, code)).collect();
            }
        }
        Ok(topics) => {
            for (position, topic) in topics.into_iter().enumerate() {
                let asked = asked.topics.as_ref().and_then(|topics| topics.get(position));
                response.topics.extend(match asked {
                    Some(asked) if unknown.contains(&position) => {
                        Some(failed(asked, ErrorCode::UnknownTopicId))
                    }
                    asked => shown(shard, version, asked.map(|topic| topic.topic_id), topic),
                });
            }
        }
    }
    response
}

/// The topic by the name and id it has now; without a name if the id is nobody's.
fn want(shard: &Shard, version: i16, asked: &OffsetFetchRequestTopics) -> WantedTopic {
    let topic = match version {
        IDS_SINCE.. => shard.node.topic_by_id(asked.topic_id),
        _ => shard.node.topic(&asked.name),
    };
    WantedTopic {
        name: match &topic {
            Some(topic) => topic.name.clone().into(),
            None => asked.name.clone(),
        },
        id: topic.map_or_else(Uuid::nil, |topic| topic.id),
        partitions: asked.partition_indexes.clone(),
    }
}

fn failed(asked: &OffsetFetchRequestTopics, code: ErrorCode) -> OffsetFetchResponseTopics {
    let partition = |&partition_index: &i32| OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        error_code: code.code(),
        ..OffsetFetchResponsePartitions::default()
    };
    OffsetFetchResponseTopics {
        name: asked.name.clone(),
        topic_id: asked.topic_id,
        partitions: asked.partition_indexes.iter().map(partition).collect(),
        ..OffsetFetchResponseTopics::default()
    }
}

/// A topic in the answer. One that is gone has no id to be shown under.
fn shown(
    shard: &Shard,
    version: i16,
    asked_id: Option<Uuid>,
    topic: FetchedTopic,
) -> Option<OffsetFetchResponseTopics> {
    let topic_id = match (version, asked_id) {
        (..IDS_SINCE, _) => Uuid::nil(),
        (_, Some(id)) => id,
        (_, None) => shard.node.topic(&topic.name)?.id,
    };
    Some(OffsetFetchResponseTopics {
        name: topic.name,
        topic_id,
        partitions: topic.partitions.iter().map(partition).collect(),
        ..OffsetFetchResponseTopics::default()
    })
}

fn partition(fetched: &FetchedOffset) -> OffsetFetchResponsePartitions {
    let offset = fetched.offset.as_ref();
    OffsetFetchResponsePartitions {
        partition_index: fetched.partition,
        committed_offset: offset.map_or(-1, |offset| offset.offset),
        committed_leader_epoch: offset.map_or(-1, |offset| offset.leader_epoch),
        metadata: Some(offset.map_or(KafkaStr::default(), |offset| offset.metadata.clone())),
        ..OffsetFetchResponsePartitions::default()
    }
}

fn in_old_form(version: i16, group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let partition = |it: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: it.partition_index,
        committed_offset: it.committed_offset,
        committed_leader_epoch: it.committed_leader_epoch,
        metadata: it.metadata,
        error_code: it.error_code,
        ..OffsetFetchResponsePartition::default()
    };
    let topic = |it: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: it.name,
        partitions: it.partitions.into_iter().map(partition).collect(),
        ..OffsetFetchResponseTopic::default()
    };
    OffsetFetchResponse {
        topics: group.topics.into_iter().map(topic).collect(),
        error_code: if version < GROUP_ERROR_SINCE { 0 } else { group.error_code },
        ..OffsetFetchResponse::default()
    }
}
