//! Moving partitions to other brokers (KIP-455).

use std::collections::HashMap;
use std::sync::Arc;

use thalweg_protocol::NodeId;
use thalweg_protocol::messages::alter_partition_reassignments::{
    ReassignablePartition, ReassignableTopic,
};
use thalweg_protocol::messages::list_partition_reassignments::ListPartitionReassignmentsTopics;
use thalweg_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::{Admin, AdminError, ItemError};
use crate::cluster::Target;
use crate::topic_partition::{TopicPartition, by_topic};

/// A partition on its way to other brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionReassignment {
    /// The partition.
    pub partition: TopicPartition,
    /// Everyone who has it, is getting it, or is losing it.
    pub replicas: Vec<NodeId>,
    /// Those who are getting it.
    pub adding: Vec<NodeId>,
    /// Those who will have it no more.
    pub removing: Vec<NodeId>,
}

impl Admin {
    /// Gives each partition these replicas, the preferred leader first; without any, takes back the
    /// reassignment under way. Returns when the cluster has taken it on: what has to be copied is
    /// copied afterwards, and [`Admin::list_partition_reassignments`] shows what is not done yet.
    ///
    /// The same replicas in another order only change who is preferred as leader;
    /// [`Admin::elect_leaders`] makes it lead.
    pub async fn alter_partition_reassignments(
        &self,
        changes: &[(TopicPartition, Option<Vec<NodeId>>)],
    ) -> Result<Vec<Result<(), ItemError>>, AdminError> {
        let wanted: HashMap<_, _> = changes.iter().map(|(it, replicas)| (it, replicas)).collect();
        let partition = |partition: &TopicPartition| ReassignablePartition {
            partition_index: partition.partition,
            replicas: wanted
                .get(partition)
                .and_then(|replicas| replicas.as_ref())
                .map(|replicas| replicas.iter().map(|node| node.0).collect()),
            ..ReassignablePartition::default()
        };
        let topics = || by_topic(changes.iter().map(|(it, _)| it), partition);
        let topic = |(name, partitions)| ReassignableTopic {
            name,
            partitions,
            ..ReassignableTopic::default()
        };
        let build = |_| AlterPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            topics: topics().into_iter().map(topic).collect(),
            ..AlterPartitionReassignmentsRequest::default()
        };
        let response = self.call(Target::Controller, build).await?;
        let AlterPartitionReassignmentsResponse { error_code, error_message, .. } = &response;
        ItemError::check("reassignments", *error_code, error_message.as_ref())?;
        let mut outcomes = HashMap::new();
        for topic in response.responses {
            let name: Arc<str> = topic.name.as_str().into();
            for result in topic.partitions {
                let partition = TopicPartition::new(name.clone(), result.partition_index);
                let message = result.error_message.as_ref();
                let outcome = ItemError::check(&partition.to_string(), result.error_code, message);
                outcomes.insert(partition, outcome);
            }
        }
        let outcome = |partition: &TopicPartition| {
            let left_out = || Err(ItemError::left_out(&partition.to_string()));
            outcomes.get(partition).cloned().unwrap_or_else(left_out)
        };
        Ok(changes.iter().map(|(partition, _)| outcome(partition)).collect())
    }

    /// Those of the given partitions that are on their way, or of all without any.
    pub async fn list_partition_reassignments(
        &self,
        of: Option<&[TopicPartition]>,
    ) -> Result<Vec<PartitionReassignment>, AdminError> {
        let topic = |(name, partition_indexes)| ListPartitionReassignmentsTopics {
            name,
            partition_indexes,
            ..ListPartitionReassignmentsTopics::default()
        };
        let topics = |of| by_topic(of, |partition| partition.partition).into_iter().map(topic);
        let build = |_| ListPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            topics: of.map(|of| topics(of).collect()),
            ..ListPartitionReassignmentsRequest::default()
        };
        let response = self.call(Target::Controller, build).await?;
        let ListPartitionReassignmentsResponse { error_code, error_message, .. } = &response;
        ItemError::check("reassignments", *error_code, error_message.as_ref())?;
        let nodes = |ids: Vec<i32>| ids.into_iter().map(NodeId).collect();
        let mut listed = Vec::new();
        for topic in response.topics {
            let name: Arc<str> = topic.name.as_str().into();
            listed.extend(topic.partitions.into_iter().map(|partition| PartitionReassignment {
                partition: TopicPartition::new(name.clone(), partition.partition_index),
                replicas: nodes(partition.replicas),
                adding: nodes(partition.adding_replicas),
                removing: nodes(partition.removing_replicas),
            }));
        }
        Ok(listed)
    }
}
