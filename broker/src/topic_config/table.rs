//! One row per topic configuration: its kind, its default, where it is inherited from, and whether
//! this broker acts on it.
//!
//! The names are those of Kafka 4.3 (`TopicConfig`, `QuotaConfig`, `LogConfig`), and
//! `write.caching`, which is Redpanda's word. A configuration this broker does not act on is
//! still accepted, stored and described, because tools set many of them out of habit; its
//! documentation says so.

use crate::config::kafka::Synonym;
use crate::config::kafka_names::{
    BrokerSetting, CLEANUP_POLICIES, COMPRESSION_TYPES, LONG_OR_INHERITED, LONG_OR_UNLIMITED,
    LZ4_LEVEL, NEVER, SEGMENT_BYTES, TIMESTAMP_TYPES, ZSTD_LEVEL,
};
use crate::config::value::Kind;

/// One topic configuration.
#[derive(Debug)]
pub struct TopicConfig {
    /// Its name.
    pub name: &'static str,
    /// What its value must look like.
    pub kind: Kind,
    /// The value when neither the topic nor the broker sets it.
    pub default: &'static str,
    /// The broker settings it is inherited from; the first one set counts.
    pub synonyms: &'static [Synonym],
    /// Whether it does anything here.
    pub effect: Effect,
    /// What it means.
    pub meaning: &'static str,
}

/// Whether this broker acts on a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does what it says.
    Applied,
    /// It is stored and described, and nothing else, for the reason given.
    Stored(&'static str),
    /// It works and is never described, as in Kafka: for tests that need small segments.
    Hidden,
}

impl TopicConfig {
    /// What DescribeConfigs says of it.
    pub fn documentation(&self) -> String {
        match self.effect {
            Effect::Applied | Effect::Hidden => self.meaning.to_owned(),
            Effect::Stored(why) => {
                format!("{} Stored, but without effect in Thalweg: {why}", self.meaning)
            }
        }
    }
}

/// What DescribeConfigs and the example file say of a broker setting: what it does, unless all
/// that inherits it is without effect here.
pub fn broker_documentation(setting: &BrokerSetting) -> String {
    let heir = TOPIC_CONFIGS
        .iter()
        .find(|config| config.synonyms.iter().any(|synonym| synonym.name == setting.name));
    match heir.map(|config| config.effect) {
        Some(Effect::Stored(why)) => {
            format!("{} Without effect in Thalweg: {why}", setting.documentation)
        }
        _ => setting.documentation.to_owned(),
    }
}

/// The configuration called `name`.
pub(super) fn find(name: &str) -> Option<&'static TopicConfig> {
    TOPIC_CONFIGS.iter().find(|config| config.name == name)
}

const fn from(name: &'static str) -> Synonym {
    Synonym { name, scale: 1 }
}

const fn scaled(name: &'static str, scale: i64) -> Synonym {
    Synonym { name, scale }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

const NO_TIERS: Effect = Effect::Stored("there is no tiered storage.");
const NO_COMPACTION: Effect =
    Effect::Stored("logs are not compacted yet, and every record of a compacted topic is kept.");
const NO_THROTTLE: Effect = Effect::Stored("replication is not throttled by replica.");

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    synonyms: &'static [Synonym],
    effect: Effect,
    meaning: &'static str,
) -> TopicConfig {
    TopicConfig { name, kind, default, synonyms, effect, meaning }
}

