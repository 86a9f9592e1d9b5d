//! DeleteRecords (key 21), versions 0–2: moves the log start up; −1 means to the high watermark.
//! An offset above it is OFFSET_OUT_OF_RANGE (KIP-107). Internal topics are not a client's to
//! empty: INVALID_TOPIC_EXCEPTION.

use std::rc::Rc;

use thalweg_protocol::ErrorCode;
use thalweg_protocol::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};

use super::scatter::{locate, scatter};
use super::topic_name;
use crate::server::connection::Connection;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut questions = Vec::new();
    for topic in &request.topics {
        let known = connection.shard.node.topic(&topic.name);
        let is_internal = topic_name::is_internal(&topic.name);
        questions.extend(topic.partitions.iter().map(|asked| match is_internal {
            true => Err(ErrorCode::InvalidTopicException),
            false => locate(known.as_ref(), asked.partition_index, asked.offset),
        }));
    }
    let starts =
        scatter(&connection.shard, questions, |partition, offset| partition.delete_records(offset));
    let mut starts = starts.await.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(&mut starts).map(|(asked, start)| {
            DeleteRecordsPartitionResult {
                partition_index: asked.partition_index,
                low_watermark: start.unwrap_or(-1),
                error_code: start.err().map_or(0, |code| code.code()),
                ..DeleteRecordsPartitionResult::default()
            }
        });
        DeleteRecordsTopicResult {
            partitions: partitions.collect(),
            name: topic.name,
            ..DeleteRecordsTopicResult::default()
        }
    });
    DeleteRecordsResponse { topics: topics.collect(), ..DeleteRecordsResponse::default() }
}
