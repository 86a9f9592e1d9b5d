//! DescribeTopicPartitions (key 75), version 0: topics in the order of their names, at most so many
//! partitions at a time, and a cursor to go on from (KIP-966).

use std::collections::BTreeSet;
use std::rc::Rc;

use thalweg_protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::metadata::live_leader;
use super::topic_name;
use crate::controller::image::{Image, Topic};
use crate::node::Node;
use crate::server::connection::Connection;

/// Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: i32 = 2000;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let node = &connection.shard.node;
    let image = node.images.load();
    let names: BTreeSet<String> = if request.topics.is_empty() {
        image.topics.keys().cloned().collect()
    } else {
        request.topics.iter().map(|topic| topic.name.to_string()).collect()
    };
    let limit = request.response_partition_limit.clamp(1, PARTITIONS_MAX);
    let mut left = usize::try_from(limit).unwrap_or(1);
    let (start_topic, start_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.to_string(), cursor.partition_index.max(0)),
        None => (String::new(), 0),
    };
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.range(start_topic.clone()..) {
        let first = if *name == start_topic { start_partition } else { 0 };
        if left == 0 {
            response.next_cursor = Some(cursor(name, 0));
            break;
        }
        let Some(topic) = image.topic(name) else {
            response.topics.push(missing(name));
            continue;
        };
        let described = partitions(node, &image, topic, first, left);
        left -= described.len();
        let next = first + i32::try_from(described.len()).unwrap_or(i32::MAX);
        response.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(KafkaStr::copied_from(name)),
            topic_id: topic.id,
            is_internal: topic_name::is_internal(name),
            partitions: described,
            ..DescribeTopicPartitionsResponseTopic::default()
        });
        if next < topic.partition_count() {
            response.next_cursor = Some(cursor(name, next));
            break;
        }
    }
    response
}

fn cursor(topic: &str, partition_index: i32) -> Cursor {
    Cursor { topic_name: KafkaStr::copied_from(topic), partition_index, ..Cursor::default() }
}

fn missing(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let code = match topic_name::check(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_invalid) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: code.code(),
        name: Some(KafkaStr::copied_from(name)),
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn partitions(
    node: &Node,
    image: &Image,
    topic: &Topic,
    first: i32,
    most: usize,
) -> Vec<DescribeTopicPartitionsResponsePartition> {
    let skip = usize::try_from(first).unwrap_or(0);
    let shown = (0..).zip(&topic.partitions).skip(skip).take(most);
    shown
        .map(|(partition_index, assignment)| {
            let leader = live_leader(node, image, topic.id, partition_index);
            let code = leader.map_or(ErrorCode::LeaderNotAvailable, |_| ErrorCode::None);
            DescribeTopicPartitionsResponsePartition {
                error_code: code.code(),
                partition_index,
                leader_id: leader.map_or(-1, |leader| leader.node),
                leader_epoch: leader.map_or(-1, |leader| leader.epoch),
                replica_nodes: assignment.members(),
                isr_nodes: image.isr(assignment, &node.leaders.lagging(topic.id, partition_index)),
                offline_replicas: image.offline_replicas(assignment),
                eligible_leader_replicas: Some(Vec::new()),
                last_known_elr: Some(Vec::new()),
                ..DescribeTopicPartitionsResponsePartition::default()
            }
        })
        .collect()
}
