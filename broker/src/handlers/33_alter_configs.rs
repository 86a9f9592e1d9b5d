//! AlterConfigs (key 33), versions 0–2: replaces all overrides of a resource by the given ones.
//! Kept for old clients; IncrementalAlterConfigs does not lose what it does not name.

use std::rc::Rc;

use thalweg_protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};

use super::config_resource::Resource;
use super::topic_creation::Refusal;
use crate::server::connection::Connection;
use crate::shard::Shard;
use crate::topic_config::{Change, Operation};

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut responses = Vec::new();
    for resource in request.resources {
        let refusal = replace(&connection.shard, &resource, request.validate_only).await.err();
        responses.push(AlterConfigsResourceResponse {
            error_code: refusal.as_ref().map_or(0, |refusal| refusal.code.code()),
            error_message: refusal.map(|refusal| refusal.message.into()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            ..AlterConfigsResourceResponse::default()
        });
    }
    AlterConfigsResponse { responses, ..AlterConfigsResponse::default() }
}

async fn replace(
    shard: &Rc<Shard>,
    asked: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    let resource = Resource::find(&shard.node, asked.resource_type, &asked.resource_name)?;
    let set = asked.configs.iter().map(|config| Change {
        name: &config.name,
        operation: Operation::Set,
        value: config.value.as_deref(),
    });
    resource.alter(shard, &set.collect::<Vec<_>>(), true, validate_only).await
}
