//! What a partition runs with, what admin clients see, and what they may change.

use std::collections::BTreeMap;

use thalweg_protocol::batch::TimestampType;
use thalweg_protocol::compression::Codec;

use super::table::TOPIC_CONFIGS;
use super::*;
use crate::config::{BrokerConfig, ConfigSource, Layers, kafka_names};

type Map = BTreeMap<String, String>;

fn map(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn broker(kafka: &str) -> BrokerConfig {
    let content = format!("[kafka]\n{kafka}\n");
    let file = Some((std::path::Path::new("t.toml"), content.as_str()));
    BrokerConfig::from_layers(Layers { file, ..Layers::default() }).expect("valid")
}

fn resolve(pairs: &[(&str, &str)]) -> Result<TopicSettings, InvalidConfig> {
    TopicSettings::resolve(&BrokerConfig::default(), &map(pairs))
}

fn described<'a>(all: &'a [DescribedConfig], name: &str) -> &'a DescribedConfig {
    all.iter().find(|config| config.name == name).unwrap_or_else(|| panic!("{name} is missing"))
}

fn synonyms(config: &DescribedConfig) -> Vec<(&str, &str, ConfigSource)> {
    config.synonyms.iter().map(|s| (s.name, s.value.as_str(), s.source)).collect()
}

#[test]
fn the_table_agrees_with_the_brokers() {
    for config in TOPIC_CONFIGS {
        let name = config.name;
        assert_eq!(config.kind.canonical(config.default).as_deref(), Ok(config.default), "{name}");
        for synonym in config.synonyms {
            let setting = kafka_names::find(synonym.name).unwrap_or_else(|| panic!("{name}"));
            if synonym.scale == 1 {
                assert_eq!(setting.kind, config.kind, "{name} and {}", setting.name);
            }
        }
        if config.effect != Effect::Hidden {
            let inherited = settings::inherited(&BrokerConfig::default(), config);
            assert_eq!(inherited, config.default, "{name}");
        }
    }
    assert!(TOPIC_CONFIGS.is_sorted_by_key(|config| config.name));
}

#[test]
fn every_configuration_of_kafka_4_3_is_described() {
    // LogConfig.nonInternalConfigNames() of Kafka 4.3, and write.caching.
    let names: Vec<_> = describe_topic(&BrokerConfig::default(), &Map::new())
        .into_iter()
        .map(|config| config.name)
        .collect();
    assert_eq!(
        names,
        [
            "cleanup.policy",
            "compression.gzip.level",
            "compression.lz4.level",
            "compression.type",
            "compression.zstd.level",
            "delete.retention.ms",
            "file.delete.delay.ms",
            "flush.messages",
            "flush.ms",
            "follower.replication.throttled.replicas",
            "index.interval.bytes",
            "leader.replication.throttled.replicas",
            "local.retention.bytes",
            "local.retention.ms",
            "max.compaction.lag.ms",
            "max.message.bytes",
            "message.timestamp.after.max.ms",
            "message.timestamp.before.max.ms",
            "message.timestamp.type",
            "min.cleanable.dirty.ratio",
            "min.compaction.lag.ms",
            "min.insync.replicas",
            "preallocate",
            "remote.log.copy.disable",
            "remote.log.delete.on.disable",
            "remote.storage.enable",
            "retention.bytes",
            "retention.ms",
            "segment.bytes",
            "segment.index.bytes",
            "segment.jitter.ms",
            "segment.ms",
            "unclean.leader.election.enable",
            "write.caching",
        ]
    );
}

#[test]
fn a_topic_without_overrides_has_kafkas_defaults() {
    let settings = resolve(&[]).expect("the defaults are valid");
    assert_eq!(settings.segment_bytes, 1 << 30);
    assert_eq!(settings.segment_ms, 604_800_000);
    assert_eq!((settings.delete, settings.compact), (true, false));
    assert_eq!((settings.retention_ms, settings.retention_bytes), (Some(604_800_000), None));
    assert_eq!(settings.max_message_bytes, 1_048_588);
    assert_eq!(settings.compression, TopicCompression::Producer);
    assert_eq!(settings.timestamp_type, TimestampType::CreateTime);
    assert_eq!(settings.timestamp_after_max_ms, 3_600_000);
    assert_eq!(settings.timestamp_before_max_ms, i64::MAX);
    assert_eq!(settings.min_insync_replicas, 1);
    assert!(!settings.write_caching, "durable unless somebody says otherwise");
    assert_eq!((settings.flush_messages, settings.flush_ms), (None, None));
}

