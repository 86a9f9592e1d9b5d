//! The typed settings a partition runs with.
//!
//! Partitions read fields, never the names of configurations: all parsing and inheriting is done
//! here, once for each change.

use std::collections::BTreeMap;
use std::str::FromStr;

use thalweg_protocol::batch::TimestampType;
use thalweg_protocol::compression::Codec;
use thalweg_storage::LogConfig;

use super::table::{self, TopicConfig};
use super::{InvalidConfig, canonical};
use crate::config::BrokerConfig;
use crate::config::value::split_list;

/// A topic's settings: its overrides laid over the broker's.
///
/// A limit that Kafka writes as -1 is `None`. Times are `i64`, as timestamps are.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicSettings {
    /// Size at which a segment is full.
    pub segment_bytes: u32,
    /// Size at which a segment's index is full, and the segment with it.
    pub segment_index_bytes: u32,
    /// Age at which a segment is rolled even if it is not full.
    pub segment_ms: i64,
    /// Whether old records are dropped by time and size.
    pub delete: bool,
    /// Whether only the last record of each key is kept. With neither flag everything is.
    pub compact: bool,
    /// How long records are kept, if `delete`.
    pub retention_ms: Option<i64>,
    /// How large the log may grow, if `delete`.
    pub retention_bytes: Option<u64>,
    /// How long compaction keeps tombstones.
    pub delete_retention_ms: i64,
    /// How long a record is safe from compaction.
    pub min_compaction_lag_ms: i64,
    /// How long a record may wait for compaction.
    pub max_compaction_lag_ms: i64,
    /// The uncompacted part of the log that makes compaction worth while.
    pub min_cleanable_dirty_ratio: f64,
    /// The largest batch, header included.
    pub max_message_bytes: usize,
    /// How batches are stored.
    pub compression: TopicCompression,
    /// Who sets the timestamps.
    pub timestamp_type: TimestampType,
    /// How far a producer's timestamp may lie in the past.
    pub timestamp_before_max_ms: i64,
    /// How far a producer's timestamp may lie in the future.
    pub timestamp_after_max_ms: i64,
    /// Replicas that must be able to take a record for acks=all, beyond the majority.
    pub min_insync_replicas: usize,
    /// Whether a majority of page caches is enough for acks=all.
    pub write_caching: bool,
    /// With `write_caching`, how many records may be unflushed; `None` sets no limit.
    pub flush_messages: Option<u64>,
    /// With `write_caching`, how long a record may be unflushed; `None` leaves it to the log.
    pub flush_ms: Option<u64>,
}

/// How batches are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicCompression {
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
            segment_index_bytes: resolver.get("segment.index.bytes"),
            segment_ms: resolver.get("segment.ms"),
            delete: resolver.has_policy("delete"),
            compact: resolver.has_policy("compact"),
            retention_ms: resolver.limit("retention.ms"),
            retention_bytes: resolver.limit("retention.bytes").map(i64::unsigned_abs),
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
            flush_messages: resolver.unless_never("flush.messages"),
            flush_ms: resolver.unless_never("flush.ms"),
        };
        let (min, max) = (settings.min_compaction_lag_ms, settings.max_compaction_lag_ms);
        if min > max {
            return Err(InvalidConfig::CompactionLag { min, max });
        }
        Ok(settings)
    }

    /// What the log needs to know of these settings.
    pub fn log_config(&self) -> LogConfig {
        let log = LogConfig::default();
        LogConfig {
            segment_bytes_max: self.segment_bytes,
            segment_ms_max: self.segment_ms,
            ledger_bytes_max: self.segment_index_bytes,
            write_caching: self.write_caching,
            flush_messages_max: self.flush_messages.unwrap_or(log.flush_messages_max),
            flush_ms_max: self.flush_ms.unwrap_or(log.flush_ms_max),
            retention_bytes: self.retention_bytes.filter(|_| self.delete),
            retention_ms: self.retention_ms.filter(|_| self.delete),
            ..log
        }
    }

    /// The most a batch may become when it is decompressed: a cap against bombs.
    ///
    /// Real data compresses a few times, logs of one repeated line some fifty times.
    pub fn decompressed_bytes_max(&self) -> usize {
        const RATIO: usize = 64;
        const AT_LEAST: usize = 1 << 20;
        self.max_message_bytes.saturating_mul(RATIO).max(AT_LEAST)
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

    /// -1 means that there is no limit.
    fn limit(&self, name: &str) -> Option<i64> {
        Some(self.get(name)).filter(|limit| *limit >= 0)
    }

    /// Kafka's default for what should never happen is the largest number.
    fn unless_never(&self, name: &str) -> Option<u64> {
        Some(self.get::<i64>(name)).filter(|value| *value != i64::MAX).map(i64::unsigned_abs)
    }

    fn has_policy(&self, policy: &str) -> bool {
        split_list(&self.text("cleanup.policy")).any(|item| item == policy)
    }

    fn compression(&self) -> TopicCompression {
        let level = |name| Some(self.get::<i32>(name));
        let (codec, level) = match self.text("compression.type").as_str() {
            "uncompressed" => (Codec::None, None),
            "gzip" => (Codec::Gzip, level("compression.gzip.level").filter(|level| *level != -1)),
            "snappy" => (Codec::Snappy, None),
            "lz4" => (Codec::Lz4, level("compression.lz4.level")),
            "zstd" => (Codec::Zstd, level("compression.zstd.level")),
            _ => return TopicCompression::Producer,
        };
        TopicCompression::Codec { codec, level }
    }

    fn timestamp_type(&self) -> TimestampType {
        match self.text("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        }
    }
}
