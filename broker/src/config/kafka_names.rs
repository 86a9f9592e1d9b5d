//! The broker settings that carry Kafka's names: what topics inherit, and the broker's own few.
//!
//! Defaults are those of Kafka 4.3 unless the text says otherwise. A setting without a default is
//! unset, and the next name for the same thing counts (`log.retention.ms`, then `.minutes`, then
//! `.hours`). Source: `ServerLogConfigs`, `LogConfig` and `DynamicBrokerConfig` in Kafka's tree.

use super::units::Unit;
use super::value::Kind;
use Changeable::{ByReload, ByRestart, Dynamically};

/// One broker setting under Kafka's name.
#[derive(Debug)]
pub struct BrokerSetting {
    /// Kafka's name for it.
    pub name: &'static str,
    /// What its value must look like.
    pub kind: Kind,
    /// What a plain number counts; the configuration file also takes `64MiB` or `7d`.
    pub unit: Unit,
    /// The value when nobody sets it; without one the setting is unset.
    pub default: Option<&'static str>,
    /// How it can be changed while the broker runs.
    pub change: Changeable,
    /// What it does.
    pub documentation: &'static str,
}

impl BrokerSetting {
    /// Whether admin clients may change it.
    pub const fn is_dynamic(&self) -> bool {
        matches!(self.change, Dynamically)
    }
}

/// How a setting can be changed while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changeable {
    /// By an admin client, or in the file with a reload.
    Dynamically,
    /// In the file, with a reload.
    ByReload,
    /// In the file, for the next start.
    ByRestart,
}

/// The words of `cleanup.policy`.
pub const CLEANUP_POLICIES: Kind = Kind::ListOf(&["compact", "delete"]);
/// The words of `compression.type`.
pub const COMPRESSION_TYPES: Kind =
    Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);
/// The words of `message.timestamp.type`.
pub const TIMESTAMP_TYPES: Kind = Kind::OneOf(&["CreateTime", "LogAppendTime"]);
/// The levels of lz4.
pub const LZ4_LEVEL: Kind = Kind::Int { min: 1, max: 17 };
/// The levels of zstd.
pub const ZSTD_LEVEL: Kind = Kind::Int { min: -131_072, max: 22 };
/// Kafka's smallest segment since KIP-1030.
pub const SEGMENT_BYTES: Kind = Kind::int_from(1 << 20);
/// A limit that -1 lifts.
pub const LONG_OR_UNLIMITED: Kind = Kind::Long { min: -1 };
/// A local limit that -1 lifts and -2 takes from the whole log's.
pub const LONG_OR_INHERITED: Kind = Kind::Long { min: -2 };

/// `i64::MAX`, which Kafka uses for "never".
pub const NEVER: &str = "9223372036854775807";

const fn row(
    change: Changeable,
    name: &'static str,
    kind: Kind,
    unit: Unit,
    default: Option<&'static str>,
    documentation: &'static str,
) -> BrokerSetting {
    BrokerSetting { name, kind, unit, default, change, documentation }
}

/// Whether one broker is to be left empty. It stands in the cluster's image for each broker by
/// itself, so it is in no table: neither a file nor a default for all brokers has a say in it.
pub static BROKER_DRAINED: BrokerSetting = row(
    Dynamically,
    "broker.drained",
    Kind::Boolean,
    Unit::None,
    Some("false"),
    "Whether this broker is being emptied: it is given no replicas of new partitions.",
);

/// The setting called `name`.
pub fn find(name: &str) -> Option<&'static BrokerSetting> {
    BROKER_SETTINGS.iter().find(|setting| setting.name == name)
}

