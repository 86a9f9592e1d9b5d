//! One file per API key: decode, decide, answer. What an API does to a partition or to the
//! controller is theirs; a handler translates.
//!
//! `start` runs a handler up to the point where its place in the order of things is fixed; the
//! future it returns is the rest.

#[path = "33_alter_configs.rs"]
mod alter_configs;
#[path = "45_alter_partition_reassignments.rs"]
mod alter_partition_reassignments;
#[path = "18_api_versions.rs"]
pub(crate) mod api_versions;
mod config_resource;
#[path = "69_consumer_group_describe.rs"]
mod consumer_group_describe;
#[path = "68_consumer_group_heartbeat.rs"]
mod consumer_group_heartbeat;
#[path = "37_create_partitions.rs"]
mod create_partitions;
#[path = "19_create_topics.rs"]
mod create_topics;
#[path = "42_delete_groups.rs"]
mod delete_groups;
#[path = "21_delete_records.rs"]
mod delete_records;
#[path = "20_delete_topics.rs"]
mod delete_topics;
#[path = "60_describe_cluster.rs"]
mod describe_cluster;
#[path = "32_describe_configs.rs"]
mod describe_configs;
#[path = "15_describe_groups.rs"]
mod describe_groups;
#[path = "35_describe_log_dirs.rs"]
mod describe_log_dirs;
#[path = "61_describe_producers.rs"]
mod describe_producers;
#[path = "55_describe_quorum.rs"]
mod describe_quorum;
#[path = "75_describe_topic_partitions.rs"]
mod describe_topic_partitions;
#[path = "43_elect_leaders.rs"]
mod elect_leaders;
pub(crate) mod error_map;
#[path = "01_fetch.rs"]
mod fetch;
pub(crate) mod fetch_session;
#[path = "10_find_coordinator.rs"]
mod find_coordinator;
#[path = "12_heartbeat.rs"]
mod heartbeat;
#[path = "44_incremental_alter_configs.rs"]
mod incremental_alter_configs;
#[path = "22_init_producer_id.rs"]
mod init_producer_id;
#[path = "11_join_group.rs"]
mod join_group;
#[path = "13_leave_group.rs"]
mod leave_group;
#[path = "74_list_config_resources.rs"]
mod list_config_resources;
#[path = "16_list_groups.rs"]
mod list_groups;
#[path = "02_list_offsets.rs"]
mod list_offsets;
#[path = "46_list_partition_reassignments.rs"]
mod list_partition_reassignments;
#[path = "03_metadata.rs"]
mod metadata;
#[path = "08_offset_commit.rs"]
mod offset_commit;
#[path = "47_offset_delete.rs"]
mod offset_delete;
#[path = "09_offset_fetch.rs"]
mod offset_fetch;
#[path = "23_offset_for_leader_epoch.rs"]
mod offset_for_leader_epoch;
mod offsets_topic;
#[path = "00_produce.rs"]
mod produce;
mod scatter;
#[path = "14_sync_group.rs"]
mod sync_group;
mod topic_creation;
mod topic_name;
#[path = "64_unregister_broker.rs"]
mod unregister_broker;

use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use thalweg_protocol::{ApiKey, Request};

use crate::server::connection::{CloseReason, Connection};
use crate::server::dispatch::{Answer, Incoming};

/// The APIs this broker serves, in the order of their keys; everything else closes the connection.
pub(crate) const SERVED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::OffsetDelete,
    ApiKey::DescribeQuorum,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::UnregisterBroker,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::ListConfigResources,
    ApiKey::DescribeTopicPartitions,
];

/// Starts a request; the future resolves with its answer.
pub(crate) async fn start(
    incoming: Incoming,
) -> Result<LocalBoxFuture<'static, Answer>, CloseReason> {
    match incoming.header.api_key {
        ApiKey::Produce => produce::start(incoming).await,
        ApiKey::Fetch => fetch::start(incoming),
        ApiKey::ListOffsets => serve(incoming, list_offsets::handle),
        ApiKey::Metadata => serve(incoming, metadata::handle),
        ApiKey::OffsetCommit => serve(incoming, offset_commit::handle),
        ApiKey::OffsetFetch => serve(incoming, offset_fetch::handle),
        ApiKey::FindCoordinator => serve(incoming, find_coordinator::handle),
        ApiKey::JoinGroup => join_group::start(incoming),
        ApiKey::Heartbeat => serve(incoming, heartbeat::handle),
        ApiKey::LeaveGroup => serve(incoming, leave_group::handle),
        ApiKey::SyncGroup => serve(incoming, sync_group::handle),
        ApiKey::DescribeGroups => serve(incoming, describe_groups::handle),
        ApiKey::ListGroups => serve(incoming, list_groups::handle),
        ApiKey::ApiVersions => serve(incoming, api_versions::handle),
        ApiKey::CreateTopics => serve(incoming, create_topics::handle),
        ApiKey::DeleteTopics => serve(incoming, delete_topics::handle),
        ApiKey::DeleteRecords => serve(incoming, delete_records::handle),
        ApiKey::InitProducerId => serve(incoming, init_producer_id::handle),
        ApiKey::OffsetForLeaderEpoch => serve(incoming, offset_for_leader_epoch::handle),
        ApiKey::DescribeConfigs => serve(incoming, describe_configs::handle),
        ApiKey::AlterConfigs => serve(incoming, alter_configs::handle),
        ApiKey::DescribeLogDirs => serve(incoming, describe_log_dirs::handle),
        ApiKey::CreatePartitions => serve(incoming, create_partitions::handle),
        ApiKey::DeleteGroups => serve(incoming, delete_groups::handle),
        ApiKey::ElectLeaders => serve(incoming, elect_leaders::handle),
        ApiKey::IncrementalAlterConfigs => serve(incoming, incremental_alter_configs::handle),
        ApiKey::AlterPartitionReassignments => {
            serve(incoming, alter_partition_reassignments::handle)
        }
        ApiKey::ListPartitionReassignments => serve(incoming, list_partition_reassignments::handle),
        ApiKey::OffsetDelete => serve(incoming, offset_delete::handle),
        ApiKey::DescribeQuorum => serve(incoming, describe_quorum::handle),
        ApiKey::DescribeCluster => serve(incoming, describe_cluster::handle),
        ApiKey::DescribeProducers => serve(incoming, describe_producers::handle),
        ApiKey::UnregisterBroker => serve(incoming, unregister_broker::handle),
        ApiKey::ConsumerGroupHeartbeat => consumer_group_heartbeat::start(incoming),
        ApiKey::ConsumerGroupDescribe => serve(incoming, consumer_group_describe::handle),
        ApiKey::ListConfigResources => serve(incoming, list_config_resources::handle),
        ApiKey::DescribeTopicPartitions => serve(incoming, describe_topic_partitions::handle),
        other => Err(CloseReason::Unsupported(format!("{other} is not served"))),
    }
}

/// An API whose place in the order of things does not matter: all of it happens when its turn to
/// be answered comes.
fn serve<R, H, Fut>(
    mut incoming: Incoming,
    handler: H,
) -> Result<LocalBoxFuture<'static, Answer>, CloseReason>
where
    R: Request + 'static,
    H: FnOnce(Rc<Connection>, i16, R) -> Fut + 'static,
    Fut: Future<Output = R::Response>,
{
    let request = incoming.decode::<R>()?;
    Ok(async move {
        let connection = Rc::clone(&incoming.connection);
        let response = handler(connection, incoming.version(), request).await;
        incoming.answer(&response)
    }
    .boxed_local())
}
