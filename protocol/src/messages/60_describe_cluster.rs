//! DescribeCluster (key 60), versions 0–2.
//!
//! The cluster's id, controller and brokers, without any topic (KIP-700).

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// What to say about the cluster.
    pub struct DescribeClusterRequest (DescribeCluster, versions 0..=2, flexible since 0) {
        include_cluster_authorized_operations: bool, 0..;
        /// 1 brokers, 2 controllers (KIP-919).
        endpoint_type: i8 = 1, 1..;
        include_fenced_brokers: bool, 2..;
    }
}

message! {
    /// The cluster.
    pub struct DescribeClusterResponse (DescribeCluster, versions 0..=2, flexible since 0) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = None, 0.., nullable 0..;
        /// 1 brokers, 2 controllers (KIP-919).
        endpoint_type: i8 = 1, 1..;
        cluster_id: KafkaStr, 0..;
        controller_id: i32 = -1, 0..;
        brokers: Vec<DescribeClusterBroker>, 0..;
        /// A bit for each operation the client may do, or `i32::MIN` when not asked.
        cluster_authorized_operations: i32 = i32::MIN, 0..;
    }

    /// A broker and where it is reached.
    pub struct DescribeClusterBroker {
        broker_id: i32, 0..;
        host: KafkaStr, 0..;
        port: i32, 0..;
        rack: Option<KafkaStr> = None, 0.., nullable 0..;
        is_fenced: bool, 2..;
    }
}
