//! DescribeConfigs (key 32), versions 1–4: all configurations with value, source and synonyms.

use std::rc::Rc;

use thalweg_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::config_resource::Resource;
use super::topic_creation::Refusal;
use crate::node::Node;
use crate::server::connection::Connection;
use crate::topic_config::{
    DescribedConfig, describe_broker, describe_cluster_default, describe_drained, describe_topic,
};

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let (synonyms, documentation) = (request.include_synonyms, request.include_documentation);
    let results = request.resources.into_iter().map(|resource| {
        let mut result = DescribeConfigsResult {
            error_message: None,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..DescribeConfigsResult::default()
        };
        match describe(&connection.shard.node, &resource) {
            Ok(configs) => {
                let shown = configs.into_iter().map(|config| show(config, synonyms, documentation));
                result.configs = shown.collect();
            }
            Err(refusal) => {
                result.error_code = refusal.code.code();
                result.error_message = Some(refusal.message.into());
            }
        }
        result
    });
    DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() }
}

fn describe(node: &Node, asked: &DescribeConfigsResource) -> Result<Vec<DescribedConfig>, Refusal> {
    let resource = Resource::find(node, asked.resource_type, &asked.resource_name)?;
    let (config, image) = (node.config(), node.images.load());
    let mut all = match &resource {
        Resource::Topic(_) => describe_topic(&config, &resource.overrides(&image)),
        Resource::Broker(id) if *id != node.id => {
            let message = format!("ask broker {id} itself: this is broker {}", node.id);
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        Resource::Broker(_) => {
            let mut all = describe_broker(&config);
            all.push(describe_drained(&resource.overrides(&image)));
            all
        }
        Resource::AllBrokers => describe_cluster_default(&resource.overrides(&image)),
    };
    // No list, and an empty one, mean all of them.
    if let Some(keys) = asked.configuration_keys.as_ref().filter(|keys| !keys.is_empty()) {
        all.retain(|config| keys.iter().any(|key| **key == *config.name));
    }
    Ok(all)
}

fn show(
    config: DescribedConfig,
    synonyms: bool,
    documentation: bool,
) -> DescribeConfigsResourceResult {
    let synonym = |synonym: crate::topic_config::DescribedSynonym| DescribeConfigsSynonym {
        name: synonym.name.into(),
        value: Some(synonym.value.into()),
        source: synonym.source.code(),
        ..DescribeConfigsSynonym::default()
    };
    DescribeConfigsResourceResult {
        name: config.name.into(),
        value: config.value.map(KafkaStr::from),
        read_only: config.read_only,
        config_source: config.source.code(),
        is_sensitive: false,
        synonyms: match synonyms {
            true => config.synonyms.into_iter().map(synonym).collect(),
            false => Vec::new(),
        },
        config_type: config.config_type,
        documentation: documentation.then(|| config.documentation.into()),
        ..DescribeConfigsResourceResult::default()
    }
}
