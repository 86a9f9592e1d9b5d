//! The typed settings a partition runs with.

use std::collections::BTreeMap;
use std::str::FromStr;

use thalweg_protocol::batch::TimestampType;
use thalweg_protocol::compression::Codec;

use super::table::{self, TopicConfig};
use super::{InvalidConfig, canonical};
use crate::config::BrokerConfig;

/// A topic's settings: its overrides laid over the broker's.
///
/// A limit that Kafka writes as -1 is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicSettings {
    /// Size at which a segment is full.
    pub segment_bytes: u64,
    /// Age at which a segment is rolled even if it is not full.
    pub segment_ms: u64,
    /// The most by which `segment_ms` is cut short, at random.
    pub segment_jitter_ms: u64,
    /// What becomes of old segments.
    pub cleanup: Cleanup,
    /// How long records are kept.
    pub retention_ms: Option<u64>,
    /// How large the log may grow.
    pub retention_bytes: Option<u64>,
    /// How long compaction keeps tombstones.
    pub delete_retention_ms: u64,
    /// How long a record is safe from compaction.
    pub min_compaction_lag_ms: u64,
    /// How long a record may wait for compaction.
    pub max_compaction_lag_ms: u64,
    /// The uncompacted part of the log that makes compaction worth while.
    pub min_cleanable_dirty_ratio: f64,
    /// The largest batch, header included.
    pub max_message_bytes: usize,
    /// How batches are stored.
    pub compression: Compression,
    /// Who sets the timestamps.
    pub timestamp_type: TimestampType,
    /// How far a producer's timestamp may lie in the past.
    pub timestamp_before_max_ms: u64,
    /// How far a producer's timestamp may lie in the future.
    pub timestamp_after_max_ms: u64,
    /// Replicas that must be able to take a record for acks=all, beyond the majority.
    pub min_insync_replicas: usize,
    /// Whether a majority of page caches is enough for acks=all.
    pub write_caching: bool,
    /// With `write_caching`, how many records may be unflushed.
    pub flush_messages: u64,
    /// With `write_caching`, how long a record may be unflushed.
    pub flush_ms: u64,
}

/// What becomes of old segments; neither flag keeps everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanup {
    /// They are dropped by time and size.
    pub delete: bool,
    /// The last record of each key is kept.
    pub compact: bool,
}

/// How batches are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As the producer sent them.
    Producer,
    /// In this codec, at this level where it has levels.
    Codec {
        /// The codec; [`Codec::None`] stores batches uncompressed.
        codec: Codec,
        /// `None` for the codec's own default.
        level: Option<i32>,
    },
}

impl TopicSettings {
    /// Lays `overrides` over the broker's settings.
    pub fn resolve(
        broker: &BrokerConfig,
        overrides: &BTreeMap<String, String>,
    ) -> Result<Self, InvalidConfig> {
        for (name, value) in overrides {
            canonical(name, value)?;
        }
        let resolver = Resolver { broker, overrides };
        let segment_bytes = match overrides.contains_key("internal.segment.bytes") {
            true => resolver.get("internal.segment.bytes"),
            false => resolver.get("segment.bytes"),
        };
        let settings = Self {
            segment_bytes,
            segment_ms: resolver.get("segment.ms"),
            segment_jitter_ms: resolver.get("segment.jitter.ms"),
            cleanup: resolver.cleanup(),
            retention_ms: resolver.limit("retention.ms"),
            retention_bytes: resolver.limit("retention.bytes"),
            delete_retention_ms: resolver.get("delete.retention.ms"),
            min_compaction_lag_ms: resolver.get("min.compaction.lag.ms"),
            max_compaction_lag_ms: resolver.get("max.compaction.lag.ms"),
            min_cleanable_dirty_ratio: resolver.get("min.cleanable.dirty.ratio"),
            max_message_bytes: resolver.get("max.message.bytes"),
            compression: resolver.compression(),
            timestamp_type: resolver.timestamp_type(),
            timestamp_before_max_ms: resolver.get("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: resolver.get("message.timestamp.after.max.ms"),
            min_insync_replicas: resolver.get("min.insync.replicas"),
            write_caching: resolver.get("write.caching"),
            flush_messages: resolver.get("flush.messages"),
            flush_ms: resolver.get("flush.ms"),
        };
        let (min, max) = (settings.min_compaction_lag_ms, settings.max_compaction_lag_ms);
        if min > max {
            return Err(InvalidConfig::CompactionLag { min, max });
        }
        Ok(settings)
    }
}

/// The value of `config` when the topic does not set it: the first synonym that has one, in the
/// configuration's own unit.
pub(super) fn inherited(broker: &BrokerConfig, config: &TopicConfig) -> String {
    let synonyms = broker.kafka.synonyms(config.synonyms);
    let Some((synonym, text, _)) = synonyms.first() else {
        return config.default.to_owned();
    };
    match text.parse::<i64>() {
        // -1 means "no limit" in hours as in milliseconds.
        Ok(number) if number >= 0 => number.saturating_mul(synonym.scale).to_string(),
        _ => (*text).to_owned(),
    }
}

struct Resolver<'a> {
    broker: &'a BrokerConfig,
    overrides: &'a BTreeMap<String, String>,
}

/// Every text read here has passed its row's check, which is stricter than the parser; a failure
/// would be a mistake in the tables, and the tests resolve every row.
impl Resolver<'_> {
    fn text(&self, name: &str) -> String {
        let config = table::find(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let own = self.overrides.get(name).and_then(|text| config.kind.canonical(text).ok());
        own.unwrap_or_else(|| inherited(self.broker, config))
    }

    fn get<T: FromStr>(&self, name: &str) -> T {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| panic!("{name} was checked but '{text}' does not parse"))
    }

    fn limit(&self, name: &str) -> Option<u64> {
        u64::try_from(self.get::<i64>(name)).ok()
    }

    fn cleanup(&self) -> Cleanup {
        let text = self.text("cleanup.policy");
        let has = |word| text.split(',').any(|item| item == word);
        Cleanup { delete: has("delete"), compact: has("compact") }
    }

    fn compression(&self) -> Compression {
        let level = |name| Some(self.get::<i32>(name));
        let (codec, level) = match self.text("compression.type").as_str() {
            "uncompressed" => (Codec::None, None),
            "gzip" => (Codec::Gzip, level("compression.gzip.level").filter(|level| *level != -1)),
            "snappy" => (Codec::Snappy, None),
            "lz4" => (Codec::Lz4, level("compression.lz4.level")),
            "zstd" => (Codec::Zstd, level("compression.zstd.level")),
            _ => return Compression::Producer,
        };
        Compression::Codec { codec, level }
    }

    fn timestamp_type(&self) -> TimestampType {
        match self.text("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        }
    }
}
