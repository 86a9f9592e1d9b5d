//! Creating, deleting, listing, describing and enlarging topics.
//!
//! Changes go to the controller, questions to any broker. Outcomes come in the order of the
//! question, whatever the order of the answer.

use std::collections::HashMap;
use std::sync::Arc;

use thalweg_protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use thalweg_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use thalweg_protocol::messages::delete_topics::DeleteTopicState;
use thalweg_protocol::messages::metadata::{
    MetadataRequestTopic, MetadataResponsePartition, MetadataResponseTopic,
};
use thalweg_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
};
use thalweg_protocol::{ErrorCode, KafkaStr, NodeId};
use uuid::Uuid;

use super::{Admin, AdminError, ItemError};
use crate::cluster::Target;

/// A topic to create.
#[derive(Debug, Clone)]
#[must_use = "nothing is created until it is passed to create_topics"]
pub struct NewTopic {
    name: String,
    placement: Placement,
    configs: Vec<(String, Option<String>)>,
}

/// How many partitions and replicas a topic is to have, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// As many as said, or as the cluster has by default, where the cluster sees fit.
    Chosen {
        /// Partitions.
        partitions: Option<i32>,
        /// Replicas of each.
        replication_factor: Option<i16>,
    },
    /// The brokers of each partition, the preferred leader first.
    Assigned(Vec<Vec<NodeId>>),
}

impl NewTopic {
    /// A topic with the cluster's default numbers of partitions and replicas.
    pub fn named(name: impl Into<String>) -> Self {
        let placement = Placement::Chosen { partitions: None, replication_factor: None };
        NewTopic { name: name.into(), placement, configs: Vec::new() }
    }

    /// How many partitions it has.
    pub fn partitions(mut self, count: i32) -> Self {
        let replication_factor = match self.placement {
            Placement::Chosen { replication_factor, .. } => replication_factor,
            Placement::Assigned(_) => None,
        };
        self.placement = Placement::Chosen { partitions: Some(count), replication_factor };
        self
    }

    /// How many replicas each partition has.
    pub fn replication_factor(mut self, factor: i16) -> Self {
        let partitions = match self.placement {
            Placement::Chosen { partitions, .. } => partitions,
            Placement::Assigned(_) => None,
        };
        self.placement = Placement::Chosen { partitions, replication_factor: Some(factor) };
        self
    }

    /// The brokers of each partition, the preferred leader first, instead of mere numbers.
    pub fn assignment(mut self, brokers: Vec<Vec<NodeId>>) -> Self {
        self.placement = Placement::Assigned(brokers);
        self
    }

    /// Sets one of its configs.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((name.into(), Some(value.into())));
        self
    }

    fn on_the_wire(&self) -> CreatableTopic {
        let (num_partitions, replication_factor) = match &self.placement {
            Placement::Chosen { partitions, replication_factor } => {
                (partitions.unwrap_or(-1), replication_factor.unwrap_or(-1))
            }
            Placement::Assigned(_) => (-1, -1),
        };
        let assignments = match &self.placement {
            Placement::Chosen { .. } => Vec::new(),
            Placement::Assigned(brokers) => (0..).zip(brokers).map(assignment).collect(),
        };
        let configs = self.configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: KafkaStr::copied_from(name),
            value: value.as_deref().map(KafkaStr::copied_from),
            ..CreatableTopicConfig::default()
        });
        CreatableTopic {
            name: KafkaStr::copied_from(&self.name),
            num_partitions,
            replication_factor,
            assignments,
            configs: configs.collect(),
            ..CreatableTopic::default()
        }
    }
}

fn assignment((partition_index, brokers): (i32, &Vec<NodeId>)) -> CreatableReplicaAssignment {
    CreatableReplicaAssignment {
        partition_index,
        broker_ids: ids(brokers),
        ..CreatableReplicaAssignment::default()
    }
}

fn ids(brokers: &[NodeId]) -> Vec<i32> {
    brokers.iter().map(|broker| broker.get()).collect()
}

/// A topic that was created, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id, if the broker tells.
    pub id: Option<Uuid>,
    /// How many partitions it has, if the broker tells.
    pub partitions: Option<i32>,
    /// How many replicas each partition has, if the broker tells.
    pub replication_factor: Option<i16>,
}

