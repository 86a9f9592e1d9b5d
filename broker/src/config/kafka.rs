//! The settings under Kafka's names: four layers of text, and the typed values they come to.
//!
//! From strong to weak: this broker's dynamic values, the cluster's dynamic values, the static ones
//! (file, environment, flags), and the defaults. Every text in a layer has passed its
//! setting's check, so reading it back cannot fail. Topics resolve theirs on top of these
//! (see [`TopicSettings`](crate::topic_config::TopicSettings)).

use std::collections::BTreeMap;
use std::str::FromStr;

use super::kafka_names::{self, BROKER_SETTINGS, BrokerSetting};
use super::value::BadValue;
use crate::group::{ConsumerSettings, GroupSettings};

/// Where a value comes from, with the numbers of DescribeConfigs (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set on the topic.
    DynamicTopic = 1,
    /// Set by an admin client for one broker.
    DynamicBroker = 2,
    /// Set by an admin client for all brokers.
    DynamicDefaultBroker = 3,
    /// Set in the broker's file, environment or flags.
    StaticBroker = 4,
    /// Set by nobody.
    Default = 5,
}

impl ConfigSource {
    /// The source's number in DescribeConfigs.
    pub fn code(self) -> i8 {
        self as i8
    }
}

/// One layer's values by Kafka's names.
pub type Layer = BTreeMap<&'static str, String>;

/// Another name for a setting, and what one of its units is worth in the setting's own.
#[derive(Clone, Copy, Debug)]
pub struct Synonym {
    /// The broker setting's name.
    pub name: &'static str,
    /// 1, or milliseconds per minute or hour.
    pub scale: i64,
}

/// The broker's settings under Kafka's names.
#[derive(Clone, Debug, PartialEq)]
pub struct KafkaSettings {
    /// Partitions of a topic created without a count.
    pub num_partitions: i32,
    /// Replicas of a topic created without a count.
    pub default_replication_factor: i16,
    /// Whether metadata requests may create topics.
    pub auto_create_topics: bool,
    /// Whether leadership goes back to the first replica.
    pub auto_leader_rebalance: bool,
    /// How long a broker may be silent before it is fenced.
    pub broker_session_timeout_ms: u64,
    /// Bytes a second for replicas that are behind; `u64::MAX` without a limit.
    pub leader_replication_throttled_rate: u64,
    /// The controller saves the cluster's image after so many bytes of changes.
    pub metadata_bytes_between_snapshots: usize,
    /// Whether topics can be deleted.
    pub delete_topics: bool,
    /// The most bytes of one Fetch answer.
    pub fetch_bytes_max: usize,
    /// How many fetch sessions are kept.
    pub fetch_sessions_max: usize,
    /// How often retention looks at each partition.
    pub retention_check_interval_ms: u64,
    /// How long a silent idempotent producer is remembered.
    pub producer_id_expiration_ms: u64,
    /// What consumer groups go by.
    pub groups: GroupSettings,
    layers: Layers,
}

/// What was set, by whom.
#[derive(Clone, Debug, Default, PartialEq)]
struct Layers {
    fixed: Layer,
    cluster: Layer,
    broker: Layer,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self::from_layers(Layers::default())
    }
}

impl KafkaSettings {
    /// Sets a static value, written as people write it (`7d`, `64MiB`).
    pub(super) fn set(
        &mut self,
        setting: &'static BrokerSetting,
        text: &str,
    ) -> Result<(), BadValue> {
        let value = setting.kind.canonical(&setting.unit.plain(text)?)?;
        let mut layers = self.layers.clone();
        layers.fixed.insert(setting.name, value);
        *self = Self::from_layers(layers);
        Ok(())
    }

    /// These settings with the dynamic layers replaced by what the cluster has stored.
    ///
    /// Names and values this version does not know are left out: another version of the
    /// broker may have accepted them, and a value must not stop this one from starting.
    pub fn with_dynamic(
        &self,
        cluster: &BTreeMap<String, String>,
        broker: &BTreeMap<String, String>,
    ) -> Self {
        Self::from_layers(Layers {
            fixed: self.layers.fixed.clone(),
            cluster: known(cluster),
            broker: known(broker),
        })
    }

    /// Gives `name` the static value it has in `running`, or none.
    pub(super) fn keep_static(&mut self, name: &'static str, running: &Self) {
        let mut layers = self.layers.clone();
        match running.layers.fixed.get(name) {
            Some(value) => layers.fixed.insert(name, value.clone()),
            None => layers.fixed.remove(name),
        };
        *self = Self::from_layers(layers);
    }

    /// Takes over the dynamic layers of `running`.
    pub(super) fn keep_dynamic(&mut self, running: &Self) {
        let fixed = std::mem::take(&mut self.layers.fixed);
        *self = Self::from_layers(Layers { fixed, ..running.layers.clone() });
    }

    /// The value of `name` that counts, and where it comes from; `None` while unset.
    pub fn get(&self, name: &str) -> Option<(&str, ConfigSource)> {
        self.layers.named(name).next()
    }

    /// Every value of `name`, the one that counts first.
    pub fn named(&self, name: &str) -> impl Iterator<Item = (&str, ConfigSource)> {
        self.layers.named(name)
    }

