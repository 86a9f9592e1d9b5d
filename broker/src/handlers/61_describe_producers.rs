//! DescribeProducers (key 61), version 0: the idempotent producers a partition remembers (KIP-664).

use std::rc::Rc;

use thalweg_protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicResponse,
};

use super::scatter::{locate, scatter};
use crate::server::connection::Connection;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut questions = Vec::new();
    for topic in &request.topics {
        let known = connection.shard.node.topic(&topic.name);
        questions
            .extend(topic.partition_indexes.iter().map(|index| locate(known.as_ref(), *index, ())));
    }
    let producers = scatter(&connection.shard, questions, |partition, ()| {
        std::future::ready(partition.producers())
    });
    let mut producers = producers.await.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions =
            topic.partition_indexes.iter().zip(&mut producers).map(|(index, known)| {
                let mut response =
                    PartitionResponse { partition_index: *index, ..PartitionResponse::default() };
                match known {
                    Ok(known) => {
                        response.active_producers = known
                            .into_iter()
                            .map(|(producer_id, state)| ProducerState {
                                producer_id,
                                producer_epoch: i32::from(state.epoch),
                                last_sequence: state.last_sequence(),
                                last_timestamp: state.last_timestamp(),
                                coordinator_epoch: -1,
                                ..ProducerState::default()
                            })
                            .collect();
                    }
                    Err(code) => response.error_code = code.code(),
                }
                response
            });
        TopicResponse {
            partitions: partitions.collect(),
            name: topic.name,
            ..TopicResponse::default()
        }
    });
    DescribeProducersResponse { topics: topics.collect(), ..DescribeProducersResponse::default() }
}