#[test]
fn overrides_are_laid_over_the_brokers_settings() {
    let broker = broker(
        "log.retention.hours = 24\nlog.cleanup.policy = \"compact\"\nmin.insync.replicas = 2\n\
         compression.zstd.level = 7",
    );
    let overrides = map(&[
        ("min.insync.replicas", "3"),
        ("compression.type", "zstd"),
        ("write.caching", "TRUE"),
        ("flush.ms", "250"),
        ("retention.bytes", "-1"),
        ("message.timestamp.type", "LogAppendTime"),
    ]);
    let settings = TopicSettings::resolve(&broker, &overrides).expect("valid");
    assert_eq!(settings.retention_ms, Some(86_400_000), "hours become milliseconds");
    assert_eq!((settings.delete, settings.compact), (false, true));
    assert_eq!(settings.min_insync_replicas, 3);
    let zstd = TopicCompression::Codec { codec: Codec::Zstd, level: Some(7) };
    assert_eq!(settings.compression, zstd);
    assert_eq!(settings.timestamp_type, TimestampType::LogAppendTime);

    let log = settings.log_config();
    assert!(log.write_caching);
    assert_eq!(log.flush_ms_max, 250);
    assert_eq!(log.retention_ms, None, "a compacted topic drops nothing by time");
}

#[test]
fn the_first_synonym_set_counts_and_no_limit_survives_a_change_of_unit() {
    let retention = |kafka: &str| {
        TopicSettings::resolve(&broker(kafka), &Map::new()).expect("valid").retention_ms
    };
    assert_eq!(retention("log.retention.minutes = 2\nlog.retention.hours = 9"), Some(120_000));
    assert_eq!(retention("log.retention.ms = 7\nlog.retention.minutes = 2"), Some(7));
    assert_eq!(retention("log.retention.hours = -1"), None);
}

#[test]
fn a_dynamic_broker_setting_beats_the_file_even_under_a_later_name() {
    let broker = broker("log.retention.ms = 7")
        .with_dynamic(&map(&[("log.retention.ms", "8"), ("message.max.bytes", "99")]), &Map::new());
    let settings = TopicSettings::resolve(&broker, &Map::new()).expect("valid");
    assert_eq!((settings.retention_ms, settings.max_message_bytes), (Some(8), 99));
}

#[test]
fn each_compression_type_has_its_codec_and_level() {
    for (name, codec, level) in [
        ("uncompressed", Codec::None, None),
        ("gzip", Codec::Gzip, None),
        ("snappy", Codec::Snappy, None),
        ("lz4", Codec::Lz4, Some(9)),
        ("zstd", Codec::Zstd, Some(3)),
    ] {
        let settings = resolve(&[("compression.type", name)]).expect(name);
        assert_eq!(settings.compression, TopicCompression::Codec { codec, level }, "{name}");
    }
    let gzip = resolve(&[("compression.type", "gzip"), ("compression.gzip.level", "6")]);
    let expected = TopicCompression::Codec { codec: Codec::Gzip, level: Some(6) };
    assert_eq!(gzip.expect("valid").compression, expected);
}

#[test]
fn small_segments_are_for_tests_only_and_never_described() {
    assert!(resolve(&[("segment.bytes", "4096")]).is_err());
    let settings = resolve(&[("internal.segment.bytes", "4096")]).expect("valid");
    assert_eq!(settings.segment_bytes, 4096);
}

