//! ListOffsets (key 2), versions 1–11.
//!
//! Timestamps below zero are questions: −1 latest, −2 earliest, −3 the largest timestamp, −4
//! earliest local, −5 latest tiered. Nothing found is offset −1 without an error.

use std::rc::Rc;

use thalweg_protocol::ErrorCode;
use thalweg_protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use super::scatter::{locate, scatter};
use crate::partition::OffsetQuery;
use crate::server::connection::Connection;

/// The first version that answers with leader epochs.
const EPOCHS_SINCE: i16 = 4;

pub(super) async fn handle(
    connection: Rc<Connection>,
    version: i16,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let node = &connection.shard.node;
    let mut questions = Vec::new();
    for topic in &request.topics {
        let known = node.topic(&topic.name);
        questions.extend(topic.partitions.iter().map(|asked| {
            let query = query(asked.timestamp).ok_or(ErrorCode::InvalidRequest)?;
            let question = (query, asked.current_leader_epoch);
            locate(known.as_ref(), asked.partition_index, question)
        }));
    }
    let found = scatter(&connection.shard, questions, |partition, (query, epoch)| {
        partition.find_offset(query, epoch)
    });
    let mut found = found.await.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(&mut found).map(|(asked, found)| {
            let partition_index = asked.partition_index;
            match found {
                Ok(found) => ListOffsetsPartitionResponse {
                    partition_index,
                    timestamp: found.timestamp,
                    offset: found.offset,
                    leader_epoch: if version >= EPOCHS_SINCE { found.leader_epoch } else { -1 },
                    ..ListOffsetsPartitionResponse::default()
                },
                Err(code) => ListOffsetsPartitionResponse {
                    partition_index,
                    error_code: code.code(),
                    ..ListOffsetsPartitionResponse::default()
                },
            }
        });
        ListOffsetsTopicResponse {
            partitions: partitions.collect(),
            name: topic.name,
            ..ListOffsetsTopicResponse::default()
        }
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
}

fn query(timestamp: i64) -> Option<OffsetQuery> {
    match timestamp {
        -1 => Some(OffsetQuery::Latest),
        -2 | -4 => Some(OffsetQuery::Earliest),
        -3 => Some(OffsetQuery::MaxTimestamp),
        -5 => Some(OffsetQuery::LatestTiered),
        0.. => Some(OffsetQuery::Timestamp(timestamp)),
        _ => None,
    }
}
