//! What the cluster says about itself.

use std::sync::Arc;

use thalweg_protocol::NodeId;
use thalweg_protocol::messages::{
    DescribeClusterRequest, DescribeClusterResponse, UnregisterBrokerRequest,
};

use super::{Admin, AdminError, ItemError};
use crate::address::BrokerAddress;
use crate::cluster::Target;

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub id: Arc<str>,
    /// The broker to send changes to, if there is one.
    pub controller: Option<NodeId>,
    /// Its brokers, by id.
    pub brokers: Vec<ClusterMember>,
}

/// A broker of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterMember {
    /// Its id.
    pub id: NodeId,
    /// Where it is reached.
    pub address: BrokerAddress,
    /// Where it stands, if it says so.
    pub rack: Option<Arc<str>>,
    /// Whether the controller keeps it out, as it has not proved to be alive.
    pub is_fenced: bool,
}

impl Admin {
    /// The cluster's id, controller and brokers, fenced ones too where the brokers can tell
    /// (KIP-1073).
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, AdminError> {
        let build = |version| DescribeClusterRequest {
            include_fenced_brokers: version >= 2,
            ..DescribeClusterRequest::default()
        };
        let response = self.call(Target::AnyBroker, build).await?;
        let DescribeClusterResponse { error_code, error_message, .. } = &response;
        ItemError::check("cluster", *error_code, error_message.as_ref())?;
        let mut brokers: Vec<ClusterMember> = response
            .brokers
            .iter()
            .map(|broker| {
                let id = NodeId(broker.broker_id);
                let port = u16::try_from(broker.port).unwrap_or_default();
                ClusterMember {
                    id,
                    address: BrokerAddress::of_node(id, &broker.host, port),
                    rack: broker.rack.as_ref().map(|rack| rack.as_str().into()),
                    is_fenced: broker.is_fenced,
                }
            })
            .collect();
        brokers.sort_by_key(|broker| broker.id);
        Ok(ClusterDescription {
            id: response.cluster_id.as_str().into(),
            controller: (response.controller_id >= 0).then_some(NodeId(response.controller_id)),
            brokers,
        })
    }

    /// Removes a broker for good. Kafka only forgets it; Thalweg refuses while the broker has
    /// replicas. One that still runs comes back.
    pub async fn unregister_broker(&self, broker: NodeId) -> Result<(), AdminError> {
        let build = |_| UnregisterBrokerRequest {
            broker_id: broker.0,
            ..UnregisterBrokerRequest::default()
        };
        let response = self.call(Target::Controller, build).await?;
        let item = format!("broker {broker}");
        Ok(ItemError::check(&item, response.error_code, response.error_message.as_ref())?)
    }
}
