//! The controllers: who leads them, and how far each has come (KIP-836, KIP-853).

use thalweg_protocol::messages::describe_quorum::{
    PartitionData, ReplicaState, RequestedPartition, RequestedTopic,
};
use thalweg_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use thalweg_protocol::{KafkaStr, NodeId};
use uuid::Uuid;

use super::{Admin, AdminError, ItemError};
use crate::cluster::Target;

/// Under this name Kafka keeps the controllers' log.
const CLUSTER_METADATA: &str = "__cluster_metadata";

/// The controllers of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumDescription {
    /// The active controller, if one is known.
    pub leader: Option<NodeId>,
    /// How often a controller was elected.
    pub leader_epoch: i32,
    /// Up to where the controllers' log is on a majority of the voters.
    pub high_watermark: i64,
    /// Those who decide.
    pub voters: Vec<QuorumReplica>,
    /// Those who only follow.
    pub observers: Vec<QuorumReplica>,
}

/// A node with a copy of the controllers' log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumReplica {
    /// Its id.
    pub id: NodeId,
    /// Its data directory, if the cluster tells.
    pub directory_id: Option<Uuid>,
    /// Where its log ends, if that is known.
    pub log_end_offset: Option<i64>,
    /// When it last asked for more, in milliseconds since 1970.
    pub last_fetch_ms: Option<i64>,
    /// When it last had everything, in milliseconds since 1970.
    pub last_caught_up_ms: Option<i64>,
}

impl Admin {
    /// The controllers, and how far each has come.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, AdminError> {
        let build = |_| DescribeQuorumRequest {
            topics: vec![RequestedTopic {
                topic_name: KafkaStr::copied_from(CLUSTER_METADATA),
                partitions: vec![RequestedPartition::default()],
                ..RequestedTopic::default()
            }],
            ..DescribeQuorumRequest::default()
        };
        Ok(description(self.call(Target::AnyBroker, build).await?)?)
    }
}

fn description(response: DescribeQuorumResponse) -> Result<QuorumDescription, ItemError> {
    ItemError::check("quorum", response.error_code, response.error_message.as_ref())?;
    let partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
    let quorum = partitions.into_iter().next().ok_or_else(|| ItemError::left_out("quorum"))?;
    let PartitionData { error_code, error_message, .. } = &quorum;
    ItemError::check("quorum", *error_code, error_message.as_ref())?;
    let replicas = |all: &[ReplicaState]| all.iter().map(replica).collect();
    Ok(QuorumDescription {
        leader: (quorum.leader_id >= 0).then_some(NodeId(quorum.leader_id)),
        leader_epoch: quorum.leader_epoch,
        high_watermark: quorum.high_watermark,
        voters: replicas(&quorum.current_voters),
        observers: replicas(&quorum.observers),
    })
}

fn replica(state: &ReplicaState) -> QuorumReplica {
    let known = |number: i64| (number >= 0).then_some(number);
    QuorumReplica {
        id: NodeId(state.replica_id),
        directory_id: Some(state.replica_directory_id).filter(|id| !id.is_nil()),
        log_end_offset: known(state.log_end_offset),
        last_fetch_ms: known(state.last_fetch_timestamp),
        last_caught_up_ms: known(state.last_caught_up_timestamp),
    }
}

#[cfg(test)]
mod tests {
    use thalweg_protocol::ErrorCode;
    use thalweg_protocol::messages::describe_quorum::TopicData;

    use super::*;

    fn response(partition: PartitionData) -> DescribeQuorumResponse {
        let topic = TopicData { partitions: vec![partition], ..TopicData::default() };
        DescribeQuorumResponse { topics: vec![topic], ..DescribeQuorumResponse::default() }
    }

    #[test]
    fn what_is_not_known_is_none() {
        let voter = |replica_id, log_end_offset| ReplicaState {
            replica_id,
            log_end_offset,
            ..ReplicaState::default()
        };
        let quorum = response(PartitionData {
            leader_id: -1,
            current_voters: vec![voter(1, 9), voter(2, -1)],
            ..PartitionData::default()
        });
        let quorum = description(quorum).expect("no error in it");
        assert_eq!(quorum.leader, None);
        let ends: Vec<_> = quorum.voters.iter().map(|it| it.log_end_offset).collect();
        assert_eq!(ends, [Some(9), None]);
        assert!(quorum.voters.iter().all(|it| it.last_fetch_ms.is_none()));
    }

    #[test]
    fn errors_are_found_wherever_they_stand() {
        let code = ErrorCode::ClusterAuthorizationFailed;
        let whole = DescribeQuorumResponse { error_code: code.code(), ..Default::default() };
        let part = response(PartitionData { error_code: code.code(), ..Default::default() });
        for refused in [whole, part] {
            assert_eq!(description(refused).expect_err("refused").error, code);
        }
        assert!(description(DescribeQuorumResponse::default()).is_err(), "nothing is in it");
    }
}
