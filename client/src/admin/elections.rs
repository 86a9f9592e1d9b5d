//! Making partitions be led by whom they are to be led by (KIP-460).

use std::sync::Arc;

use thalweg_protocol::ErrorCode;
use thalweg_protocol::messages::elect_leaders::TopicPartitions;
use thalweg_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::{Admin, AdminError, ItemError};
use crate::cluster::Target;
use crate::topic_partition::{TopicPartition, by_topic};

/// Who may be elected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElectionType {
    /// The first of the partition's replicas, if it has all records.
    Preferred,
    /// Any replica that lives, even if it lacks acknowledged records. They are lost then.
    Unclean,
}

impl ElectionType {
    fn on_the_wire(self) -> i8 {
        match self {
            ElectionType::Preferred => 0,
            ElectionType::Unclean => 1,
        }
    }
}

impl Admin {
    /// Elects leaders of the given partitions, or of all without any. Each outcome says whether
    /// the leader had to change; without partitions, only those with something to say are there.
    pub async fn elect_leaders(
        &self,
        election: ElectionType,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Vec<(TopicPartition, Result<bool, ItemError>)>, AdminError> {
        let topic = |(topic, partitions)| TopicPartitions {
            topic,
            partitions,
            ..TopicPartitions::default()
        };
        let topics = |of| by_topic(of, |partition| partition.partition).into_iter().map(topic);
        let build = |_| ElectLeadersRequest {
            election_type: election.on_the_wire(),
            topic_partitions: partitions.map(|of| topics(of).collect()),
            timeout_ms: self.timeout_ms(),
            ..ElectLeadersRequest::default()
        };
        // Version 0 knows preferred leaders only.
        let versions = if election == ElectionType::Preferred { 0..=2 } else { 1..=2 };
        let response = self.cluster.call(Target::Controller, versions, build).await?;
        ItemError::check("elections", response.error_code, None)?;
        Ok(outcomes(response))
    }
}

fn outcomes(response: ElectLeadersResponse) -> Vec<(TopicPartition, Result<bool, ItemError>)> {
    let mut outcomes = Vec::new();
    for topic in response.replica_election_results {
        let name: Arc<str> = topic.topic.as_str().into();
        for result in topic.partition_result {
            let partition = TopicPartition::new(name.clone(), result.partition_id);
            let outcome = match ErrorCode::from(result.error_code) {
                ErrorCode::ElectionNotNeeded => Ok(false),
                _ => {
                    let message = result.error_message.as_ref();
                    ItemError::check(&partition.to_string(), result.error_code, message)
                        .map(|()| true)
                }
            };
            outcomes.push((partition, outcome));
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use thalweg_protocol::messages::elect_leaders::{PartitionResult, ReplicaElectionResult};

    use super::*;

    #[test]
    fn a_leader_that_leads_already_is_no_failure() {
        let codes =
            [ErrorCode::None, ErrorCode::ElectionNotNeeded, ErrorCode::EligibleLeadersNotAvailable];
        let results = (0..).zip(codes).map(|(partition_id, code)| PartitionResult {
            partition_id,
            error_code: code.code(),
            ..PartitionResult::default()
        });
        let response = ElectLeadersResponse {
            replica_election_results: vec![ReplicaElectionResult {
                topic: "t".into(),
                partition_result: results.collect(),
                ..ReplicaElectionResult::default()
            }],
            ..ElectLeadersResponse::default()
        };
        let outcomes = outcomes(response);
        let changed: Vec<_> = outcomes.iter().map(|(_, it)| it.as_ref().ok().copied()).collect();
        assert_eq!(changed, [Some(true), Some(false), None]);
        assert_eq!(outcomes[2].0, TopicPartition::new("t", 2));
    }
}
