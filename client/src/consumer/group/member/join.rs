//! Joining: JoinGroup, until the coordinator has let the member into a generation, and SyncGroup,
//! which hands out the assignment that the leader has made.

use bytes::Bytes;
use thalweg_protocol::consumer_protocol::{
    CONSUMER_PROTOCOL_VERSION_MAX, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
    ConsumerProtocolTopic,
};
use thalweg_protocol::messages::join_group::JoinGroupRequestProtocol;
use thalweg_protocol::messages::sync_group::SyncGroupRequestAssignment;
use thalweg_protocol::messages::{
    JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use thalweg_protocol::{ErrorCode, KafkaStr, Message};

use super::{Member, Turn};
use crate::address::BrokerAddress;
use crate::cluster::{GroupError, GroupFault};
use crate::consumer::group::assignor::Assignor;
use crate::topic_partition::{TopicPartition, by_topic};

/// What kind of group it is.
pub(super) const PROTOCOL_TYPE: &str = "consumer";

/// How often a coordinator may tell a member to come back under an id before that is taken for a
/// refusal.
const IDS_GIVEN_MAX: u32 = 10;

impl Member {
    /// Joins, however long it takes.
    pub(super) async fn join(&mut self) -> Result<JoinGroupResponse, Turn> {
        let mut ids_given = 0;
        loop {
            let request = self.join_request();
            let timeout = self.shared.settings.max_poll_interval;
            let timeout = timeout.saturating_add(self.shared.cluster.options.request_timeout);
            let (shared, pool) = (self.shared.clone(), self.pool.clone());
            let asked = async move {
                let versions = JoinGroupRequest::VERSIONS;
                let (cluster, group) = (&shared.cluster, &shared.group);
                let build = |_| request.clone();
                cluster.ask_coordinator(&pool, group, versions, build, timeout).await
            };
            let error = match self.unless_commanded(asked).await? {
                Ok((coordinator, response)) => match ErrorCode::from(response.error_code) {
                    ErrorCode::None => {
                        let (id, generation) = (&response.member_id, response.generation_id);
                        self.shared.set_identity(id.detached(), generation);
                        self.pulse.restart();
                        return Ok(response);
                    }
                    ErrorCode::MemberIdRequired if ids_given < IDS_GIVEN_MAX => {
                        self.shared.set_identity(response.member_id.detached(), -1);
                        ids_given += 1;
                        // Once is how members join; more often is a coordinator in trouble.
                        if ids_given > 1 {
                            self.back_off().await?;
                        }
                        continue;
                    }
                    error => self.refused(coordinator, error),
                },
                Err(error) => error,
            };
            if is_forgotten(&error) {
                self.shared.set_identity(KafkaStr::default(), -1);
                if !self.owned.is_empty() {
                    return Err(Turn::Lost);
                }
                self.back_off().await?;
                continue;
            }
            self.retry_after(error).await?;
        }
    }

    /// Hands in the assignment if the member leads, and receives its own part.
    pub(super) async fn sync(
        &mut self,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<TopicPartition>, Turn> {
        let assignments = self.lead(joined).await?;
        let request = self.sync_request(joined, assignments);
        let timeout = self.shared.settings.max_poll_interval;
        let timeout = timeout.saturating_add(self.shared.cluster.options.request_timeout);
        let (shared, pool) = (self.shared.clone(), self.pool.clone());
        let asked = async move {
            let (cluster, group) = (&shared.cluster, &shared.group);
            let versions = SyncGroupRequest::VERSIONS;
            let build = |_| request.clone();
            cluster.ask_coordinator(&pool, group, versions, build, timeout).await
        };
        let error = match self.unless_commanded(asked).await? {
            Ok((coordinator, response)) => match ErrorCode::from(response.error_code) {
                ErrorCode::None => return Ok(assigned(&response)),
                ErrorCode::RebalanceInProgress => return Err(Turn::Rejoin),
                error => self.refused(coordinator, error),
            },
            Err(error) => error,
        };
        if is_forgotten(&error) {
            return Err(Turn::Lost);
        }
        self.retry_after(error).await?;
        Err(Turn::Rejoin)
    }

    fn refused(&self, coordinator: BrokerAddress, error: ErrorCode) -> GroupError {
        GroupError::new(&self.shared.group, Some(coordinator), GroupFault::Refused(error))
    }

    fn join_request(&self) -> JoinGroupRequest {
        let (settings, identity) = (&self.shared.settings, self.shared.identity());
        let ms =
            |duration: std::time::Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let protocols = settings.assignors.iter().map(|assignor| JoinGroupRequestProtocol {
            name: assignor.name().into(),
            metadata: self.subscription(*assignor, identity.generation),
            ..JoinGroupRequestProtocol::default()
        });
        JoinGroupRequest {
            group_id: KafkaStr::copied_from(&self.shared.group),
            session_timeout_ms: ms(settings.session_timeout),
            rebalance_timeout_ms: ms(settings.max_poll_interval),
            member_id: identity.member_id,
            group_instance_id: identity.group_instance_id,
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: protocols.collect(),
            ..JoinGroupRequest::default()
        }
    }

    fn subscription(&self, assignor: Assignor, generation: i32) -> Bytes {
        let topics = self.subscribed_topics();
        let subscription = ConsumerProtocolSubscription {
            topics: topics.iter().map(|topic| KafkaStr::copied_from(topic)).collect(),
            user_data: assignor.user_data(generation),
            owned_partitions: topics_of(&self.owned),
            generation_id: generation,
            rack_id: self.shared.settings.rack.clone(),
            ..ConsumerProtocolSubscription::default()
        };
        // A name that is too long is nobody's topic: the broker refuses what is empty.
        subscription.encode(CONSUMER_PROTOCOL_VERSION_MAX).unwrap_or_default()
    }

    fn sync_request(
        &self,
        joined: &JoinGroupResponse,
        assignments: Vec<(KafkaStr, Vec<TopicPartition>)>,
    ) -> SyncGroupRequest {
        let identity = self.shared.identity();
        let assignment = |(member_id, partitions): (KafkaStr, Vec<TopicPartition>)| {
            let assignment = ConsumerProtocolAssignment {
                assigned_partitions: topics_of(&partitions),
                ..ConsumerProtocolAssignment::default()
            };
            let assignment = assignment.encode(ASSIGNMENT_VERSION).unwrap_or_default();
            SyncGroupRequestAssignment {
                member_id,
                assignment,
                ..SyncGroupRequestAssignment::default()
            }
        };
        SyncGroupRequest {
            group_id: KafkaStr::copied_from(&self.shared.group),
            generation_id: identity.generation,
            member_id: identity.member_id,
            group_instance_id: identity.group_instance_id,
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: joined.protocol_name.clone(),
            assignments: assignments.into_iter().map(assignment).collect(),
            ..SyncGroupRequest::default()
        }
    }
}

/// All versions look alike, and the oldest is known to everybody.
const ASSIGNMENT_VERSION: i16 = 0;

fn topics_of<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
) -> Vec<ConsumerProtocolTopic> {
    let topic = |(topic, partitions)| ConsumerProtocolTopic {
        topic,
        partitions,
        ..ConsumerProtocolTopic::default()
    };
    by_topic(partitions, |partition| partition.partition).into_iter().map(topic).collect()
}

/// What a member is assigned; nothing if the leader wrote nonsense, or nothing.
fn assigned(response: &SyncGroupResponse) -> Vec<TopicPartition> {
    if response.assignment.is_empty() {
        return Vec::new();
    }
    match ConsumerProtocolAssignment::decode(response.assignment.clone()) {
        Ok(assignment) => super::lead::partitions_of(&assignment.assigned_partitions),
        Err(error) => {
            tracing::warn!(%error, "the group's leader has sent an assignment nobody can read");
            Vec::new()
        }
    }
}

fn is_forgotten(error: &GroupError) -> bool {
    use ErrorCode::{IllegalGeneration, UnknownMemberId};
    matches!(error.fault, GroupFault::Refused(UnknownMemberId | IllegalGeneration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_that_nobody_can_read_is_empty() {
        let response = |assignment: &'static [u8]| SyncGroupResponse {
            assignment: Bytes::from_static(assignment),
            ..SyncGroupResponse::default()
        };
        let good = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x07\xff\xff\xff\xff";
        assert_eq!(assigned(&response(good)), [TopicPartition::new("t", 7)]);
        // Two billion topics in no bytes at all.
        let hostile = b"\0\0\x7f\xff\xff\xff";
        assert_eq!(assigned(&response(hostile)), []);
        assert_eq!(assigned(&response(b"")), []);
    }
}
