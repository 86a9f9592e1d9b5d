//! Who is in a group, and what each member reads.

use std::sync::Arc;

use futures_util::future::join_all;
use thalweg_protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, ConsumerProtocolTopic,
};
use thalweg_protocol::messages::describe_groups::{DescribedGroup, DescribedGroupMember};
use thalweg_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use thalweg_protocol::{ErrorCode, KafkaStr, Message};

use super::{GroupState, GroupType, checked};
use crate::address::BrokerAddress;
use crate::admin::Admin;
use crate::cluster::{GroupError, GroupFault};
use crate::topic_partition::TopicPartition;

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub group: Arc<str>,
    /// How its members agree upon who reads what.
    pub group_type: GroupType,
    /// How it is doing.
    pub state: GroupState,
    /// What its members are: `consumer`, `connect`, or empty where only offsets were committed.
    pub protocol_type: Arc<str>,
    /// The assignor in use; empty while there is none.
    pub assignor: Arc<str>,
    /// The broker that coordinates it.
    pub coordinator: BrokerAddress,
    /// Its members, by id.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The id that the coordinator gave it, or that it gave itself.
    pub member_id: Arc<str>,
    /// The name that makes it a static member (KIP-345).
    pub group_instance_id: Option<Arc<str>>,
    /// What it calls itself.
    pub client_id: Arc<str>,
    /// Whence it is connected.
    pub host: Arc<str>,
    /// The topics it subscribes to, where it is a consumer.
    pub topics: Vec<Arc<str>>,
    /// The partitions it reads, in order, where it is a consumer.
    pub assignment: Vec<TopicPartition>,
}

impl Admin {
    /// Describes groups. One that is not there is refused with `GROUP_ID_NOT_FOUND`.
    pub async fn describe_groups(
        &self,
        groups: &[&str],
    ) -> Vec<Result<GroupDescription, GroupError>> {
        join_all(groups.iter().map(|group| self.describe_group(group))).await
    }

    async fn describe_group(&self, group: &str) -> Result<GroupDescription, GroupError> {
        let group: Arc<str> = group.into();
        let build = |_| DescribeGroupsRequest {
            groups: vec![KafkaStr::copied_from(&group)],
            ..DescribeGroupsRequest::default()
        };
        let versions = DescribeGroupsRequest::VERSIONS;
        let error_of = |response: &DescribeGroupsResponse| {
            response.groups.first().map_or(ErrorCode::None, |it| ErrorCode::from(it.error_code))
        };
        let response = self.cluster.call_coordinator(&group, versions, build, error_of).await?;
        checked(&group, Ok(error_of(&response)))?;
        let coordinator = self.cluster.coordinator(&group).await?;
        let mut described = response.groups.into_iter();
        let Some(described) = described.find(|it| *it.group_id == *group) else {
            return Err(GroupError::new(&group, Some(coordinator), GroupFault::LeftOut));
        };
        // Before version 6 a group that is not there was dead.
        if GroupState::parse(&described.group_state) == GroupState::Dead {
            let fault = GroupFault::Refused(ErrorCode::GroupIdNotFound);
            return Err(GroupError::new(&group, Some(coordinator), fault));
        }
        Ok(description(group, coordinator, &described))
    }
}

fn description(
    group: Arc<str>,
    coordinator: BrokerAddress,
    described: &DescribedGroup,
) -> GroupDescription {
    let is_consumer = *described.protocol_type == *"consumer";
    let mut members: Vec<GroupMember> =
        described.members.iter().map(|it| member(it, is_consumer)).collect();
    members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    GroupDescription {
        group,
        group_type: GroupType::Classic,
        state: GroupState::parse(&described.group_state),
        protocol_type: described.protocol_type.as_str().into(),
        assignor: described.protocol_data.as_str().into(),
        coordinator,
        members,
    }
}

/// What the members of other kinds of groups tell each other is not for us to read.
fn member(described: &DescribedGroupMember, is_consumer: bool) -> GroupMember {
    let metadata = is_consumer.then(|| described.member_metadata.clone());
    let subscription = metadata.and_then(|it| ConsumerProtocolSubscription::decode(it).ok());
    let assigned = is_consumer.then(|| described.member_assignment.clone());
    let assigned = assigned.and_then(|it| ConsumerProtocolAssignment::decode(it).ok());
    let text = |name: &KafkaStr| Arc::from(name.as_str());
    let topics = subscription.iter().flat_map(|it| &it.topics).map(text).collect();
    let mut assignment: Vec<TopicPartition> =
        assigned.iter().flat_map(|it| &it.assigned_partitions).flat_map(partitions).collect();
    assignment.sort_unstable();
    GroupMember {
        member_id: text(&described.member_id),
        group_instance_id: described.group_instance_id.as_ref().map(text),
        client_id: text(&described.client_id),
        host: text(&described.client_host),
        topics,
        assignment,
    }
}

fn partitions(topic: &ConsumerProtocolTopic) -> impl Iterator<Item = TopicPartition> {
    let name: Arc<str> = topic.topic.as_str().into();
    topic.partitions.iter().map(move |index| TopicPartition::new(name.clone(), *index))
}
