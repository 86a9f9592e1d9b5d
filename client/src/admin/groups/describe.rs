//! Who is in a group, and what each member reads. Groups of both kinds go by the same description;
//! what their members tell each other in the classic kind is read if they are consumers.

use std::sync::Arc;

use futures_util::future::join_all;
use thalweg_protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, ConsumerProtocolTopic,
};
use thalweg_protocol::messages::describe_groups::{DescribedGroup, DescribedGroupMember};
use thalweg_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribeGroupsRequest,
    DescribeGroupsResponse, consumer_group_describe,
};
use thalweg_protocol::{ErrorCode, KafkaStr, Message};

use super::{GroupState, GroupType, checked};
use crate::address::BrokerAddress;
use crate::admin::Admin;
use crate::cluster::{GroupError, GroupFault};
use crate::error::RequestFault;
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
    /// Those it is to read, in a group whose coordinator divides (KIP-848).
    pub target_assignment: Option<Vec<TopicPartition>>,
    /// How far it has followed the group's changes, in a group whose coordinator divides.
    pub member_epoch: Option<i32>,
}

impl Admin {
    /// Describes groups. One that is not there is refused with `GROUP_ID_NOT_FOUND`.
    pub async fn describe_groups(
        &self,
        groups: &[&str],
    ) -> Vec<Result<GroupDescription, GroupError>> {
        join_all(groups.iter().map(|group| self.describe_group(group))).await
    }

    /// There is no telling a group's type beforehand, so the newer is asked for first.
    async fn describe_group(&self, group: &str) -> Result<GroupDescription, GroupError> {
        let group: Arc<str> = group.into();
        match self.describe_consumer_group(&group).await {
            Err(error) if is_for_the_other(&error) => self.describe_classic_group(group).await,
            outcome => outcome,
        }
    }

    async fn describe_consumer_group(
        &self,
        group: &Arc<str>,
    ) -> Result<GroupDescription, GroupError> {
        let build = |_| ConsumerGroupDescribeRequest {
            group_ids: vec![KafkaStr::copied_from(group)],
            ..ConsumerGroupDescribeRequest::default()
        };
        let versions = ConsumerGroupDescribeRequest::VERSIONS;
        let error_of = |response: &ConsumerGroupDescribeResponse| {
            response.groups.first().map_or(ErrorCode::None, |it| ErrorCode::from(it.error_code))
        };
        let response = self.cluster.call_coordinator(group, versions, build, error_of).await?;
        checked(group, Ok(error_of(&response)))?;
        let coordinator = self.cluster.coordinator(group).await?;
        let mut described = response.groups.iter();
        let Some(described) = described.find(|it| *it.group_id == **group) else {
            return Err(GroupError::new(group, Some(coordinator), GroupFault::LeftOut));
        };
        let mut members: Vec<GroupMember> = described.members.iter().map(consumer_member).collect();
        members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
        Ok(GroupDescription {
            group: group.clone(),
            group_type: GroupType::Consumer,
            state: GroupState::parse(&described.group_state),
            protocol_type: "consumer".into(),
            assignor: described.assignor_name.as_str().into(),
            coordinator,
            members,
        })
    }

    async fn describe_classic_group(
        &self,
        group: Arc<str>,
    ) -> Result<GroupDescription, GroupError> {
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
        target_assignment: None,
        member_epoch: None,
    }
}

/// Whether another kind of group may go by this name, or the broker knows only the other kind.
fn is_for_the_other(error: &GroupError) -> bool {
    match &error.fault {
        GroupFault::Refused(error) => {
            matches!(error, ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion)
        }
        GroupFault::Unanswered(error) => matches!(error.fault, RequestFault::Unsupported(_)),
        GroupFault::LeftOut => false,
    }
}

fn consumer_member(described: &consumer_group_describe::Member) -> GroupMember {
    let text = |name: &KafkaStr| Arc::from(name.as_str());
    let partitions = |assignment: &consumer_group_describe::Assignment| {
        let topics = assignment.topic_partitions.iter();
        let mut partitions: Vec<TopicPartition> = topics
            .flat_map(|topic| {
                let name: Arc<str> = text(&topic.topic_name);
                topic.partitions.iter().map(move |it| TopicPartition::new(name.clone(), *it))
            })
            .collect();
        partitions.sort_unstable();
        partitions
    };
    GroupMember {
        member_id: text(&described.member_id),
        group_instance_id: described.instance_id.as_ref().map(text),
        client_id: text(&described.client_id),
        host: text(&described.client_host),
        topics: described.subscribed_topic_names.iter().map(text).collect(),
        assignment: partitions(&described.assignment),
        target_assignment: Some(partitions(&described.target_assignment)),
        member_epoch: Some(described.member_epoch),
    }
}

fn partitions(topic: &ConsumerProtocolTopic) -> impl Iterator<Item = TopicPartition> {
    let name: Arc<str> = topic.topic.as_str().into();
    topic.partitions.iter().map(move |index| TopicPartition::new(name.clone(), *index))
}
