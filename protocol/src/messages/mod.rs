//! The messages of every API that we speak, one file each, named by its key.
//!
//! Structs and fields have the names of Kafka's own message definitions, so that its documentation
//! and every KIP apply. Whole requests and responses are here; the structs inside them in the
//! module of their API. [`for_each_api!`](crate::for_each_api) lists all.

#[path = "33_alter_configs.rs"]
pub mod alter_configs;
#[path = "45_alter_partition_reassignments.rs"]
pub mod alter_partition_reassignments;
#[path = "18_api_versions.rs"]
pub mod api_versions;
#[path = "69_consumer_group_describe.rs"]
pub mod consumer_group_describe;
#[path = "68_consumer_group_heartbeat.rs"]
pub mod consumer_group_heartbeat;
#[path = "37_create_partitions.rs"]
pub mod create_partitions;
#[path = "19_create_topics.rs"]
pub mod create_topics;
#[path = "42_delete_groups.rs"]
pub mod delete_groups;
#[path = "21_delete_records.rs"]
pub mod delete_records;
#[path = "20_delete_topics.rs"]
pub mod delete_topics;
#[path = "60_describe_cluster.rs"]
pub mod describe_cluster;
#[path = "32_describe_configs.rs"]
pub mod describe_configs;
#[path = "15_describe_groups.rs"]
pub mod describe_groups;
#[path = "35_describe_log_dirs.rs"]
pub mod describe_log_dirs;
#[path = "61_describe_producers.rs"]
pub mod describe_producers;
#[path = "55_describe_quorum.rs"]
pub mod describe_quorum;
#[path = "75_describe_topic_partitions.rs"]
pub mod describe_topic_partitions;
#[path = "43_elect_leaders.rs"]
pub mod elect_leaders;
#[path = "01_fetch.rs"]
pub mod fetch;
#[path = "10_find_coordinator.rs"]
pub mod find_coordinator;
#[path = "12_heartbeat.rs"]
pub mod heartbeat;
#[path = "44_incremental_alter_configs.rs"]
pub mod incremental_alter_configs;
#[path = "22_init_producer_id.rs"]
pub mod init_producer_id;
#[path = "11_join_group.rs"]
pub mod join_group;
#[path = "13_leave_group.rs"]
pub mod leave_group;
#[path = "74_list_config_resources.rs"]
pub mod list_config_resources;
#[path = "16_list_groups.rs"]
pub mod list_groups;
#[path = "02_list_offsets.rs"]
pub mod list_offsets;
#[path = "46_list_partition_reassignments.rs"]
pub mod list_partition_reassignments;
#[path = "03_metadata.rs"]
pub mod metadata;
#[path = "08_offset_commit.rs"]
pub mod offset_commit;
#[path = "47_offset_delete.rs"]
pub mod offset_delete;
#[path = "09_offset_fetch.rs"]
pub mod offset_fetch;
#[path = "23_offset_for_leader_epoch.rs"]
pub mod offset_for_leader_epoch;
#[path = "00_produce.rs"]
pub mod produce;
#[path = "36_sasl_authenticate.rs"]
pub mod sasl_authenticate;
#[path = "17_sasl_handshake.rs"]
pub mod sasl_handshake;
#[path = "14_sync_group.rs"]
pub mod sync_group;
#[path = "64_unregister_broker.rs"]
pub mod unregister_broker;

pub use alter_configs::{AlterConfigsRequest, AlterConfigsResponse};
pub use alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};
pub use api_versions::{ApiVersionsRequest, ApiVersionsResponse};
pub use consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
pub use consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
pub use create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse};
pub use create_topics::{CreateTopicsRequest, CreateTopicsResponse};
pub use delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
pub use delete_records::{DeleteRecordsRequest, DeleteRecordsResponse};
pub use delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
pub use describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
pub use describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse};
pub use describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
pub use describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
pub use describe_producers::{DescribeProducersRequest, DescribeProducersResponse};
pub use describe_quorum::{DescribeQuorumRequest, DescribeQuorumResponse};
pub use describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
pub use elect_leaders::{ElectLeadersRequest, ElectLeadersResponse};
pub use fetch::{FetchRequest, FetchResponse};
pub use find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
pub use heartbeat::{HeartbeatRequest, HeartbeatResponse};
pub use incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
pub use init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
pub use join_group::{JoinGroupRequest, JoinGroupResponse};
pub use leave_group::{LeaveGroupRequest, LeaveGroupResponse};
pub use list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse};
pub use list_groups::{ListGroupsRequest, ListGroupsResponse};
pub use list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
pub use list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
pub use metadata::{MetadataRequest, MetadataResponse};
pub use offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
pub use offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
pub use offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
pub use offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
pub use produce::{ProduceRequest, ProduceResponse};
pub use sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
pub use sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
pub use sync_group::{SyncGroupRequest, SyncGroupResponse};
pub use unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use crate::message::Request;