/// A topic to be given more partitions.
#[derive(Debug, Clone)]
pub struct NewPartitions {
    /// The topic.
    pub topic: String,
    /// How many partitions it is to have in all.
    pub count: i32,
    /// The brokers of each new partition, the preferred leader first; none to let the cluster
    /// choose.
    pub assignment: Option<Vec<Vec<NodeId>>>,
}

/// A topic's name and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicListing {
    /// Its name.
    pub name: Arc<str>,
    /// Its id, if the broker tells.
    pub id: Option<Uuid>,
    /// Whether it belongs to the cluster itself.
    pub is_internal: bool,
}

/// A topic and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: Arc<str>,
    /// Its id, if the broker tells.
    pub id: Option<Uuid>,
    /// Whether it belongs to the cluster itself.
    pub is_internal: bool,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its index in the topic.
    pub index: i32,
    /// The broker that leads it, if any does.
    pub leader: Option<NodeId>,
    /// Since when, if the broker tells.
    pub leader_epoch: Option<i32>,
    /// The brokers that are to have it, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those of them that have all of it.
    pub in_sync: Vec<NodeId>,
    /// Those of them that are down.
    pub offline: Vec<NodeId>,
    /// What is wrong with it now, if anything.
    pub error: Option<ErrorCode>,
}

impl Admin {
    /// Creates topics. With `validate_only`, only says what would come of it.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Vec<Result<CreatedTopic, ItemError>>, AdminError> {
        let build = |_| CreateTopicsRequest {
            topics: topics.iter().map(NewTopic::on_the_wire).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
            ..CreateTopicsRequest::default()
        };
        let response = self.call(Target::Controller, build).await?;
        let mut outcomes: HashMap<String, _> = HashMap::new();
        for result in response.topics {
            let message = result.error_message.as_ref();
            let outcome = ItemError::check(&result.name, result.error_code, message);
            let outcome = outcome.map(|()| CreatedTopic {
                name: result.name.as_str().into(),
                id: known_id(result.topic_id),
                partitions: (result.num_partitions >= 0).then_some(result.num_partitions),
                replication_factor: (result.replication_factor >= 0)
                    .then_some(result.replication_factor),
            });
            outcomes.insert(result.name.to_string(), outcome);
        }
        Ok(in_order(topics.iter().map(|topic| topic.name.as_str()), outcomes))
    }

    /// Deletes topics by name, with all their records.
    pub async fn delete_topics(
        &self,
        names: &[impl AsRef<str>],
    ) -> Result<Vec<Result<(), ItemError>>, AdminError> {
        let text = || names.iter().map(|name| KafkaStr::copied_from(name.as_ref()));
        let build = |version| {
            let timeout_ms = self.timeout_ms();
            // From version 6 on a topic can be named by its id too, and has a struct of its own.
            if version >= 6 {
                let by_name =
                    |name| DeleteTopicState { name: Some(name), ..DeleteTopicState::default() };
                let topics = text().map(by_name).collect();
                DeleteTopicsRequest { topics, timeout_ms, ..DeleteTopicsRequest::default() }
            } else {
                let topic_names = text().collect();
                DeleteTopicsRequest { topic_names, timeout_ms, ..DeleteTopicsRequest::default() }
            }
        };
        let response = self.call(Target::Controller, build).await?;
        let mut outcomes = HashMap::new();
        for result in response.responses {
            let name = result.name.unwrap_or_default();
            let outcome = ItemError::check(&name, result.error_code, result.error_message.as_ref());
            outcomes.insert(name.to_string(), outcome);
        }
        Ok(in_order(names.iter().map(AsRef::as_ref), outcomes))
    }

    /// Gives topics more partitions. Keys go to other partitions from then on.
    pub async fn create_partitions(
        &self,
        topics: &[NewPartitions],
        validate_only: bool,
    ) -> Result<Vec<Result<(), ItemError>>, AdminError> {
        let assignment = |brokers: &Vec<NodeId>| CreatePartitionsAssignment {
            broker_ids: ids(brokers),
            ..CreatePartitionsAssignment::default()
        };
        let topic = |new: &NewPartitions| CreatePartitionsTopic {
            name: KafkaStr::copied_from(&new.topic),
            count: new.count,
            assignments: new.assignment.as_ref().map(|all| all.iter().map(assignment).collect()),
            ..CreatePartitionsTopic::default()
        };
        let build = |_| CreatePartitionsRequest {
            topics: topics.iter().map(topic).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
            ..CreatePartitionsRequest::default()
        };
        let response = self.call(Target::Controller, build).await?;
        let mut outcomes = HashMap::new();
        for result in response.results {
            let message = result.error_message.as_ref();
            let outcome = ItemError::check(&result.name, result.error_code, message);
            outcomes.insert(result.name.to_string(), outcome);
        }
        Ok(in_order(topics.iter().map(|topic| topic.topic.as_str()), outcomes))
    }

    /// All topics that the client may see, by name.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>, AdminError> {
        let topics = self.metadata(None).await?;
        let mut listings: Vec<TopicListing> = topics
            .into_iter()
            .filter_map(|topic| {
                Some(TopicListing {
                    name: topic.name?.as_str().into(),
                    id: known_id(topic.topic_id),
                    is_internal: topic.is_internal,
                })
            })
            .collect();
        listings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listings)
    }

    /// Topics and their partitions, in the order asked for.
    pub async fn describe_topics(
        &self,
        names: &[impl AsRef<str>],
    ) -> Result<Vec<Result<TopicDescription, ItemError>>, AdminError> {
        let wanted = names.iter().map(|name| KafkaStr::copied_from(name.as_ref())).collect();
        let mut outcomes = HashMap::new();
        for topic in self.metadata(Some(wanted)).await? {
            let name = topic.name.clone().unwrap_or_default();
            let outcome = ItemError::check(&name, topic.error_code, None);
            outcomes.insert(name.to_string(), outcome.map(|()| description(&name, topic)));
        }
        Ok(in_order(names.iter().map(AsRef::as_ref), outcomes))
    }

    async fn metadata(
        &self,
        names: Option<Vec<KafkaStr>>,
    ) -> Result<Vec<MetadataResponseTopic>, AdminError> {
        let by_name = |name: &KafkaStr| MetadataRequestTopic {
            name: Some(name.clone()),
            ..MetadataRequestTopic::default()
        };
        let build = |version| MetadataRequest {
            topics: names.as_ref().map(|names| names.iter().map(by_name).collect()),
            // Versions before 4 cannot say that nothing is to be created.
            allow_auto_topic_creation: version < 4,
            ..MetadataRequest::default()
        };
        // Version 0 has no way to ask for all topics by null.
        Ok(self.cluster.call(Target::AnyBroker, 1..=13, build).await?.topics)
    }
}

