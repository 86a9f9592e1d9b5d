//! Reading and changing the configs of topics, brokers and groups.
//!
//! Only a broker itself knows what its configuration file says, so what is asked about a broker
//! goes to that broker, and all else to any.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use thalweg_protocol::messages::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult,
};
use thalweg_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig,
};
use thalweg_protocol::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
};
use thalweg_protocol::{KafkaStr, NodeId};

use super::{Admin, AdminError, ItemError};
use crate::cluster::Target;

/// What kind of thing has configs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceType {
    /// A topic, by name.
    Topic,
    /// A broker, by id; with an empty name, all brokers.
    Broker,
    /// The log levels of a broker, by its id.
    BrokerLogger,
    /// A subscription to clients' metrics, by name.
    ClientMetrics,
    /// A group, by id.
    Group,
    /// A kind younger than this software.
    Unknown(i8),
}

impl ResourceType {
    fn on_the_wire(self) -> i8 {
        match self {
            ResourceType::Topic => 2,
            ResourceType::Broker => 4,
            ResourceType::BrokerLogger => 8,
            ResourceType::ClientMetrics => 16,
            ResourceType::Group => 32,
            ResourceType::Unknown(code) => code,
        }
    }

    fn from_wire(code: i8) -> Self {
        match code {
            2 => ResourceType::Topic,
            4 => ResourceType::Broker,
            8 => ResourceType::BrokerLogger,
            16 => ResourceType::ClientMetrics,
            32 => ResourceType::Group,
            code => ResourceType::Unknown(code),
        }
    }
}

/// Something that has configs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConfigResource {
    /// Its kind.
    pub kind: ResourceType,
    /// Its name among its kind.
    pub name: Arc<str>,
}

impl ConfigResource {
    /// A topic.
    pub fn topic(name: &str) -> Self {
        ConfigResource { kind: ResourceType::Topic, name: name.into() }
    }

    /// One broker.
    pub fn broker(id: NodeId) -> Self {
        ConfigResource { kind: ResourceType::Broker, name: id.to_string().into() }
    }

    /// All brokers: what each of them is configured with unless it has its own.
    pub fn all_brokers() -> Self {
        ConfigResource { kind: ResourceType::Broker, name: "".into() }
    }

    /// A group.
    pub fn group(id: &str) -> Self {
        ConfigResource { kind: ResourceType::Group, name: id.into() }
    }

    /// Brokers answer for themselves: only the one asked about knows its own file.
    fn target(&self) -> Target {
        match (self.kind, self.name.parse()) {
            (ResourceType::Broker | ResourceType::BrokerLogger, Ok(id)) => {
                Target::Broker(NodeId(id))
            }
            _ => Target::AnyBroker,
        }
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "(all)" } else { &self.name };
        match self.kind {
            ResourceType::Topic => write!(f, "topic {name}"),
            ResourceType::Broker => write!(f, "broker {name}"),
            ResourceType::BrokerLogger => write!(f, "loggers of broker {name}"),
            ResourceType::ClientMetrics => write!(f, "client metrics {name}"),
            ResourceType::Group => write!(f, "group {name}"),
            ResourceType::Unknown(kind) => write!(f, "resource {name} of kind {kind}"),
        }
    }
}

/// A config and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name.
    pub name: Arc<str>,
    /// Its value; none if it has none, or is a secret.
    pub value: Option<Arc<str>>,
    /// Whether it can only be set before the broker starts.
    pub is_read_only: bool,
    /// Whether its value is a secret.
    pub is_sensitive: bool,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// What kind of value it takes.
    pub kind: ConfigType,
    /// All places that the value could come from, the deciding one first, if asked for.
    pub synonyms: Vec<ConfigSynonym>,
    /// What it is for, if the broker says.
    pub documentation: Option<Arc<str>>,
}

/// One place that a value could come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// Its name there.
    pub name: Arc<str>,
    /// Its value there.
    pub value: Option<Arc<str>>,
    /// The place.
    pub source: ConfigSource,
}

