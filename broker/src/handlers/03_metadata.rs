//! Metadata (key 3), versions 0–13.
//!
//! Version 0: an empty list means all topics; from 1 null means all and empty none. A topic that is
//! missing and may be auto-created is created here; if its partitions lead within a moment they are
//! shown, otherwise the answer is LEADER_NOT_AVAILABLE and the client asks again.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use thalweg_protocol::{ErrorCode, KafkaStr};
use uuid::Uuid;

use super::topic_creation::{WantedTopic, create, plan_here, wait_until_led};
use super::topic_name;
use crate::controller::image::{Broker, Image, Topic};
use crate::controller::leaders::Leader;
use crate::node::Node;
use crate::server::connection::Connection;
use crate::shard::Shard;

/// The first version in which a topic known by id only has no name.
const NULL_NAMES_SINCE: i16 = 12;
/// How long an auto-created topic may take to be shown in the first answer.
const CREATION_PATIENCE: Duration = Duration::from_millis(250);
/// Without an authorizer everyone may do everything (KIP-430): read 3, write 4, create 5,
/// delete 6, alter 7, describe 8, describe configs 10, alter configs 11.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// Create 5, alter 7, describe 8, cluster action 9, configs 10 and 11, idempotent write 12.
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

pub(super) async fn handle(
    connection: Rc<Connection>,
    version: i16,
    request: MetadataRequest,
) -> MetadataResponse {
    let shard = &connection.shard;
    let node = &shard.node;
    let operations = request.include_topic_authorized_operations;
    let topics = match request.topics {
        Some(topics) if version > 0 || !topics.is_empty() => {
            let mut answers = Vec::with_capacity(topics.len());
            for asked in topics {
                answers
                    .push(answer(shard, asked, version, request.allow_auto_topic_creation).await);
            }
            answers
        }
        _ => node.images.load().topics.values().map(|topic| describe(node, topic)).collect(),
    };
    let image = node.images.load();
    let allowed = |mut topic: MetadataResponseTopic| {
        if operations && topic.error_code == 0 {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
        topic
    };
    MetadataResponse {
        brokers: brokers(&image),
        cluster_id: Some(KafkaStr::copied_from(&node.cluster_id)),
        controller_id: node.id,
        topics: topics.into_iter().map(allowed).collect(),
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => i32::MIN,
        },
        ..MetadataResponse::default()
    }
}

fn brokers(image: &Image) -> Vec<MetadataResponseBroker> {
    let broker = |(id, broker): (i32, &Broker)| MetadataResponseBroker {
        node_id: id,
        host: KafkaStr::copied_from(&broker.host),
        port: i32::from(broker.port),
        rack: broker.rack.as_deref().map(KafkaStr::copied_from),
        ..MetadataResponseBroker::default()
    };
    image.live_brokers().map(broker).collect()
}

async fn answer(
    shard: &Rc<Shard>,
    asked: MetadataRequestTopic,
    version: i16,
    may_create: bool,
) -> MetadataResponseTopic {
    let node = &shard.node;
    if !asked.topic_id.is_nil() {
        return match node.topic_by_id(asked.topic_id) {
            Some(topic) => describe(node, &topic),
            None => MetadataResponseTopic {
                error_code: ErrorCode::UnknownTopicId.code(),
                name: (version < NULL_NAMES_SINCE).then(KafkaStr::default),
                topic_id: asked.topic_id,
                ..MetadataResponseTopic::default()
            },
        };
    }
    let name = asked.name.unwrap_or_default();
    let refused = |code: ErrorCode| MetadataResponseTopic {
        error_code: code.code(),
        name: Some(name.clone()),
        is_internal: topic_name::is_internal(&name),
        ..MetadataResponseTopic::default()
    };
    if let Some(topic) = node.topic(&name) {
        return describe(node, &topic);
    }
    if topic_name::check(&name).is_err() {
        return refused(ErrorCode::InvalidTopicException);
    }
    let may_be_made =
        *name != *topic_name::TRANSACTION_STATE && node.config().kafka.auto_create_topics;
    if !may_create || !may_be_made {
        return refused(ErrorCode::UnknownTopicOrPartition);
    }
    match auto_create(shard, &name).await {
        Ok(topic) => describe(node, &topic),
        Err(code) => refused(code),
    }
}

async fn auto_create(shard: &Rc<Shard>, name: &str) -> Result<Arc<Topic>, ErrorCode> {
    let wanted = WantedTopic {
        name: name.to_owned(),
        partitions: -1,
        replication_factor: -1,
        ..WantedTopic::default()
    };
    let planned = plan_here(shard, wanted).await.map_err(|refusal| refusal.code)?;
    let (id, partitions) = (planned.id, planned.partitions.len());
    match create(shard, planned).await {
        Ok(()) => wait_until_led(shard, id, partitions, CREATION_PATIENCE).await,
        // Another client was faster.
        Err(refusal) if refusal.code == ErrorCode::TopicAlreadyExists => {}
        Err(refusal) => return Err(refusal.code),
    }
    shard.node.topic(name).ok_or(ErrorCode::LeaderNotAvailable)
}

/// A partition's leader, unless clients cannot reach it: a fenced broker is not listed, and some
/// other replica is about to lead.
pub(super) fn live_leader(
    node: &Node,
    image: &Image,
    topic: Uuid,
    partition: i32,
) -> Option<Leader> {
    node.leaders.get(topic, partition).filter(|leader| !image.is_fenced(leader.node))
}

fn describe(node: &Node, topic: &Arc<Topic>) -> MetadataResponseTopic {
    let image = node.images.load();
    let partitions = (0..).zip(&topic.partitions).map(|(index, assignment)| {
        let leader = live_leader(node, &image, topic.id, index);
        MetadataResponsePartition {
            error_code: leader.map_or(ErrorCode::LeaderNotAvailable, |_| ErrorCode::None).code(),
            partition_index: index,
            leader_id: leader.map_or(-1, |leader| leader.node),
            leader_epoch: leader.map_or(-1, |leader| leader.epoch),
            replica_nodes: assignment.members(),
            isr_nodes: image.isr(assignment, &node.leaders.lagging(topic.id, index)),
            offline_replicas: image.offline_replicas(assignment),
            ..MetadataResponsePartition::default()
        }
    });
    MetadataResponseTopic {
        name: Some(KafkaStr::copied_from(&topic.name)),
        topic_id: topic.id,
        is_internal: topic_name::is_internal(&topic.name),
        partitions: partitions.collect(),
        ..MetadataResponseTopic::default()
    }
}