#[test]
fn refusals_say_what_is_wrong() {
    for (name, value, message) in [
        ("retention", "1", "there is no configuration called 'retention'"),
        ("retention.ms", "-2", "'-2' is no value for retention.ms: it must be at least -1"),
        ("retention.ms", "7d", "'7d' is no value for retention.ms: it must be a whole number"),
        (
            "cleanup.policy",
            "shred",
            "'shred' is no value for cleanup.policy: it must be one of: compact, delete",
        ),
        (
            "remote.storage.enable",
            "true",
            "'true' is no value for remote.storage.enable: this broker has no such feature, so it can only be false",
        ),
    ] {
        assert_eq!(validate(name, value).map_err(|e| e.to_string()), Err(message.to_owned()));
        let error = resolve(&[(name, value)]).expect_err("as validate says");
        assert_eq!(error.to_string(), message);
    }
    let lag = resolve(&[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")]);
    assert_eq!(lag, Err(InvalidConfig::CompactionLag { min: 9, max: 8 }));
}

#[test]
fn a_topics_values_are_described_with_their_sources() {
    let broker = broker("log.retention.hours = 24\nlog.segment.bytes = \"2MiB\"");
    let all = describe_topic(&broker, &map(&[("segment.bytes", "3145728")]));

    let segment = described(&all, "segment.bytes");
    assert_eq!(segment.value.as_deref(), Some("3145728"));
    assert_eq!((segment.source, segment.config_type), (ConfigSource::DynamicTopic, 3));
    assert_eq!(
        synonyms(segment),
        [
            ("segment.bytes", "3145728", ConfigSource::DynamicTopic),
            ("log.segment.bytes", "2097152", ConfigSource::StaticBroker),
            ("log.segment.bytes", "1073741824", ConfigSource::Default),
        ]
    );

    let retention = described(&all, "retention.ms");
    assert_eq!(retention.value.as_deref(), Some("86400000"));
    assert_eq!(retention.source, ConfigSource::StaticBroker);
    assert_eq!(
        synonyms(retention),
        [
            ("log.retention.hours", "24", ConfigSource::StaticBroker),
            ("log.retention.hours", "168", ConfigSource::Default),
        ]
    );

    let policy = described(&all, "cleanup.policy");
    assert_eq!((policy.source, policy.config_type), (ConfigSource::Default, 7));
    let remote = described(&all, "remote.storage.enable");
    assert_eq!(remote.value.as_deref(), Some("false"));
    assert!(remote.synonyms.is_empty());
    for config in &all {
        assert!(!config.read_only && config.documentation.len() > 20, "{}", config.name);
    }
    assert!(described(&all, "preallocate").documentation.contains("without effect in Thalweg"));
}

#[test]
fn a_brokers_settings_are_described_under_kafkas_names() {
    let content = "node_id = 5\n[kafka]\nnum.partitions = 3\n";
    let file = Some((std::path::Path::new("t.toml"), content));
    let broker = BrokerConfig::from_layers(Layers { file, ..Layers::default() }).expect("valid");
    let cluster = map(&[("message.max.bytes", "77")]);
    let all = describe_broker(&broker.with_dynamic(&cluster, &map(&[("log.roll.ms", "88")])));
    for (name, value, source, read_only) in [
        ("node.id", Some("5"), ConfigSource::StaticBroker, true),
        ("broker.id", Some("5"), ConfigSource::StaticBroker, true),
        ("listeners", Some("PLAINTEXT://127.0.0.1:9092"), ConfigSource::Default, true),
        ("num.partitions", Some("3"), ConfigSource::StaticBroker, true),
        ("message.max.bytes", Some("77"), ConfigSource::DynamicDefaultBroker, false),
        ("log.roll.ms", Some("88"), ConfigSource::DynamicBroker, false),
        ("log.retention.ms", None, ConfigSource::Default, false),
        ("socket.request.max.bytes", Some("104857600"), ConfigSource::Default, true),
    ] {
        let config = described(&all, name);
        assert_eq!(config.value.as_deref(), value, "{name}");
        assert_eq!((config.source, config.read_only), (source, read_only), "{name}");
    }
    let default: Vec<_> = describe_cluster_default(&cluster).iter().map(|c| c.name).collect();
    assert_eq!(default, ["message.max.bytes"]);
}

#[test]
fn replacing_drops_what_is_not_named() {
    let broker = BrokerConfig::default();
    let next = replace_topic(&broker, &[("retention.ms", Some(" 5 "))]).expect("valid");
    assert_eq!(next, map(&[("retention.ms", "5")]), "stored in its one way to write it");
    assert_eq!(
        replace_topic(&broker, &[("retention.ms", None)]),
        Err(AlterError::NoValue("retention.ms".into()))
    );
}

#[test]
fn increments_set_delete_append_and_subtract() {
    let broker = BrokerConfig::default();
    let change = |current: &Map, name: &str, operation, value: Option<&str>| {
        alter_topic(&broker, current, &[Change { name, operation, value }])
    };
    let both = change(&Map::new(), "cleanup.policy", Operation::Append, Some("compact"));
    let both = both.expect("appended to what the topic inherits");
    assert_eq!(both, map(&[("cleanup.policy", "delete,compact")]));
    let again = change(&both, "cleanup.policy", Operation::Append, Some("compact"));
    assert_eq!(again.as_ref(), Ok(&both), "appending what is there changes nothing");
    let one = change(&both, "cleanup.policy", Operation::Subtract, Some("delete,none"));
    assert_eq!(one, Ok(map(&[("cleanup.policy", "compact")])));
    assert_eq!(change(&both, "cleanup.policy", Operation::Delete, None), Ok(Map::new()));
    assert_eq!(change(&both, "retention.ms", Operation::Delete, None), Ok(both.clone()));
    let set = change(&both, "retention.ms", Operation::Set, Some("1"));
    assert_eq!(set.expect("valid").len(), 2);
}

#[test]
fn one_bad_key_refuses_the_whole_alteration() {
    let broker = BrokerConfig::default();
    let set = |name, value| Change { name, operation: Operation::Set, value: Some(value) };
    let refused = |changes: &[Change<'_>]| {
        alter_topic(&broker, &Map::new(), changes).expect_err("refused").to_string()
    };
    assert_eq!(
        refused(&[set("retention.ms", "1"), set("no.such", "1")]),
        "there is no configuration called 'no.such'"
    );
    assert_eq!(
        refused(&[set("retention.ms", "1"), set("retention.ms", "2")]),
        "'retention.ms' is named twice"
    );
    let append = Change { name: "retention.ms", operation: Operation::Append, value: Some("1") };
    assert_eq!(
        refused(&[append]),
        "retention.ms is not a list: nothing can be appended to it or subtracted from it"
    );
    assert_eq!(
        refused(&[Change { value: None, ..append }]),
        "'retention.ms' has no value: to take an override away, delete it"
    );
    assert_eq!(
        refused(&[set("max.compaction.lag.ms", "5"), set("min.compaction.lag.ms", "6")]),
        "min.compaction.lag.ms (6) is more than max.compaction.lag.ms (5)"
    );
    assert_eq!(Operation::try_from(4), Err(AlterError::UnknownOperation(4)));
}

#[test]
fn what_another_version_stored_can_be_taken_away() {
    let broker = BrokerConfig::default();
    let stored = map(&[("from.the.future", "1")]);
    assert!(TopicSettings::resolve(&broker, &stored).is_err());
    let delete = Change { name: "from.the.future", operation: Operation::Delete, value: None };
    assert_eq!(alter_topic(&broker, &stored, &[delete]), Ok(Map::new()));
    assert!(alter_topic(&broker, &Map::new(), &[delete]).is_err());
}

#[test]
fn broker_settings_are_altered_if_they_are_dynamic() {
    let broker = BrokerConfig::default();
    let set = |name, value| Change { name, operation: Operation::Set, value: Some(value) };
    let next = alter_broker(&broker, &Map::new(), &[set("log.retention.ms", "60000")]);
    assert_eq!(next, Ok(map(&[("log.retention.ms", "60000")])));
    for (name, message) in [
        (
            "num.partitions",
            "num.partitions cannot be changed while the broker runs: set it in its configuration file",
        ),
        (
            "listeners",
            "listeners cannot be changed while the broker runs: set it in its configuration file",
        ),
        ("no.such", "there is no configuration called 'no.such'"),
    ] {
        let error = alter_broker(&broker, &Map::new(), &[set(name, "1")]).expect_err(name);
        assert_eq!(error.to_string(), message);
    }
    let append =
        Change { name: "log.cleanup.policy", operation: Operation::Append, value: Some("compact") };
    let next = alter_broker(&broker, &Map::new(), &[append]).expect("valid");
    assert_eq!(next, map(&[("log.cleanup.policy", "delete,compact")]));
    assert!(alter_broker(&broker, &Map::new(), &[set("message.max.bytes", "-1")]).is_err());
    assert_eq!(replace_broker(&broker, &[]), Ok(Map::new()));
}

#[test]
fn one_broker_is_drained_and_never_all_of_them() {
    let broker = BrokerConfig::default();
    let name = "broker.drained";
    let set = Change { name, operation: Operation::Set, value: Some("true") };
    let drained = alter_broker(&broker, &Map::new(), &[set]).expect("valid");
    assert_eq!(drained, map(&[(name, "true")]));
    assert_eq!(describe_drained(&drained).value.as_deref(), Some("true"));
    assert_eq!(describe_drained(&Map::new()).value.as_deref(), Some("false"));
    let delete = Change { name, operation: Operation::Delete, value: None };
    assert_eq!(alter_broker(&broker, &drained, &[delete]), Ok(Map::new()));
    let refused = alter_all_brokers(&broker, &Map::new(), &[set]).expect_err("all at once");
    assert_eq!(
        refused.to_string(),
        "broker.drained is set for one broker, by its id, and not for all at once"
    );
}