/// All broker settings under Kafka's names.
#[rustfmt::skip] // A table reads best with one entry a paragraph.
pub static BROKER_SETTINGS: &[BrokerSetting] = &[
    row(ByReload, "num.partitions", Kind::int_from(1), Unit::None, Some("1"),
        "Partitions of a topic that is created without saying how many."),
    row(ByReload, "default.replication.factor", Kind::Int { min: 1, max: 32_767 }, Unit::None, Some("1"),
        "Replicas of each partition of a topic that is created without saying how many."),
    row(ByReload, "auto.create.topics.enable", Kind::Boolean, Unit::None, Some("true"),
        "Whether asking for the metadata of an unknown topic creates it, if the client allows that."),
    row(ByReload, "auto.leader.rebalance.enable", Kind::Boolean, Unit::None, Some("true"),
        "Whether leadership goes back to a partition's first replica once that has been fit for ten \
         seconds."),
    row(ByReload, "broker.session.timeout.ms", Kind::int_from(100), Unit::Milliseconds, Some("3000"),
        "How long a broker may be silent before the others take it for dead. Kafka's default is \
         9000. Leadership moves by itself in about a second, whatever this says."),
    row(Dynamically, "leader.replication.throttled.rate", Kind::Long { min: 1 }, Unit::Bytes, Some("9223372036854775807"),
        "How many bytes a second this broker reads from disk for replicas that are behind, as new \
         ones are. Below what producers write, such a replica never catches up."),
    row(ByRestart, "metadata.log.max.record.bytes.between.snapshots", Kind::int_from(1), Unit::Bytes, Some("1048576"),
        "The controller saves the cluster's image after so many bytes of changes, and then forgets \
         older ones. Kafka's default is 20971520."),
    row(ByReload, "delete.topic.enable", Kind::Boolean, Unit::None, Some("true"),
        "Whether topics can be deleted."),
    row(ByReload, "fetch.max.bytes", Kind::int_from(1024), Unit::Bytes, Some("57671680"),
        "The most bytes one Fetch is answered with, whatever the client asks for. A first batch \
         larger than that still comes whole."),
    row(ByRestart, "max.incremental.fetch.session.cache.slots", Kind::INT, Unit::None, Some("1000"),
        "How many fetch sessions (KIP-227) the broker keeps; 0 turns them off."),
    row(ByReload, "log.retention.check.interval.ms", Kind::Long { min: 1 }, Unit::Milliseconds, Some("300000"),
        "How often partitions look for segments that retention lets go."),
    row(Dynamically, "producer.id.expiration.ms", Kind::Int { min: 1, max: i32::MAX }, Unit::Milliseconds, Some("86400000"),
        "How long an idempotent producer that sends nothing is remembered."),

    row(ByReload, "group.min.session.timeout.ms", Kind::INT, Unit::Milliseconds, Some("6000"),
        "The shortest session timeout a member of a classic group may ask for."),
    row(ByReload, "group.max.session.timeout.ms", Kind::INT, Unit::Milliseconds, Some("1800000"),
        "The longest session timeout a member of a classic group may ask for."),
    row(ByReload, "group.initial.rebalance.delay.ms", Kind::INT, Unit::Milliseconds, Some("3000"),
        "How long a new group waits for more members before its first rebalance; every member that \
         comes meanwhile puts it off again."),
    row(ByReload, "group.max.size", Kind::int_from(1), Unit::None, Some("2147483647"),
        "The most members one group may have."),
    row(ByReload, "group.consumer.session.timeout.ms", Kind::int_from(1), Unit::Milliseconds, Some("45000"),
        "How long a member of a consumer group may be silent before its partitions go to others."),
    row(ByReload, "group.consumer.min.session.timeout.ms", Kind::int_from(1), Unit::Milliseconds, Some("45000"),
        "The shortest session timeout that consumer groups may be given."),
    row(ByReload, "group.consumer.max.session.timeout.ms", Kind::int_from(1), Unit::Milliseconds, Some("60000"),
        "The longest session timeout that consumer groups may be given."),
    row(ByReload, "group.consumer.heartbeat.interval.ms", Kind::int_from(1), Unit::Milliseconds, Some("5000"),
        "How often members of consumer groups are told to send heartbeats."),
    row(ByReload, "group.consumer.min.heartbeat.interval.ms", Kind::int_from(1), Unit::Milliseconds, Some("5000"),
        "The shortest heartbeat interval that consumer groups may be given."),
    row(ByReload, "group.consumer.max.heartbeat.interval.ms", Kind::int_from(1), Unit::Milliseconds, Some("15000"),
        "The longest heartbeat interval that consumer groups may be given."),
    row(ByReload, "group.consumer.assignment.interval.ms", Kind::INT, Unit::Milliseconds, Some("1000"),
        "How long at least a consumer group keeps one assignment before the next is made of all that \
         has changed meanwhile; a group's first member, and members of the classic protocol, do not \
         wait."),
    row(ByReload, "group.consumer.min.assignment.interval.ms", Kind::INT, Unit::Milliseconds, Some("0"),
        "The shortest assignment interval that consumer groups may be given."),
    row(ByReload, "group.consumer.max.assignment.interval.ms", Kind::INT, Unit::Milliseconds, Some("15000"),
        "The longest assignment interval that consumer groups may be given."),
    row(ByReload, "group.consumer.max.size", Kind::int_from(1), Unit::None, Some("2147483647"),
        "The most members one consumer group may have."),
    row(ByReload, "group.consumer.assignors", Kind::ListOf(&["uniform", "range"]), Unit::None, Some("uniform,range"),
        "The strategies by which the broker assigns partitions to members that ask for them; the \
         first is for members that ask for none."),
    row(ByReload, "group.consumer.migration.policy", Kind::OneOf(&["bidirectional", "upgrade", "downgrade", "disabled"]), Unit::None, Some("bidirectional"),
        "Whether groups with members may change between the classic and the consumer protocol: to \
         the newer when its first member joins, back when its last member is gone."),
    row(ByReload, "offset.metadata.max.bytes", Kind::INT, Unit::Bytes, Some("4096"),
        "The longest text a client may commit beside an offset."),
    row(ByReload, "offsets.retention.minutes", Kind::int_from(1), Unit::Minutes, Some("10080"),
        "How long the offsets of a group without members are kept."),
    row(ByReload, "offsets.retention.check.interval.ms", Kind::Long { min: 1 }, Unit::Milliseconds, Some("600000"),
        "How often groups look for offsets that retention lets go."),
    row(ByReload, "offsets.topic.num.partitions", Kind::int_from(1), Unit::None, Some("16"),
        "Partitions of __consumer_offsets when it is created; Kafka's default is 50. It cannot be \
         changed later: a group's partition follows from it."),
    row(ByReload, "offsets.topic.replication.factor", Kind::Int { min: 1, max: 32_767 }, Unit::None, Some("3"),
        "Replicas of __consumer_offsets when it is created; one on each broker if there are fewer \
         brokers."),
    row(ByReload, "offsets.topic.segment.bytes", SEGMENT_BYTES, Unit::Bytes, Some("104857600"),
        "The segment size of __consumer_offsets when it is created."),

    row(Dynamically, "log.cleanup.policy", CLEANUP_POLICIES, Unit::None, Some("delete"),
        "What happens to old segments: delete drops them by time and size, compact keeps the last \
         record of each key, both does both. Logs are not compacted yet: what a compacted topic has is \
         kept."),
    row(Dynamically, "log.retention.ms", LONG_OR_UNLIMITED, Unit::Milliseconds, None,
        "How long records are kept; -1 keeps them for ever. Unset, log.retention.minutes counts, \
         then log.retention.hours."),
    row(ByReload, "log.retention.minutes", Kind::int_from(-1), Unit::Minutes, None,
        "How long records are kept, if log.retention.ms is not set."),
    row(ByReload, "log.retention.hours", Kind::int_from(-1), Unit::Hours, Some("168"),
        "How long records are kept, if neither log.retention.ms nor log.retention.minutes is set."),
    row(Dynamically, "log.retention.bytes", LONG_OR_UNLIMITED, Unit::Bytes, Some("-1"),
        "How large a partition may grow before its oldest segments go; -1 sets no limit."),
    row(Dynamically, "log.segment.bytes", SEGMENT_BYTES, Unit::Bytes, Some("1073741824"),
        "The size at which a new segment is begun. Retention drops whole segments."),
    row(Dynamically, "log.roll.ms", Kind::Long { min: 1 }, Unit::Milliseconds, None,
        "The age at which a new segment is begun even if the last is not full. Unset, \
         log.roll.hours counts."),
    row(ByReload, "log.roll.hours", Kind::int_from(1), Unit::Hours, Some("168"),
        "The age at which a new segment is begun, if log.roll.ms is not set."),
    row(Dynamically, "log.roll.jitter.ms", Kind::LONG, Unit::Milliseconds, None,
        "The most by which a segment is begun early, so that not all begin at once. Unset, \
         log.roll.jitter.hours counts."),
    row(ByReload, "log.roll.jitter.hours", Kind::INT, Unit::Hours, Some("0"),
        "The most by which a segment is begun early, if log.roll.jitter.ms is not set."),
    row(Dynamically, "log.index.size.max.bytes", Kind::int_from(4), Unit::Bytes, Some("10485760"),
        "The largest index of one segment."),
    row(Dynamically, "log.index.interval.bytes", Kind::INT, Unit::Bytes, Some("4096"),
        "How many bytes of log lie between two index entries."),
    row(Dynamically, "log.segment.delete.delay.ms", Kind::LONG, Unit::Milliseconds, Some("60000"),
        "How long the files of a dropped segment stay on disk."),
    row(Dynamically, "log.preallocate", Kind::Boolean, Unit::None, Some("false"),
        "Whether a new segment's file takes its full size at once."),
    row(Dynamically, "log.flush.interval.messages", Kind::Long { min: 1 }, Unit::None, Some(NEVER),
        "Records after which a partition with write.caching is flushed."),
    row(Dynamically, "log.flush.interval.ms", Kind::LONG, Unit::Milliseconds, None,
        "Time after which a partition with write.caching is flushed. Unset, \
         log.flush.scheduler.interval.ms counts."),
    row(ByReload, "log.flush.scheduler.interval.ms", Kind::LONG, Unit::Milliseconds, Some(NEVER),
        "Time after which a partition with write.caching is flushed, if log.flush.interval.ms is \
         not set."),
    row(Dynamically, "write.caching", Kind::Boolean, Unit::None, Some("false"),
        "Thalweg's own. With false, acks=all means that a majority of the replicas has flushed the \
         records to disk. With true, that a majority has them in memory, as in Kafka: faster, but \
         losing power on a majority of the machines at once loses acknowledged records."),

    row(Dynamically, "message.max.bytes", Kind::INT, Unit::Bytes, Some("1048588"),
        "The largest batch, after compression, that a producer may send."),
    row(Dynamically, "compression.type", COMPRESSION_TYPES, Unit::None, Some("producer"),
        "How batches are stored: producer leaves them as they come, any other word makes the \
         broker compress them so."),
    row(Dynamically, "compression.gzip.level", Kind::GzipLevel, Unit::None, Some("-1"),
        "The level of gzip: 1 to 9, or -1 for its default."),
    row(Dynamically, "compression.lz4.level", LZ4_LEVEL, Unit::None, Some("9"),
        "The level of lz4: 1 to 17."),
    row(Dynamically, "compression.zstd.level", ZSTD_LEVEL, Unit::None, Some("3"),
        "The level of zstd: -131072 to 22."),
    row(Dynamically, "log.message.timestamp.type", TIMESTAMP_TYPES, Unit::None, Some("CreateTime"),
        "Whether records keep the producer's time (CreateTime) or take the broker's \
         (LogAppendTime)."),
    row(Dynamically, "log.message.timestamp.before.max.ms", Kind::LONG, Unit::Milliseconds, Some(NEVER),
        "How far a record's CreateTime may lie behind the broker's clock."),
    row(Dynamically, "log.message.timestamp.after.max.ms", Kind::LONG, Unit::Milliseconds, Some("3600000"),
        "How far a record's CreateTime may lie ahead of the broker's clock."),
    row(Dynamically, "min.insync.replicas", Kind::int_from(1), Unit::None, Some("1"),
        "How many replicas must be able to take a record before acks=all is accepted. A majority \
         is always needed, whatever this says."),
    row(Dynamically, "unclean.leader.election.enable", Kind::Boolean, Unit::None, Some("false"),
        "Whether a replica that lacks acknowledged records may lead."),

    row(Dynamically, "log.cleaner.delete.retention.ms", Kind::LONG, Unit::Milliseconds, Some("86400000"),
        "How long compaction keeps the tombstone of a deleted key."),
    row(Dynamically, "log.cleaner.min.compaction.lag.ms", Kind::LONG, Unit::Milliseconds, Some("0"),
        "How long a record is safe from compaction."),
    row(Dynamically, "log.cleaner.max.compaction.lag.ms", Kind::Long { min: 1 }, Unit::Milliseconds, Some(NEVER),
        "How long a record may wait for compaction."),
    row(Dynamically, "log.cleaner.min.cleanable.ratio", Kind::Ratio, Unit::None, Some("0.5"),
        "The part of a log that must be uncompacted before compaction is worth its cost."),
    row(Dynamically, "log.local.retention.ms", LONG_OR_INHERITED, Unit::Milliseconds, Some("-2"),
        "How long records of a tiered topic stay on local disk."),
    row(Dynamically, "log.local.retention.bytes", LONG_OR_INHERITED, Unit::Bytes, Some("-2"),
        "How much of a tiered topic's partition stays on local disk."),
];