macro_rules! codes {
    (
        $(#[$doc:meta])*
        $Name:ident { $($(#[$variant_doc:meta])* $Variant:ident = $code:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Name {
            $($(#[$variant_doc])* $Variant,)+
            /// One younger than this software, or one that the broker does not tell.
            Unknown(i8),
        }

        impl $Name {
            fn from_wire(code: i8) -> Self {
                match code {
                    $($code => $Name::$Variant,)+
                    code => $Name::Unknown(code),
                }
            }
        }
    };
}

codes! {
    /// Where the value of a config comes from (KIP-226).
    ConfigSource {
        /// It was set on the topic.
        Topic = 1,
        /// It was set on this broker while it ran.
        Broker = 2,
        /// It was set on all brokers while they ran.
        AllBrokers = 3,
        /// The broker's configuration file.
        StaticBroker = 4,
        /// Built in.
        Default = 5,
        /// It was set on the broker's logger.
        BrokerLogger = 6,
        /// It was set on the subscription to clients' metrics.
        ClientMetrics = 7,
        /// It was set on the group.
        Group = 8,
    }
}

codes! {
    /// What kind of value a config takes.
    ConfigType {
        /// `true` or `false`.
        Boolean = 1,
        /// Text.
        String = 2,
        /// 32 bits.
        Int = 3,
        /// 16 bits.
        Short = 4,
        /// 64 bits.
        Long = 5,
        /// Floating point.
        Double = 6,
        /// Texts separated by commas.
        List = 7,
        /// The name of a Java class.
        Class = 8,
        /// A secret.
        Password = 9,
    }
}

/// A change of one config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// Gives it a value.
    Set(String, String),
    /// Gives it back its default.
    Delete(String),
    /// Adds to its list.
    Append(String, String),
    /// Takes from its list.
    Subtract(String, String),
}

impl ConfigChange {
    fn on_the_wire(&self) -> AlterableConfig {
        let (config_operation, name, value) = match self {
            ConfigChange::Set(name, value) => (0, name, Some(value)),
            ConfigChange::Delete(name) => (1, name, None),
            ConfigChange::Append(name, value) => (2, name, Some(value)),
            ConfigChange::Subtract(name, value) => (3, name, Some(value)),
        };
        AlterableConfig {
            name: KafkaStr::copied_from(name),
            config_operation,
            value: value.map(|value| KafkaStr::copied_from(value)),
            ..AlterableConfig::default()
        }
    }
}

impl Admin {
    /// All configs of each resource, with where their values come from.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
    ) -> Result<Vec<Result<Vec<Config>, ItemError>>, AdminError> {
        let mut outcomes: HashMap<ConfigResource, _> = HashMap::new();
        for (target, of_target) in by_target(resources.iter()) {
            let resource = |resource: &&ConfigResource| DescribeConfigsResource {
                resource_type: resource.kind.on_the_wire(),
                resource_name: KafkaStr::copied_from(&resource.name),
                configuration_keys: None,
                ..DescribeConfigsResource::default()
            };
            let build = |version| DescribeConfigsRequest {
                resources: of_target.iter().map(resource).collect(),
                include_synonyms: true,
                include_documentation: version >= 3,
                ..DescribeConfigsRequest::default()
            };
            for result in self.call(target, build).await?.results {
                let resource = ConfigResource {
                    kind: ResourceType::from_wire(result.resource_type),
                    name: result.resource_name.as_str().into(),
                };
                let message = result.error_message.as_ref();
                let outcome = ItemError::check(&resource.to_string(), result.error_code, message);
                let configs = || result.configs.iter().map(config).collect();
                outcomes.insert(resource, outcome.map(|()| configs()));
            }
        }
        Ok(in_order(resources.iter(), &mut outcomes))
    }

    /// Changes single configs of each resource and leaves the others as they are (KIP-339). With
    /// `validate_only`, only says what would come of it.
    pub async fn alter_configs(
        &self,
        changes: &[(ConfigResource, Vec<ConfigChange>)],
        validate_only: bool,
    ) -> Result<Vec<Result<(), ItemError>>, AdminError> {
        let mut outcomes = HashMap::new();
        let resources = changes.iter().map(|(resource, _)| resource);
        for (target, of_target) in by_target(resources.clone()) {
            let target = match target {
                // Who is down cannot be asked, but others can be told about it.
                Target::Broker(id) if !self.cluster.metadata().brokers.contains_key(&id) => {
                    Target::AnyBroker
                }
                target => target,
            };
            let of_target = changes.iter().filter(|(resource, _)| of_target.contains(&resource));
            let resource =
                |(resource, changes): &(ConfigResource, Vec<ConfigChange>)| AlterConfigsResource {
                    resource_type: resource.kind.on_the_wire(),
                    resource_name: KafkaStr::copied_from(&resource.name),
                    configs: changes.iter().map(ConfigChange::on_the_wire).collect(),
                    ..AlterConfigsResource::default()
                };
            let build = |_| IncrementalAlterConfigsRequest {
                resources: of_target.clone().map(resource).collect(),
                validate_only,
                ..IncrementalAlterConfigsRequest::default()
            };
            for result in self.call(target, build).await?.responses {
                let resource = ConfigResource {
                    kind: ResourceType::from_wire(result.resource_type),
                    name: result.resource_name.as_str().into(),
                };
                let message = result.error_message.as_ref();
                let outcome = ItemError::check(&resource.to_string(), result.error_code, message);
                outcomes.insert(resource, outcome);
            }
        }
        Ok(in_order(resources, &mut outcomes))
    }

    /// The resources that have configs of the given kinds, or of all kinds (KIP-1142).
    pub async fn list_config_resources(
        &self,
        kinds: &[ResourceType],
    ) -> Result<Vec<ConfigResource>, AdminError> {
        let build = |version| ListConfigResourcesRequest {
            // Version 0 knows client metrics only, and cannot be asked for anything else.
            resource_types: match version {
                0 => Vec::new(),
                _ => kinds.iter().map(|kind| kind.on_the_wire()).collect(),
            },
            ..ListConfigResourcesRequest::default()
        };
        let response = self.call(Target::AnyBroker, build).await?;
        ItemError::check("config resources", response.error_code, None)?;
        let resources = response.config_resources.iter().map(|resource| ConfigResource {
            kind: ResourceType::from_wire(resource.resource_type),
            name: resource.resource_name.as_str().into(),
        });
        Ok(resources.collect())
    }
}

fn by_target<'a>(
    resources: impl Iterator<Item = &'a ConfigResource>,
) -> Vec<(Target, Vec<&'a ConfigResource>)> {
    let mut groups: Vec<(Target, Vec<&ConfigResource>)> = Vec::new();
    for resource in resources {
        let target = resource.target();
        match groups.iter_mut().find(|(known, _)| *known == target) {
            Some((_, group)) => group.push(resource),
            None => groups.push((target, vec![resource])),
        }
    }
    groups
}

fn in_order<'a, T>(
    resources: impl Iterator<Item = &'a ConfigResource>,
    outcomes: &mut HashMap<ConfigResource, Result<T, ItemError>>,
) -> Vec<Result<T, ItemError>> {
    let left_out = |resource: &ConfigResource| Err(ItemError::left_out(&resource.to_string()));
    resources
        .map(|resource| outcomes.remove(resource).unwrap_or_else(|| left_out(resource)))
        .collect()
}

fn config(result: &DescribeConfigsResourceResult) -> Config {
    let synonyms = result.synonyms.iter().map(|synonym| ConfigSynonym {
        name: synonym.name.as_str().into(),
        value: text(synonym.value.as_ref()),
        source: ConfigSource::from_wire(synonym.source),
    });
    Config {
        name: result.name.as_str().into(),
        value: text(result.value.as_ref()),
        is_read_only: result.read_only,
        is_sensitive: result.is_sensitive,
        source: ConfigSource::from_wire(result.config_source),
        kind: ConfigType::from_wire(result.config_type),
        synonyms: synonyms.collect(),
        documentation: text(result.documentation.as_ref()).filter(|text| !text.is_empty()),
    }
}

fn text(text: Option<&KafkaStr>) -> Option<Arc<str>> {
    text.map(|text| text.as_str().into())
}