    /// Every value of every synonym, the one that counts first: a stronger layer beats a weaker
    /// one, and within a layer the earlier synonym beats the later.
    pub fn synonyms<'a>(
        &'a self,
        synonyms: &'static [Synonym],
    ) -> Vec<(&'static Synonym, &'a str, ConfigSource)> {
        let mut all: Vec<_> = synonyms
            .iter()
            .flat_map(|synonym| {
                self.named(synonym.name).map(move |(value, source)| (synonym, value, source))
            })
            .collect();
        all.sort_by_key(|(_, _, source)| *source);
        all
    }

    fn from_layers(layers: Layers) -> Self {
        Self {
            num_partitions: layers.read("num.partitions"),
            default_replication_factor: layers.read("default.replication.factor"),
            auto_create_topics: layers.read("auto.create.topics.enable"),
            auto_leader_rebalance: layers.read("auto.leader.rebalance.enable"),
            broker_session_timeout_ms: layers.read("broker.session.timeout.ms"),
            leader_replication_throttled_rate: match layers
                .read("leader.replication.throttled.rate")
            {
                i64::MAX => u64::MAX,
                rate => u64::try_from(rate).unwrap_or(1),
            },
            metadata_bytes_between_snapshots: layers
                .read("metadata.log.max.record.bytes.between.snapshots"),
            delete_topics: layers.read("delete.topic.enable"),
            fetch_bytes_max: layers.read("fetch.max.bytes"),
            fetch_sessions_max: layers.read("max.incremental.fetch.session.cache.slots"),
            retention_check_interval_ms: layers.read("log.retention.check.interval.ms"),
            producer_id_expiration_ms: layers.read("producer.id.expiration.ms"),
            groups: GroupSettings {
                session_timeout_ms_min: layers.read("group.min.session.timeout.ms"),
                session_timeout_ms_max: layers.read("group.max.session.timeout.ms"),
                initial_rebalance_delay_ms: layers.read("group.initial.rebalance.delay.ms"),
                members_max: layers.read("group.max.size"),
                offset_metadata_bytes_max: layers.read("offset.metadata.max.bytes"),
                offsets_retention_ms: layers.read::<i64>("offsets.retention.minutes") * 60_000,
                offsets_retention_check_interval_ms: layers
                    .read("offsets.retention.check.interval.ms"),
                offsets_topic_partitions: layers.read("offsets.topic.num.partitions"),
                offsets_topic_replication_factor: layers.read("offsets.topic.replication.factor"),
                offsets_topic_segment_bytes: layers.read("offsets.topic.segment.bytes"),
                consumer: consumer_settings(&layers),
            },
            layers,
        }
    }
}

impl Layers {
    fn named(&self, name: &str) -> impl Iterator<Item = (&str, ConfigSource)> {
        let default = kafka_names::find(name).and_then(|setting| setting.default);
        [
            (self.broker.get(name).map(String::as_str), ConfigSource::DynamicBroker),
            (self.cluster.get(name).map(String::as_str), ConfigSource::DynamicDefaultBroker),
            (self.fixed.get(name).map(String::as_str), ConfigSource::StaticBroker),
            (default, ConfigSource::Default),
        ]
        .into_iter()
        .filter_map(|(value, source)| Some((value?, source)))
    }

    fn read<T: FromStr>(&self, name: &str) -> T {
        let parsed = self.named(name).next().and_then(|(text, _)| text.parse().ok());
        parsed.unwrap_or_else(|| panic!("{name} was checked when it was set and must parse"))
    }
}

fn consumer_settings(layers: &Layers) -> ConsumerSettings {
    ConsumerSettings {
        session_timeout_ms: layers.read("group.consumer.session.timeout.ms"),
        heartbeat_interval_ms: layers.read("group.consumer.heartbeat.interval.ms"),
        assignment_interval_ms: layers.read("group.consumer.assignment.interval.ms"),
        members_max: layers.read("group.consumer.max.size"),
        assignors: layers.read("group.consumer.assignors"),
        migration: layers.read("group.consumer.migration.policy"),
    }
}

fn known(stored: &BTreeMap<String, String>) -> Layer {
    BROKER_SETTINGS
        .iter()
        .filter(|setting| setting.is_dynamic())
        .filter_map(|setting| {
            let value = setting.kind.canonical(stored.get(setting.name)?).ok()?;
            Some((setting.name, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn every_default_passes_its_own_check_and_is_canonical() {
        for setting in BROKER_SETTINGS {
            if let Some(default) = setting.default {
                assert_eq!(
                    setting.kind.canonical(default).as_deref(),
                    Ok(default),
                    "{}",
                    setting.name
                );
            }
        }
    }

    #[test]
    fn names_are_unique() {
        for (index, setting) in BROKER_SETTINGS.iter().enumerate() {
            assert!(
                BROKER_SETTINGS.iter().skip(index + 1).all(|other| other.name != setting.name),
                "{} is there twice",
                setting.name
            );
        }
    }

    #[test]
    fn the_strongest_layer_counts_and_the_others_are_listed_below_it() {
        let mut settings = KafkaSettings::default();
        let setting = kafka_names::find("message.max.bytes").expect("in the table");
        settings.set(setting, "2MiB").expect("a size");
        let settings = settings.with_dynamic(
            &stored(&[("message.max.bytes", "3"), ("no.such.setting", "1")]),
            &stored(&[("message.max.bytes", "4"), ("num.partitions", "9")]),
        );
        let all: Vec<_> = settings.named("message.max.bytes").collect();
        assert_eq!(
            all,
            [
                ("4", ConfigSource::DynamicBroker),
                ("3", ConfigSource::DynamicDefaultBroker),
                ("2097152", ConfigSource::StaticBroker),
                ("1048588", ConfigSource::Default),
            ]
        );
        assert_eq!(settings.num_partitions, 1, "a fixed setting takes no dynamic value");
    }
}
