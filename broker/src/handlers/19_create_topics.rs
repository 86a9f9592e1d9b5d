//! CreateTopics (key 19), versions 2–7. −1 partitions or replicas mean the defaults;
//! `validate_only` checks everything and creates nothing.

use std::rc::Rc;
use std::time::Duration;

use thalweg_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::topic_creation::{
    PlannedTopic, Refusal, WantedTopic, create, plan_here, wait_until_led,
};
use crate::server::connection::Connection;
use crate::shard::Shard;
use crate::topic_config::describe_topic;

/// No request waits longer than this for its partitions to lead, whatever its timeout says.
const PATIENCE_MAX: Duration = Duration::from_secs(30);

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let shard = &connection.shard;
    let twice = names_twice(&request.topics);
    let mut created = Vec::new();
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let name = topic.name.clone();
        let planned = if twice.contains(&name) {
            let message = format!("topic '{name}' is named more than once");
            Err(Refusal::new(ErrorCode::InvalidRequest, message))
        } else {
            plan_here(shard, wanted(topic)).await
        };
        let result = match planned {
            Ok(planned) if request.validate_only => Ok(planned),
            Ok(planned) => create(shard, planned.clone()).await.map(|()| planned),
            Err(refusal) => Err(refusal),
        };
        results.push(match result {
            Ok(planned) => {
                if !request.validate_only {
                    created.push((planned.id, planned.partitions.len()));
                }
                success(shard, planned, request.validate_only)
            }
            Err(refusal) => CreatableTopicResult {
                name,
                error_code: refusal.code.code(),
                error_message: Some(refusal.message.into()),
                ..CreatableTopicResult::default()
            },
        });
    }
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    for (id, partitions) in created {
        wait_until_led(shard, id, partitions, patience.min(PATIENCE_MAX)).await;
    }
    CreateTopicsResponse { topics: results, ..CreateTopicsResponse::default() }
}

fn names_twice(topics: &[CreatableTopic]) -> Vec<KafkaStr> {
    let mut names: Vec<_> = topics.iter().map(|topic| topic.name.clone()).collect();
    names.sort();
    names.chunk_by(|a, b| a == b).filter(|same| same.len() > 1).flatten().cloned().collect()
}

fn wanted(topic: CreatableTopic) -> WantedTopic {
    WantedTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .into_iter()
            .map(|assignment| (assignment.partition_index, assignment.broker_ids))
            .collect(),
        configs: topic
            .configs
            .into_iter()
            .map(|config| (config.name.to_string(), config.value.map(|value| value.to_string())))
            .collect(),
    }
}

fn success(shard: &Shard, planned: PlannedTopic, validate_only: bool) -> CreatableTopicResult {
    let configs =
        describe_topic(&shard.node.config(), &planned.configs).into_iter().map(|config| {
            CreatableTopicConfigs {
                name: config.name.into(),
                value: config.value.map(KafkaStr::from),
                read_only: config.read_only,
                config_source: config.source.code(),
                is_sensitive: false,
                ..CreatableTopicConfigs::default()
            }
        });
    let copies = planned.partitions.first().map_or(0, |partition| partition.replicas.len());
    CreatableTopicResult {
        configs: Some(configs.collect()),
        num_partitions: i32::try_from(planned.partitions.len()).unwrap_or(-1),
        replication_factor: i16::try_from(copies).unwrap_or(-1),
        topic_id: if validate_only { uuid::Uuid::nil() } else { planned.id },
        name: planned.name.into(),
        error_message: None,
        ..CreatableTopicResult::default()
    }
}