/// Hands `Api: Request, Response;` for every API that we speak to another macro, in order of keys.
#[macro_export]
#[doc(hidden)]
macro_rules! for_each_api {
    ($callback:path) => {
        $callback! {
            Produce: ProduceRequest, ProduceResponse;
            Fetch: FetchRequest, FetchResponse;
            ListOffsets: ListOffsetsRequest, ListOffsetsResponse;
            Metadata: MetadataRequest, MetadataResponse;
            OffsetCommit: OffsetCommitRequest, OffsetCommitResponse;
            OffsetFetch: OffsetFetchRequest, OffsetFetchResponse;
            FindCoordinator: FindCoordinatorRequest, FindCoordinatorResponse;
            JoinGroup: JoinGroupRequest, JoinGroupResponse;
            Heartbeat: HeartbeatRequest, HeartbeatResponse;
            LeaveGroup: LeaveGroupRequest, LeaveGroupResponse;
            SyncGroup: SyncGroupRequest, SyncGroupResponse;
            DescribeGroups: DescribeGroupsRequest, DescribeGroupsResponse;
            ListGroups: ListGroupsRequest, ListGroupsResponse;
            SaslHandshake: SaslHandshakeRequest, SaslHandshakeResponse;
            ApiVersions: ApiVersionsRequest, ApiVersionsResponse;
            CreateTopics: CreateTopicsRequest, CreateTopicsResponse;
            DeleteTopics: DeleteTopicsRequest, DeleteTopicsResponse;
            DeleteRecords: DeleteRecordsRequest, DeleteRecordsResponse;
            InitProducerId: InitProducerIdRequest, InitProducerIdResponse;
            OffsetForLeaderEpoch: OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
            DescribeConfigs: DescribeConfigsRequest, DescribeConfigsResponse;
            AlterConfigs: AlterConfigsRequest, AlterConfigsResponse;
            DescribeLogDirs: DescribeLogDirsRequest, DescribeLogDirsResponse;
            SaslAuthenticate: SaslAuthenticateRequest, SaslAuthenticateResponse;
            CreatePartitions: CreatePartitionsRequest, CreatePartitionsResponse;
            DeleteGroups: DeleteGroupsRequest, DeleteGroupsResponse;
            ElectLeaders: ElectLeadersRequest, ElectLeadersResponse;
            IncrementalAlterConfigs:
                IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
            AlterPartitionReassignments:
                AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse;
            ListPartitionReassignments:
                ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse;
            OffsetDelete: OffsetDeleteRequest, OffsetDeleteResponse;
            DescribeQuorum: DescribeQuorumRequest, DescribeQuorumResponse;
            DescribeCluster: DescribeClusterRequest, DescribeClusterResponse;
            DescribeProducers: DescribeProducersRequest, DescribeProducersResponse;
            UnregisterBroker: UnregisterBrokerRequest, UnregisterBrokerResponse;
            ConsumerGroupHeartbeat:
                ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse;
            ConsumerGroupDescribe: ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse;
            ListConfigResources: ListConfigResourcesRequest, ListConfigResourcesResponse;
            DescribeTopicPartitions:
                DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse;
        }
    };
}

macro_rules! requests {
    ($($api:ident: $request:ident, $response:ident;)+) => {$(
        impl Request for $request {
            type Response = $response;
            const NAME: &'static str = stringify!($api);
        }
    )+};
}

for_each_api!(requests);