/// All topic configurations, by name.
#[rustfmt::skip] // A table reads best with one entry a paragraph.
pub static TOPIC_CONFIGS: &[TopicConfig] = &[
    row("cleanup.policy", CLEANUP_POLICIES, "delete", &[from("log.cleanup.policy")], Effect::Applied,
        "What happens to old segments: delete drops them by time and size, compact keeps the last \
         record of each key, compact,delete does both, and an empty list keeps everything. \
         Logs are not compacted yet: a compacted topic refuses records without a key and keeps all others."),
    row("compression.gzip.level", Kind::GzipLevel, "-1", &[from("compression.gzip.level")], Effect::Applied,
        "The level if compression.type is gzip: 1 to 9, or -1 for its default."),
    row("compression.lz4.level", LZ4_LEVEL, "9", &[from("compression.lz4.level")],
        Effect::Stored("its lz4 encoder has one level."),
        "The level if compression.type is lz4: 1 to 17."),
    row("compression.type", COMPRESSION_TYPES, "producer", &[from("compression.type")], Effect::Applied,
        "How batches are stored. producer leaves them as they come; uncompressed, gzip, snappy, lz4 \
         and zstd make the broker store them so."),
    row("compression.zstd.level", ZSTD_LEVEL, "3", &[from("compression.zstd.level")], Effect::Applied,
        "The level if compression.type is zstd: -131072 to 22."),
    row("delete.retention.ms", Kind::LONG, "86400000", &[from("log.cleaner.delete.retention.ms")], NO_COMPACTION,
        "How long compaction keeps the tombstone of a deleted key. A consumer that reads from the \
         start must be done within that time to learn of every deletion."),
    row("file.delete.delay.ms", Kind::LONG, "60000", &[from("log.segment.delete.delay.ms")],
        Effect::Stored("readers keep the files they have open, so dropped segments go at once."),
        "How long the files of a dropped segment stay on disk."),
    row("flush.messages", Kind::Long { min: 1 }, NEVER, &[from("log.flush.interval.messages")],
        Effect::Applied,
        "With write.caching, how many records may be unflushed. Without it every acknowledged record \
         is flushed anyway."),
    row("flush.ms", Kind::LONG, NEVER,
        &[from("log.flush.interval.ms"), from("log.flush.scheduler.interval.ms")], Effect::Applied,
        "With write.caching, how long a record may be unflushed; the default leaves it at one second. \
         Without write.caching every acknowledged record is flushed anyway."),
    row("follower.replication.throttled.replicas", Kind::ThrottledReplicas, "", &[], NO_THROTTLE,
        "The replicas whose fetching is throttled, as partition:broker pairs, or * for all."),
    row("index.interval.bytes", Kind::INT, "4096", &[from("log.index.interval.bytes")],
        Effect::Stored("every batch is indexed."),
        "How many bytes of log lie between two index entries."),
    row("internal.segment.bytes", Kind::int_from(1024), "1073741824", &[], Effect::Hidden,
        "The segment size without its lower bound, for tests."),
    row("leader.replication.throttled.replicas", Kind::ThrottledReplicas, "", &[], NO_THROTTLE,
        "The replicas whose serving is throttled, as partition:broker pairs, or * for all."),
    row("local.retention.bytes", LONG_OR_INHERITED, "-2", &[from("log.local.retention.bytes")], NO_TIERS,
        "How much of a tiered partition stays on local disk; -2 takes retention.bytes."),
    row("local.retention.ms", LONG_OR_INHERITED, "-2", &[from("log.local.retention.ms")], NO_TIERS,
        "How long records of a tiered partition stay on local disk; -2 takes retention.ms."),
    row("max.compaction.lag.ms", Kind::Long { min: 1 }, NEVER, &[from("log.cleaner.max.compaction.lag.ms")], NO_COMPACTION,
        "How long a record may wait for compaction."),
    row("max.message.bytes", Kind::INT, "1048588", &[from("message.max.bytes")], Effect::Applied,
        "The largest batch, after compression, that a producer may send."),
    row("message.timestamp.after.max.ms", Kind::LONG, "3600000", &[from("log.message.timestamp.after.max.ms")], Effect::Applied,
        "How far a record's CreateTime may lie ahead of the broker's clock."),
    row("message.timestamp.before.max.ms", Kind::LONG, NEVER, &[from("log.message.timestamp.before.max.ms")], Effect::Applied,
        "How far a record's CreateTime may lie behind the broker's clock."),
    row("message.timestamp.type", TIMESTAMP_TYPES, "CreateTime", &[from("log.message.timestamp.type")], Effect::Applied,
        "Whether records keep the producer's time (CreateTime) or take the broker's (LogAppendTime)."),
    row("min.cleanable.dirty.ratio", Kind::Ratio, "0.5", &[from("log.cleaner.min.cleanable.ratio")], NO_COMPACTION,
        "The part of a log that must be uncompacted before compaction is worth its cost."),
    row("min.compaction.lag.ms", Kind::LONG, "0", &[from("log.cleaner.min.compaction.lag.ms")], NO_COMPACTION,
        "How long a record is safe from compaction."),
    row("min.insync.replicas", Kind::int_from(1), "1", &[from("min.insync.replicas")], Effect::Applied,
        "How many replicas must be able to take a record before acks=all is accepted. A majority is \
         always needed, whatever this says."),
    row("preallocate", Kind::Boolean, "false", &[from("log.preallocate")],
        Effect::Stored("segments always take space in growing steps."),
        "Whether a new segment's file takes its full size at once."),
    row("remote.log.copy.disable", Kind::Boolean, "false", &[], NO_TIERS,
        "Whether a tiered topic stops copying segments away."),
    row("remote.log.delete.on.disable", Kind::Boolean, "false", &[], NO_TIERS,
        "Whether turning tiered storage off deletes what was copied away."),
    row("remote.storage.enable", Kind::BooleanFalse, "false", &[], NO_TIERS,
        "Whether old segments are moved to tiered storage."),
    row("retention.bytes", LONG_OR_UNLIMITED, "-1", &[from("log.retention.bytes")], Effect::Applied,
        "How large a partition may grow before its oldest segments go; -1 sets no limit."),
    row("retention.ms", LONG_OR_UNLIMITED, "604800000",
        &[from("log.retention.ms"), scaled("log.retention.minutes", MINUTE_MS), scaled("log.retention.hours", HOUR_MS)],
        Effect::Applied,
        "How long records are kept; -1 keeps them for ever."),
    row("segment.bytes", SEGMENT_BYTES, "1073741824", &[from("log.segment.bytes")], Effect::Applied,
        "The size at which a new segment is begun. Retention and compaction work on whole segments."),
    row("segment.index.bytes", Kind::int_from(4), "10485760", &[from("log.index.size.max.bytes")], Effect::Applied,
        "The largest index of one segment. Every batch takes an entry; a segment whose index is full \
         is full."),
    row("segment.jitter.ms", Kind::LONG, "0",
        &[from("log.roll.jitter.ms"), scaled("log.roll.jitter.hours", HOUR_MS)],
        Effect::Stored("segments are rolled when they are due."),
        "The most by which a segment is begun early, so that not all begin at once."),
    row("segment.ms", Kind::Long { min: 1 }, "604800000",
        &[from("log.roll.ms"), scaled("log.roll.hours", HOUR_MS)], Effect::Applied,
        "The age at which a new segment is begun even if the last is not full."),
    row("unclean.leader.election.enable", Kind::Boolean, "false", &[from("unclean.leader.election.enable")],
        Effect::Stored("a leader always has every acknowledged record."),
        "Whether a replica that lacks acknowledged records may lead."),
    row("write.caching", Kind::Boolean, "false", &[from("write.caching")], Effect::Applied,
        "Thalweg's own. With false, acks=all means that a majority of the replicas has flushed the \
         records to disk. With true, that a majority has them in memory, as in Kafka: faster, but losing \
         power on a majority of the machines at once loses acknowledged records."),
];
