//! DescribeQuorum (key 55), versions 0–2: who has the cluster's metadata and how far each has come
//! (KIP-595). There is one quorum: partition 0 of `__cluster_metadata`. Offsets are indexes of
//! group 0's log. Only the active controller knows how far the others are; elsewhere that is −1.

use std::rc::Rc;

use thalweg_protocol::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState,
    TopicData,
};
use thalweg_protocol::{ErrorCode, KafkaStr};
use uuid::Uuid;

use crate::controller::Quorum;
use crate::controller::image::Image;
use crate::server::connection::Connection;
use crate::shard::Shard;
use crate::shard::router::ShardId;

const METADATA_TOPIC: &str = "__cluster_metadata";

pub(super) async fn handle(
    connection: Rc<Connection>,
    version: i16,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let shard = &connection.shard;
    let quorum = shard.node.router.run(shard, ShardId(0), |shard| {
        let quorum = shard.controller().quorum();
        std::future::ready(quorum)
    });
    let Ok(quorum) = quorum.await else {
        return DescribeQuorumResponse {
            error_code: ErrorCode::BrokerNotAvailable.code(),
            ..DescribeQuorumResponse::default()
        };
    };
    let image = shard.node.images.load();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            let index = partition.partition_index;
            match (&*topic.topic_name, index) {
                (METADATA_TOPIC, 0) => describe(shard, &quorum, &image, version),
                _ => PartitionData {
                    partition_index: index,
                    error_code: ErrorCode::UnknownTopicOrPartition.code(),
                    error_message: None,
                    leader_id: -1,
                    ..PartitionData::default()
                },
            }
        });
        let partitions = partitions.collect();
        TopicData { topic_name: topic.topic_name, partitions, ..TopicData::default() }
    });
    DescribeQuorumResponse {
        error_message: None,
        topics: topics.collect(),
        nodes: if version >= 2 { nodes(&quorum, &image) } else { Vec::new() },
        ..DescribeQuorumResponse::default()
    }
}

fn describe(shard: &Shard, quorum: &Quorum, image: &Image, version: i16) -> PartitionData {
    let replica = |node: &i32| {
        let seen = quorum.others.iter().find(|other| other.node == *node);
        let end = if *node == shard.node.id { Some(quorum.last_index) } else { None };
        let end = end.or(seen.map(|seen| seen.matched));
        // Older versions know nothing of directories, or of where the controllers are.
        let broker = image.brokers.get(node).filter(|_| version >= 2);
        let disk = broker.and_then(|broker| broker.disk);
        ReplicaState {
            replica_id: *node,
            replica_directory_id: disk.unwrap_or(Uuid::nil()),
            log_end_offset: end.and_then(|end| i64::try_from(end).ok()).unwrap_or(-1),
            ..ReplicaState::default()
        }
    };
    PartitionData {
        partition_index: 0,
        error_message: None,
        leader_id: quorum.leader.unwrap_or(-1),
        leader_epoch: i32::try_from(quorum.term).unwrap_or(i32::MAX),
        high_watermark: i64::try_from(quorum.applied).unwrap_or(i64::MAX),
        current_voters: quorum.members.voters.iter().map(replica).collect(),
        observers: quorum.members.learners.iter().map(replica).collect(),
        ..PartitionData::default()
    }
}

fn nodes(quorum: &Quorum, image: &Image) -> Vec<Node> {
    let voters = quorum.members.voters.iter();
    let reached = voters.filter_map(|node| {
        let address = image.brokers.get(node)?.node_address.as_ref()?;
        let (host, port) = address.rsplit_once(':')?;
        let listener = Listener {
            name: KafkaStr::copied_from("NODE"),
            host: KafkaStr::copied_from(host.trim_matches(['[', ']'])),
            port: port.parse().ok()?,
            ..Listener::default()
        };
        Some(Node { node_id: *node, listeners: vec![listener], ..Node::default() })
    });
    reached.collect()
}
