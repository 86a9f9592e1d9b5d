//! ListConfigResources (key 74), versions 0–1. Version 0 lists client metrics, which there are none
//! of; version 1 lists what is asked for, or everything (KIP-1142).

use std::rc::Rc;

use thalweg_protocol::KafkaStr;
use thalweg_protocol::messages::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};

use super::config_resource::{TYPE_BROKER, TYPE_TOPIC};
use crate::server::connection::Connection;

pub(super) async fn handle(
    connection: Rc<Connection>,
    version: i16,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let image = connection.shard.node.images.load();
    let wants = |kind: i8| {
        version > 0 && (request.resource_types.is_empty() || request.resource_types.contains(&kind))
    };
    let resource = |resource_type: i8, name: &str| ConfigResource {
        resource_name: KafkaStr::copied_from(name),
        resource_type,
        ..ConfigResource::default()
    };
    let mut config_resources = Vec::new();
    if wants(TYPE_TOPIC) {
        config_resources.extend(image.topics.keys().map(|name| resource(TYPE_TOPIC, name)));
    }
    if wants(TYPE_BROKER) {
        let brokers = image.brokers.keys().map(|id| resource(TYPE_BROKER, &id.to_string()));
        config_resources.extend(brokers);
    }
    ListConfigResourcesResponse { config_resources, ..ListConfigResourcesResponse::default() }
}
