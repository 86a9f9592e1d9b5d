//! DescribeCluster (key 60), versions 0–2. Only brokers are described: controllers are not reached
//! by clients (KIP-919), so endpoint type 2 is MISMATCHED_ENDPOINT_TYPE. Fenced brokers are shown
//! to those who ask for them (KIP-1073).

use std::rc::Rc;

use thalweg_protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::metadata::CLUSTER_OPERATIONS;
use crate::server::connection::Connection;

const BROKERS: i8 = 1;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let node = &connection.shard.node;
    if request.endpoint_type != BROKERS {
        return DescribeClusterResponse {
            error_code: match request.endpoint_type {
                2 => ErrorCode::MismatchedEndpointType.code(),
                _ => ErrorCode::UnsupportedEndpointType.code(),
            },
            error_message: Some("this listener describes brokers (endpoint type 1)".into()),
            endpoint_type: request.endpoint_type,
            ..DescribeClusterResponse::default()
        };
    }
    let image = node.images.load();
    let shown = image.brokers.iter().filter(|(_, it)| request.include_fenced_brokers || !it.fenced);
    let brokers = shown.map(|(id, broker)| DescribeClusterBroker {
        broker_id: *id,
        host: KafkaStr::copied_from(&broker.host),
        port: i32::from(broker.port),
        rack: broker.rack.as_deref().map(KafkaStr::copied_from),
        is_fenced: broker.fenced,
        ..DescribeClusterBroker::default()
    });
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: KafkaStr::copied_from(&node.cluster_id),
        controller_id: node.id,
        brokers: brokers.collect(),
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => i32::MIN,
        },
        ..DescribeClusterResponse::default()
    }
}