fn known_id(id: Uuid) -> Option<Uuid> {
    (!id.is_nil()).then_some(id)
}

fn description(name: &str, topic: MetadataResponseTopic) -> TopicDescription {
    let mut partitions: Vec<PartitionDescription> =
        topic.partitions.into_iter().map(partition).collect();
    partitions.sort_by_key(|partition| partition.index);
    TopicDescription {
        name: name.into(),
        id: known_id(topic.topic_id),
        is_internal: topic.is_internal,
        partitions,
    }
}

fn partition(partition: MetadataResponsePartition) -> PartitionDescription {
    let nodes = |ids: Vec<i32>| ids.into_iter().map(NodeId).collect();
    PartitionDescription {
        index: partition.partition_index,
        leader: (partition.leader_id >= 0).then_some(NodeId(partition.leader_id)),
        leader_epoch: (partition.leader_epoch >= 0).then_some(partition.leader_epoch),
        replicas: nodes(partition.replica_nodes),
        in_sync: nodes(partition.isr_nodes),
        offline: nodes(partition.offline_replicas),
        error: Some(ErrorCode::from(partition.error_code)).filter(|error| !error.is_none()),
    }
}

/// The outcomes in the order of the items asked for.
pub(super) fn in_order<'a, T>(
    names: impl Iterator<Item = &'a str>,
    mut outcomes: HashMap<String, Result<T, ItemError>>,
) -> Vec<Result<T, ItemError>> {
    let mut outcome = |name: &str| outcomes.remove(name);
    names.map(|name| outcome(name).unwrap_or_else(|| Err(ItemError::left_out(name)))).collect()
}
