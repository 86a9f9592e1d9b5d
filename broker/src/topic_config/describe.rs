//! What DescribeConfigs says: every configuration with its value and where the value comes from.
//!
//! Kafka leaves out a synonym whose name differs from the first (`log.retention.hours` under
//! `retention.ms`) and then calls the value a default even if the file set it; here the true source
//! is told. Source: KIP-226, KIP-569.

use std::collections::BTreeMap;

use super::settings::inherited;
use super::table::{Effect, TOPIC_CONFIGS, TopicConfig, broker_documentation};
use crate::config::kafka_names::{BROKER_DRAINED, BROKER_SETTINGS, BrokerSetting};
use crate::config::mirrors::{MIRRORS, Mirror};
use crate::config::{BrokerConfig, ConfigSource, keys};

/// One configuration as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConfig {
    /// Its name.
    pub name: &'static str,
    /// The value that counts; `None` for a broker setting that is unset.
    pub value: Option<String>,
    /// Where that value comes from.
    pub source: ConfigSource,
    /// Whether admin clients cannot change it.
    pub read_only: bool,
    /// The type's number.
    pub config_type: i8,
    /// All values it has anywhere, the one that counts first.
    pub synonyms: Vec<DescribedSynonym>,
    /// What it means.
    pub documentation: String,
}

/// One of the values a configuration has somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedSynonym {
    /// The name there.
    pub name: &'static str,
    /// The value there, in that name's own unit.
    pub value: String,
    /// Where.
    pub source: ConfigSource,
}

/// Every configuration of a topic with `overrides`.
pub fn describe_topic(
    broker: &BrokerConfig,
    overrides: &BTreeMap<String, String>,
) -> Vec<DescribedConfig> {
    TOPIC_CONFIGS
        .iter()
        .filter(|config| config.effect != Effect::Hidden)
        .map(|config| topic_entry(broker, overrides, config))
        .collect()
}

/// Every configuration of the broker itself (resource BROKER, named by its id).
pub fn describe_broker(broker: &BrokerConfig) -> Vec<DescribedConfig> {
    let settings = BROKER_SETTINGS.iter().map(|setting| {
        let synonyms = broker
            .kafka
            .named(setting.name)
            .map(|(value, source)| synonym(setting.name, value, source))
            .collect();
        broker_entry(setting, synonyms)
    });
    let mut all: Vec<_> =
        settings.chain(MIRRORS.iter().map(|it| mirror_entry(broker, it))).collect();
    all.sort_by_key(|entry| entry.name);
    all
}

/// Whether the broker with these stored settings is drained.
pub fn describe_drained(stored: &BTreeMap<String, String>) -> DescribedConfig {
    let source = ConfigSource::DynamicBroker;
    let value = stored.get(BROKER_DRAINED.name).map(String::as_str);
    let fallback = BROKER_DRAINED.default.map(|value| (value, ConfigSource::Default));
    let values = value.map(|value| (value, source)).into_iter().chain(fallback);
    let synonyms = values.map(|(value, source)| synonym(BROKER_DRAINED.name, value, source));
    broker_entry(&BROKER_DRAINED, synonyms.collect())
}

/// What is set for all brokers at once (resource BROKER with an empty name): only what admin
/// clients have set there.
pub fn describe_cluster_default(cluster: &BTreeMap<String, String>) -> Vec<DescribedConfig> {
    let source = ConfigSource::DynamicDefaultBroker;
    BROKER_SETTINGS
        .iter()
        .filter_map(|setting| {
            let value = cluster.get(setting.name)?;
            Some(broker_entry(setting, vec![synonym(setting.name, value, source)]))
        })
        .collect()
}

fn topic_entry(
    broker: &BrokerConfig,
    overrides: &BTreeMap<String, String>,
    config: &TopicConfig,
) -> DescribedConfig {
    let own = overrides.get(config.name);
    let mut synonyms: Vec<_> = own
        .map(|value| synonym(config.name, value, ConfigSource::DynamicTopic))
        .into_iter()
        .collect();
    synonyms.extend(
        broker
            .kafka
            .synonyms(config.synonyms)
            .into_iter()
            .map(|(known, value, source)| synonym(known.name, value, source)),
    );
    DescribedConfig {
        name: config.name,
        value: Some(own.cloned().unwrap_or_else(|| inherited(broker, config))),
        source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
        read_only: false,
        config_type: config.kind.config_type(),
        synonyms,
        documentation: config.documentation(),
    }
}

fn broker_entry(setting: &BrokerSetting, synonyms: Vec<DescribedSynonym>) -> DescribedConfig {
    let first = synonyms.first();
    DescribedConfig {
        name: setting.name,
        value: first.map(|first| first.value.clone()),
        source: first.map_or(ConfigSource::Default, |first| first.source),
        read_only: !setting.is_dynamic(),
        config_type: setting.kind.config_type(),
        synonyms,
        documentation: broker_documentation(setting),
    }
}

fn mirror_entry(broker: &BrokerConfig, mirror: &Mirror) -> DescribedConfig {
    let value = (mirror.show)(broker);
    let source = match broker.entries.contains_key(mirror.key) {
        true => ConfigSource::StaticBroker,
        false => ConfigSource::Default,
    };
    let documentation = keys::find(mirror.key).map(|key| key.documentation).unwrap_or_default();
    DescribedConfig {
        name: mirror.name,
        synonyms: vec![synonym(mirror.name, &value, source)],
        value: Some(value),
        source,
        read_only: true,
        config_type: mirror.config_type,
        documentation: format!("{documentation} Thalweg's name for it is {}.", mirror.key),
    }
}

fn synonym(name: &'static str, value: &str, source: ConfigSource) -> DescribedSynonym {
    DescribedSynonym { name, value: value.to_owned(), source }
}
