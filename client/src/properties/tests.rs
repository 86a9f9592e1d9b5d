//! Configurations as people have them, and what becomes of them.

use super::*;

fn read(properties: &[(&str, &str)]) -> Result<Properties, PropertyError> {
    Client::from_properties(properties.iter().copied())
}

#[test]
fn a_name_that_nobody_knows_is_an_error_that_helps() {
    let error =
        read(&[("bootstrap.servers", "b:1"), ("auto.ofset.reset", "earliest")]).unwrap_err();
    let PropertyError::Unknown { name, nearest } = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), nearest[0]), ("auto.ofset.reset", "auto.offset.reset"));
    assert!(error.to_string().contains("auto.offset.reset"));
}

#[test]
fn what_must_be_there_must_be_there() {
    assert_eq!(read(&[]).unwrap_err(), PropertyError::Missing("bootstrap.servers"));
}

#[test]
fn names_of_both_clients_are_known_and_idle_ones_are_warned_of() {
    let properties = read(&[
        ("metadata.broker.list", "b:1"),
        ("queue.buffering.max.ms", "0.5"),
        ("key.serializer", "org.apache.kafka.common.serialization.StringSerializer"),
        ("security.protocol", "plaintext"),
    ]);
    let properties = properties.unwrap();
    let linger = Value::Time(Duration::from_micros(500));
    assert!(properties.settings.contains(&(Meaning::Linger, linger)));
    let names: Vec<&str> = properties.warnings().iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["key.serializer"]);
}

#[test]
fn values_are_read_as_what_they_mean() {
    let good = [
        (Meaning::Acks, "-1", Value::Acks(Acks::All)),
        (Meaning::Compression, "lz4", Value::Codec(Codec::Lz4)),
        (Meaning::OffsetReset, "beginning", Value::Reset(OffsetReset::Earliest)),
        (
            Meaning::OffsetReset,
            "by_duration:P1DT2H3M4S",
            Value::Reset(OffsetReset::Newer(Duration::from_secs(86_400 + 7200 + 180 + 4))),
        ),
        (
            Meaning::Assignors,
            "org.apache.kafka.clients.consumer.RangeAssignor, cooperative-sticky",
            Value::Assignors(vec![Assignor::Range, Assignor::CooperativeSticky]),
        ),
        (Meaning::Protocol, "CONSUMER", Value::Protocol(GroupProtocol::Consumer)),
        (Meaning::FetchMin, "17", Value::Count(17)),
    ];
    for (meaning, text, value) in good {
        assert_eq!(Value::parse(meaning, text), Ok(value), "{text}");
    }
    let bad = [
        (Meaning::Acks, "2"),
        (Meaning::Linger, "-1"),
        (Meaning::Linger, "NaN"),
        (Meaning::BatchBytes, "1e3"),
        (Meaning::OffsetReset, "by_duration:P"),
        (Meaning::OffsetReset, "by_duration:PT5X"),
        (Meaning::Assignors, "sticky"),
        (Meaning::AutoCommit, "yes"),
    ];
    for (meaning, text) in bad {
        assert!(Value::parse(meaning, text).is_err(), "{text}");
    }
}

#[test]
fn security_that_cannot_be_had_is_not_passed_over() {
    let error = read(&[("bootstrap.servers", "b:1"), ("security.protocol", "SSL")]).unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
    for name in ["sasl.mechanism", "transactional.id"] {
        let error = read(&[("bootstrap.servers", "b:1"), (name, "x")]).unwrap_err();
        assert!(matches!(error, PropertyError::Unsupported { .. }), "{error}");
    }
}
