//! IncrementalAlterConfigs (key 44), versions 0–1: sets, deletes, appends to or subtracts from
//! single configurations and leaves the others alone (KIP-339).

use std::rc::Rc;

use thalweg_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::config_resource::Resource;
use super::error_map;
use super::topic_creation::Refusal;
use crate::server::connection::Connection;
use crate::shard::Shard;
use crate::topic_config::{AlterError, Change, Operation};

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::new();
    for resource in request.resources {
        let refusal = alter(&connection.shard, &resource, request.validate_only).await.err();
        responses.push(AlterConfigsResourceResponse {
            error_code: refusal.as_ref().map_or(0, |refusal| refusal.code.code()),
            error_message: refusal.map(|refusal| refusal.message.into()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            ..AlterConfigsResourceResponse::default()
        });
    }
    IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() }
}

async fn alter(
    shard: &Rc<Shard>,
    asked: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    let resource = Resource::find(&shard.node, asked.resource_type, &asked.resource_name)?;
    let changes = asked.configs.iter().map(|config| {
        Ok(Change {
            name: &config.name,
            operation: Operation::try_from(config.config_operation)?,
            value: config.value.as_deref(),
        })
    });
    let changes = changes
        .collect::<Result<Vec<_>, AlterError>>()
        .map_err(|error| Refusal::new(error_map::of_alteration(&error), error))?;
    resource.alter(shard, &changes, false, validate_only).await
}
