//! Which groups there are: every broker is asked for those that it coordinates.

use std::sync::Arc;

use futures_util::future::try_join_all;
use thalweg_protocol::messages::ListGroupsRequest;
use thalweg_protocol::messages::list_groups::ListedGroup;
use thalweg_protocol::{KafkaStr, NodeId};

use super::{GroupState, GroupType};
use crate::admin::{Admin, AdminError, ItemError};
use crate::cluster::Target;

/// A group, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// Its name.
    pub group: Arc<str>,
    /// What its members are: `consumer`, `connect`, or empty where only offsets were committed.
    pub protocol_type: Arc<str>,
    /// How it is doing, if the broker tells (KIP-518).
    pub state: Option<GroupState>,
    /// How its members agree, if the broker tells (KIP-848).
    pub group_type: Option<GroupType>,
    /// The broker that coordinates it.
    pub coordinator: NodeId,
}

/// Which groups to list. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupFilter {
    /// Only those in one of these states, if there are any here.
    pub states: Vec<GroupState>,
    /// Only those of one of these types, if there are any here.
    pub types: Vec<GroupType>,
}

impl Admin {
    /// The groups of all brokers, by name. Fails if one broker does not answer, as its groups would
    /// be missing.
    pub async fn list_groups(&self, filter: &GroupFilter) -> Result<Vec<GroupListing>, AdminError> {
        let nodes: Vec<NodeId> = self.cluster.metadata().brokers.keys().copied().collect();
        let asked = nodes.into_iter().map(|node| self.list_groups_of(node, filter));
        let mut groups: Vec<GroupListing> =
            try_join_all(asked).await?.into_iter().flatten().collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(groups)
    }

    async fn list_groups_of(
        &self,
        node: NodeId,
        filter: &GroupFilter,
    ) -> Result<Vec<GroupListing>, AdminError> {
        let build = |_| ListGroupsRequest {
            states_filter: filter
                .states
                .iter()
                .map(|it| KafkaStr::copied_from(it.as_str()))
                .collect(),
            types_filter: filter
                .types
                .iter()
                .map(|it| KafkaStr::copied_from(it.as_str()))
                .collect(),
            ..ListGroupsRequest::default()
        };
        let response = self.call(Target::Broker(node), build).await?;
        ItemError::check(&format!("groups of broker {node}"), response.error_code, None)?;
        Ok(response.groups.iter().map(|group| listing(node, group)).collect())
    }
}

fn listing(coordinator: NodeId, group: &ListedGroup) -> GroupListing {
    let told = |name: &KafkaStr| (!name.is_empty()).then(|| name.clone());
    GroupListing {
        group: group.group_id.as_str().into(),
        protocol_type: group.protocol_type.as_str().into(),
        state: told(&group.group_state).map(|name| GroupState::parse(&name)),
        group_type: told(&group.group_type).map(|name| GroupType::parse(&name)),
        coordinator,
    }
}
