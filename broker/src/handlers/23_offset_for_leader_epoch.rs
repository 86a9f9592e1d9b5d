//! OffsetForLeaderEpoch (key 23), versions 2–4: where an epoch ended, so that a client notices that
//! the log it read was cut (KIP-320). An epoch newer than any is answered with −1 twice.

use std::rc::Rc;

use thalweg_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
};

use super::scatter::{locate, scatter};
use crate::server::connection::Connection;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut questions = Vec::new();
    for topic in &request.topics {
        let known = connection.shard.node.topic(&topic.topic);
        questions.extend(topic.partitions.iter().map(|asked| {
            let question = (asked.leader_epoch, asked.current_leader_epoch);
            locate(known.as_ref(), asked.partition, question)
        }));
    }
    let ends = scatter(&connection.shard, questions, |partition, (epoch, current)| {
        std::future::ready(partition.epoch_end(epoch, current))
    });
    let mut ends = ends.await.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(&mut ends).map(|(asked, end)| match end {
            Ok((leader_epoch, end_offset)) => EpochEndOffset {
                partition: asked.partition,
                leader_epoch,
                end_offset,
                ..EpochEndOffset::default()
            },
            Err(code) => EpochEndOffset {
                partition: asked.partition,
                error_code: code.code(),
                ..EpochEndOffset::default()
            },
        });
        OffsetForLeaderTopicResult {
            partitions: partitions.collect(),
            topic: topic.topic,
            ..OffsetForLeaderTopicResult::default()
        }
    });
    OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..OffsetForLeaderEpochResponse::default()
    }
}
