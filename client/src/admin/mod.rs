//! Administration: topics, configs, records, groups, and what the cluster says about itself.
//!
//! An operation on many things succeeds or fails for each of them: it returns an error as a whole
//! only if no broker could be asked, and otherwise one outcome for each thing.
//!
//! Every operation is sent again after a failure of the network, until the client's operation
//! timeout is over, and so may be carried out twice: creating what an earlier attempt has created
//! is then refused with `TOPIC_ALREADY_EXISTS`. All futures are cancel-safe in that nothing is left
//! behind on this side; a request that was sent may be carried out.

mod cluster;
mod configs;
mod elections;
mod error;
mod groups;
mod log_dirs;
mod partitions;
mod producers;
mod quorum;
mod reassignments;
mod topics;

use std::sync::Arc;

use thalweg_protocol::{Message, Request};

pub use cluster::{ClusterDescription, ClusterMember};
pub use configs::{
    Config, ConfigChange, ConfigResource, ConfigSource, ConfigSynonym, ConfigType, ResourceType,
};
pub use elections::ElectionType;
pub use error::{AdminError, ItemError};
pub use groups::{
    GroupDescription, GroupFilter, GroupListing, GroupMember, GroupState, GroupType, MemberToRemove,
};
pub use log_dirs::{LogDir, LogDirReplica};
pub use partitions::DeletedRecords;
pub use producers::ActiveProducer;
pub use quorum::{QuorumDescription, QuorumReplica};
pub use reassignments::PartitionReassignment;
pub use topics::{
    CreatedTopic, NewPartitions, NewTopic, PartitionDescription, Placement, TopicDescription,
    TopicListing,
};

use crate::cluster::{Cluster, Target};

/// Administers a cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    cluster: Arc<Cluster>,
}

impl Admin {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Admin { cluster }
    }

    /// Sends a request of any version.
    async fn call<R: Request>(
        &self,
        target: Target,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, AdminError> {
        let versions = <R as Message>::VERSIONS;
        Ok(self.cluster.call(target, versions, build).await?)
    }

    /// The request timeout as requests carry it: how long the cluster may take to do what is asked.
    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.cluster.options.request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}
