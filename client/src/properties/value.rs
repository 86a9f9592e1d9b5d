//! The values of properties, read as what their names mean. What cannot be read says what could
//! have been written instead.

use std::time::Duration;

use super::names::Meaning;
use super::{Acks, Assignor, Codec, GroupProtocol, Isolation, OffsetReset};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Time(Duration),
    Count(usize),
    Flag(bool),
    Acks(Acks),
    Codec(Codec),
    RoundRobin,
    KeyHash,
    Isolation(Isolation),
    Reset(OffsetReset),
    Assignors(Vec<Assignor>),
    Protocol(GroupProtocol),
    /// What is asked for is what there is.
    AsIs,
}

impl Value {
    /// Reads a value; the error says what it could be.
    pub(super) fn parse(meaning: Meaning, text: &str) -> Result<Self, &'static str> {
        match meaning {
            Meaning::ClientId
            | Meaning::InstanceId
            | Meaning::Rack
            | Meaning::ServerAssignor
            | Meaning::Bootstrap
            | Meaning::Group
            | Meaning::Nothing(_) => Ok(Value::Text(text.into())),
            Meaning::RequestTimeout
            | Meaning::OperationTimeout
            | Meaning::ConnectTimeout
            | Meaning::MetadataAge
            | Meaning::RetryBackoff
            | Meaning::ReconnectBackoff
            | Meaning::Linger
            | Meaning::DeliveryTimeout
            | Meaning::FetchWait
            | Meaning::SessionTimeout
            | Meaning::HeartbeatInterval
            | Meaning::MaxPollInterval
            | Meaning::AutoCommitInterval => time(text),
            Meaning::ResponseBytes
            | Meaning::BatchBytes
            | Meaning::ProduceBytes
            | Meaning::BufferMemory
            | Meaning::BufferKib
            | Meaning::InFlight
            | Meaning::FetchMin
            | Meaning::FetchMax
            | Meaning::PartitionBytes
            | Meaning::PrefetchKib => {
                text.parse().map(Value::Count).map_err(|_| "a whole number from 0")
            }
            Meaning::Idempotence
            | Meaning::CreateTopics
            | Meaning::CheckCrcs
            | Meaning::AutoCommit
            | Meaning::AutoStore => flag(text),
            Meaning::Acks => acks(text),
            Meaning::Compression => codec(text),
            Meaning::Partitioner => partitioner(text),
            Meaning::Isolation => isolation(text),
            Meaning::OffsetReset => reset(text),
            Meaning::Assignors => assignors(text),
            Meaning::Protocol => protocol(text),
            Meaning::Security => security(text),
        }
    }
}

/// Milliseconds, of which librdkafka takes fractions.
fn time(text: &str) -> Result<Value, &'static str> {
    let ms: Option<f64> = text.parse().ok().filter(|ms: &f64| *ms >= 0.0);
    let time = ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
    time.map(Value::Time).ok_or("milliseconds from 0")
}

fn flag(text: &str) -> Result<Value, &'static str> {
    match text {
        "true" => Ok(Value::Flag(true)),
        "false" => Ok(Value::Flag(false)),
        _ => Err("true or false"),
    }
}

fn acks(text: &str) -> Result<Value, &'static str> {
    match text {
        "all" | "-1" => Ok(Value::Acks(Acks::All)),
        "1" => Ok(Value::Acks(Acks::Leader)),
        "0" => Ok(Value::Acks(Acks::None)),
        _ => Err("all, 1 or 0"),
    }
}

fn codec(text: &str) -> Result<Value, &'static str> {
    match text {
        "none" => Ok(Value::Codec(Codec::None)),
        "gzip" => Ok(Value::Codec(Codec::Gzip)),
        "snappy" => Ok(Value::Codec(Codec::Snappy)),
        "lz4" => Ok(Value::Codec(Codec::Lz4)),
        "zstd" => Ok(Value::Codec(Codec::Zstd)),
        _ => Err("none, gzip, snappy, lz4 or zstd"),
    }
}

/// Java's classes, and those of librdkafka's names that mean the same.
fn partitioner(text: &str) -> Result<Value, &'static str> {
    match text.rsplit('.').next() {
        Some("RoundRobinPartitioner") => Ok(Value::RoundRobin),
        Some("DefaultPartitioner" | "murmur2_random" | "murmur2") => Ok(Value::KeyHash),
        _ => Err("RoundRobinPartitioner, DefaultPartitioner or murmur2_random"),
    }
}

fn isolation(text: &str) -> Result<Value, &'static str> {
    match text {
        "read_uncommitted" => Ok(Value::Isolation(Isolation::ReadUncommitted)),
        "read_committed" => Ok(Value::Isolation(Isolation::ReadCommitted)),
        _ => Err("read_uncommitted or read_committed"),
    }
}

fn reset(text: &str) -> Result<Value, &'static str> {
    const EXPECTED: &str = "earliest, latest, none or by_duration:PnDTnHnMnS";
    let reset = match text {
        "earliest" | "smallest" | "beginning" => OffsetReset::Earliest,
        "latest" | "largest" | "end" => OffsetReset::Latest,
        "none" | "error" => OffsetReset::Fail,
        _ => {
            let age = text.strip_prefix("by_duration:").and_then(iso_duration);
            OffsetReset::Newer(age.ok_or(EXPECTED)?)
        }
    };
    Ok(Value::Reset(reset))
}

/// A duration as ISO 8601 writes it, in days, hours, minutes and whole seconds.
fn iso_duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('P')?;
    let (days, times) = text.split_once('T').unwrap_or((text, ""));
    let mut seconds = 0u64;
    for (part, units) in
        [(days, &[('D', 86_400)][..]), (times, &[('H', 3600), ('M', 60), ('S', 1)])]
    {
        let mut rest = part;
        for (unit, worth) in units {
            if let Some((count, after)) = rest.split_once(*unit) {
                seconds = seconds.checked_add(count.parse::<u64>().ok()?.checked_mul(*worth)?)?;
                rest = after;
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    (!text.is_empty()).then(|| Duration::from_secs(seconds))
}

/// Java's classes or librdkafka's names.
fn assignors(text: &str) -> Result<Value, &'static str> {
    let assignor = |name: &str| match name.trim().rsplit('.').next() {
        Some("range" | "RangeAssignor") => Some(Assignor::Range),
        Some("roundrobin" | "RoundRobinAssignor") => Some(Assignor::RoundRobin),
        Some("cooperative-sticky" | "CooperativeStickyAssignor") => {
            Some(Assignor::CooperativeSticky)
        }
        _ => None,
    };
    let all: Option<Vec<Assignor>> = text.split(',').map(assignor).collect();
    all.map(Value::Assignors).ok_or("range, roundrobin or cooperative-sticky, or several of them")
}

fn protocol(text: &str) -> Result<Value, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "classic" => Ok(Value::Protocol(GroupProtocol::Classic)),
        "consumer" => Ok(Value::Protocol(GroupProtocol::Consumer)),
        _ => Err("classic or consumer"),
    }
}

/// To go on without what was asked for would be worse than to stop.
fn security(text: &str) -> Result<Value, &'static str> {
    match text.to_ascii_uppercase().as_str() {
        "PLAINTEXT" => Ok(Value::AsIs),
        _ => Err("PLAINTEXT, as this client speaks neither TLS nor SASL yet"),
    }
}
