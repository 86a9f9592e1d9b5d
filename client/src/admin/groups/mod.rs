//! Groups: which there are, who is in them, how far they have read, and doing away with them.
//!
//! Each group has its own coordinator, so an operation on several asks several brokers.

mod describe;
mod list;
mod offsets;

use std::fmt;
use std::sync::Arc;

use futures_util::future::join_all;
use thalweg_protocol::messages::leave_group::MemberIdentity;
use thalweg_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, LeaveGroupRequest, LeaveGroupResponse,
};
use thalweg_protocol::{ErrorCode, KafkaStr, Message};

pub use describe::{GroupDescription, GroupMember};
pub use list::{GroupFilter, GroupListing};

use super::Admin;
use crate::cluster::{GroupError, GroupFault};

/// How a group is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupState {
    /// It has no members, only offsets.
    Empty,
    /// Classic: members are joining.
    PreparingRebalance,
    /// Classic: the assignment is being waited for.
    CompletingRebalance,
    /// Every member has what it is to have.
    Stable,
    /// It is going, or was never there.
    Dead,
    /// Consumer (KIP-848): the coordinator is making an assignment.
    Assigning,
    /// Consumer: members are giving up and taking over partitions.
    Reconciling,
    /// One that is younger than this software.
    Other(Arc<str>),
}

/// How the members of a group agree upon who reads what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupType {
    /// One of the members decides.
    Classic,
    /// The coordinator decides (KIP-848).
    Consumer,
    /// Members share partitions record by record (KIP-932).
    Share,
    /// One that is younger than this software.
    Other(Arc<str>),
}

impl GroupState {
    fn parse(name: &str) -> Self {
        match name {
            "Empty" => GroupState::Empty,
            "PreparingRebalance" => GroupState::PreparingRebalance,
            "CompletingRebalance" => GroupState::CompletingRebalance,
            "Stable" => GroupState::Stable,
            "Dead" => GroupState::Dead,
            "Assigning" => GroupState::Assigning,
            "Reconciling" => GroupState::Reconciling,
            other => GroupState::Other(other.into()),
        }
    }

    /// The name that Kafka gives it.
    pub fn as_str(&self) -> &str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
            GroupState::Assigning => "Assigning",
            GroupState::Reconciling => "Reconciling",
            GroupState::Other(other) => other,
        }
    }
}

impl GroupType {
    fn parse(name: &str) -> Self {
        match name {
            "classic" | "Classic" => GroupType::Classic,
            "consumer" | "Consumer" => GroupType::Consumer,
            "share" | "Share" => GroupType::Share,
            other => GroupType::Other(other.into()),
        }
    }

    /// The name that Kafka gives it.
    pub fn as_str(&self) -> &str {
        match self {
            GroupType::Classic => "classic",
            GroupType::Consumer => "consumer",
            GroupType::Share => "share",
            GroupType::Other(other) => other,
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for GroupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A member to remove from a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberToRemove {
    /// By the id that the coordinator gave it.
    Member(Arc<str>),
    /// A static member, by its own name (`group.instance.id`).
    Instance(Arc<str>),
}

impl Admin {
    /// Deletes groups with all their offsets. Refused with `NON_EMPTY_GROUP` while a group has
    /// members.
    pub async fn delete_groups(&self, groups: &[&str]) -> Vec<Result<(), GroupError>> {
        join_all(groups.iter().map(|group| self.delete_group(group))).await
    }

    async fn delete_group(&self, group: &str) -> Result<(), GroupError> {
        let group: Arc<str> = group.into();
        let build = |_| DeleteGroupsRequest {
            groups_names: vec![KafkaStr::copied_from(&group)],
            ..DeleteGroupsRequest::default()
        };
        let versions = DeleteGroupsRequest::VERSIONS;
        let outcome = |response: &DeleteGroupsResponse| {
            let mut results = response.results.iter();
            results.find(|it| *it.group_id == *group).map(|it| ErrorCode::from(it.error_code))
        };
        let error_of =
            |response: &DeleteGroupsResponse| outcome(response).unwrap_or(ErrorCode::None);
        let response = self.cluster.call_coordinator(&group, versions, build, error_of).await?;
        checked(&group, outcome(&response).ok_or(GroupFault::LeftOut))
    }

    /// Removes members from a classic group, static ones by their own name (KIP-345). Gives the
    /// outcome of each.
    pub async fn remove_group_members(
        &self,
        group: &str,
        members: &[MemberToRemove],
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let group: Arc<str> = group.into();
        let identity = |member: &MemberToRemove| {
            let (member_id, instance) = match member {
                MemberToRemove::Member(id) => (KafkaStr::copied_from(id), None),
                MemberToRemove::Instance(id) => {
                    (KafkaStr::default(), Some(KafkaStr::copied_from(id)))
                }
            };
            MemberIdentity {
                member_id,
                group_instance_id: instance,
                reason: Some("removed by an administrator".into()),
                ..MemberIdentity::default()
            }
        };
        let build = |_| LeaveGroupRequest {
            group_id: KafkaStr::copied_from(&group),
            members: members.iter().map(identity).collect(),
            ..LeaveGroupRequest::default()
        };
        // Before version 3 a request was about one dynamic member.
        let versions = 3..=*LeaveGroupRequest::VERSIONS.end();
        let error_of = |response: &LeaveGroupResponse| ErrorCode::from(response.error_code);
        let response = self.cluster.call_coordinator(&group, versions, build, error_of).await?;
        checked(&group, Ok(error_of(&response)))?;
        let outcome = |member: &MemberToRemove| {
            let found = response.members.iter().find(|it| match member {
                MemberToRemove::Member(id) => *it.member_id == **id,
                MemberToRemove::Instance(id) => {
                    it.group_instance_id.as_ref().is_some_and(|it| **it == **id)
                }
            });
            let error = found.map(|it| ErrorCode::from(it.error_code)).ok_or(GroupFault::LeftOut);
            checked(&group, error)
        };
        Ok(members.iter().map(outcome).collect())
    }
}

fn checked(group: &Arc<str>, outcome: Result<ErrorCode, GroupFault>) -> Result<(), GroupError> {
    match outcome {
        Ok(ErrorCode::None) => Ok(()),
        Ok(error) => Err(GroupError::new(group, None, GroupFault::Refused(error))),
        Err(fault) => Err(GroupError::new(group, None, fault)),
    }
}
