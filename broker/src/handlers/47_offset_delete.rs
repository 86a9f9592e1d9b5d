//! OffsetDelete (key 47), version 0: forgets offsets in topics that the group does not read
//! (KIP-496); in the others GROUP_SUBSCRIBED_TO_TOPIC.

use std::rc::Rc;

use thalweg_protocol::messages::offset_delete::{
    OffsetDeleteRequestTopic, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use thalweg_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::offsets_topic::{check_group_id, with_coordinator};
use crate::server::connection::Connection;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let node = &connection.shard.node;
    let (mut known, mut codes) = (Vec::<(KafkaStr, i32)>::new(), Vec::new());
    for topic in &request.topics {
        let exists = node.topic(&topic.name);
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let is_known = exists.as_ref().is_some_and(|it| it.partition(index).is_some());
            codes.push(match is_known {
                true => ErrorCode::None,
                false => ErrorCode::UnknownTopicOrPartition,
            });
            known.extend(is_known.then(|| (topic.name.clone(), index)));
        }
    }
    let outcomes = match check_group_id(&request.group_id) {
        Err(code) => Err(code),
        Ok(()) => {
            with_coordinator(&connection.shard, &request.group_id, |coordinator, id| async move {
                let delete =
                    coordinator.run(&id, |groups, turn| groups.delete_offsets(&id, &known, turn));
                delete.await?
            })
            .await
        }
    };
    match outcomes {
        Ok(outcomes) => {
            let mut outcomes = outcomes.into_iter();
            for code in codes.iter_mut().filter(|code| code.is_none()) {
                *code = outcomes.next().unwrap_or(ErrorCode::UnknownServerError);
            }
            respond(request.topics, &codes)
        }
        Err(code) => {
            OffsetDeleteResponse { error_code: code.code(), ..OffsetDeleteResponse::default() }
        }
    }
}

fn respond(topics: Vec<OffsetDeleteRequestTopic>, codes: &[ErrorCode]) -> OffsetDeleteResponse {
    let mut codes = codes.iter();
    let topics = topics.into_iter().map(|topic| OffsetDeleteResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetDeleteResponsePartition {
                partition_index: partition.partition_index,
                error_code: codes.next().map_or(0, |code| code.code()),
                ..OffsetDeleteResponsePartition::default()
            })
            .collect(),
        ..OffsetDeleteResponseTopic::default()
    });
    OffsetDeleteResponse { topics: topics.collect(), ..OffsetDeleteResponse::default() }
}
