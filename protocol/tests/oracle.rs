//! Compares every API at every version with the `kafka-protocol` crate, whose codec is generated
//! from Kafka's own message definitions. It follows Kafka 4.1; for the few versions that are
//! younger there are bytes that Kafka 4.3's Java classes wrote, in `kafka_4_3.txt`.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};
use thalweg_protocol::arbitrary::{Arbitrary, Source, arbitrary};
use thalweg_protocol::{
    Chunks, EncodeError, Message, Reader, Records, for_each_api, messages, served_versions,
};

/// How many values are made up for each version of each message.
const SEEDS: u64 = 40;

macro_rules! tests {
    ($($api:ident: $request:ident, $response:ident;)+) => {$(
        mod $api {
            use super::*;

            #[test]
            fn request() {
                compare::<messages::$request, kafka_protocol::messages::$request>();
            }

            #[test]
            fn response() {
                compare::<messages::$response, kafka_protocol::messages::$response>();
            }
        }
    )+};
}

for_each_api!(tests);

/// Fields of versions that only one of us knows: ours of Kafka 4.3, theirs of a version still
/// unstable.
const NOT_SHARED: [&str; 5] = [
    "is_cordoned",
    "enable_2_pc",
    "keep_prepared_txn",
    "ongoing_txn_producer_id",
    "ongoing_txn_producer_epoch",
];

/// Tagged fields that may not be dropped, as Kafka has it; they drop every tagged field.
const TAGGED_NOT_IGNORABLE: [&str; 6] = [
    "FetchRequest.replica_state",
    "FetchResponse.node_endpoints",
    "PartitionData.diverging_epoch",
    "PartitionData.current_leader",
    "PartitionData.snapshot_id",
    "ProduceResponse.node_endpoints",
];

fn compare<Ours, Theirs>()
where
    Ours: Message + Arbitrary + PartialEq + Debug,
    Theirs: TheirMessage + Decodable + Encodable + Debug + Default,
{
    let served = served_versions(Ours::API_KEY).expect("served");
    let oldest = (*served.start()).max(Theirs::VERSIONS.min);
    let newest = (*served.end()).min(Theirs::VERSIONS.max);
    for version in oldest..=newest {
        defaults_agree::<Ours, Theirs>(version);
        for seed in 0..SEEDS {
            let mut source = if seed % 2 == 0 { Source::new(seed) } else { Source::sparse(seed) };
            let value: Ours = arbitrary(&mut source, version).expect("a served version");
            bytes_agree::<Ours, Theirs>(&value, version);
        }
    }
    for seed in 0..SEEDS * 4 {
        let value: Ours = arbitrary(&mut Source::sparse(seed), newest).expect("a served version");
        for version in oldest..=newest {
            older_versions_agree::<Ours, Theirs>(&value, newest, version);
        }
    }
}

/// What we write they read and write back, byte for byte; and what they write we read as it was.
fn bytes_agree<Ours, Theirs>(value: &Ours, version: i16)
where
    Ours: Message + PartialEq + Debug,
    Theirs: Decodable + Encodable + Debug,
{
    let ours = encode(value, version).unwrap();
    assert_eq!(ours.len(), value.encoded_len(version).unwrap(), "version {version}: {value:#?}");

    let theirs = decode_theirs::<Theirs>(&ours, version);
    assert_eq!(field_names(value), field_names(&theirs), "version {version}");
    let written_back = encode_theirs(&theirs, version).unwrap();
    assert_eq!(ours, written_back, "version {version}: {value:#?}");

    let mut reader = Reader::new(written_back);
    assert_eq!(&Ours::decode(&mut reader, version).unwrap(), value, "version {version}");
    assert!(reader.is_empty(), "version {version}: {value:#?}");
}

/// A message that nobody touched is the same to both: the defaults of all fields agree.
fn defaults_agree<Ours: Message, Theirs: Encodable + Default>(version: i16) {
    let ours = encode(&Ours::default(), version);
    let theirs = encode_theirs(&Theirs::default(), version);
    assert_eq!(ours.ok(), theirs, "version {version}");
}

/// A value of the newest version can be written at an older one if and only if they say so too: the
/// fields that may be dropped agree.
fn older_versions_agree<Ours, Theirs>(value: &Ours, newest: i16, version: i16)
where
    Ours: Message + Debug,
    Theirs: Decodable + Encodable + Debug,
{
    let theirs = decode_theirs::<Theirs>(&encode(value, newest).unwrap(), newest);
    let theirs = encode_theirs(&theirs, version);
    match encode(value, version) {
        Ok(ours) => assert_eq!(Some(ours), theirs, "version {version}: {value:#?}"),
        // They drop these without a word, or write a null that the version does not have.
        Err(EncodeError::NoTaggedFields(_) | EncodeError::Null { .. }) => {}
        Err(EncodeError::NotInVersion { field, .. }) if TAGGED_NOT_IGNORABLE.contains(&field) => {}
        Err(_) => assert_eq!(None, theirs, "version {version}: {value:#?}"),
    }
}

fn encode<M: Message>(value: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut chunks = Chunks::default();
    value.encode(&mut chunks, version)?;
    Ok(Records::from(chunks.into_buffers()).into_bytes())
}

fn encode_theirs<M: Encodable>(value: &M, version: i16) -> Option<Bytes> {
    let mut written = BytesMut::new();
    value.encode(&mut written, version).ok()?;
    Some(written.freeze())
}

fn decode_theirs<M: Decodable>(bytes: &Bytes, version: i16) -> M {
    let mut rest = bytes.clone();
    let value = M::decode(&mut rest, version).unwrap_or_else(|error| {
        panic!("version {version}: {error}: {bytes:?}");
    });
    assert!(rest.is_empty(), "version {version}: {bytes:?}");
    value
}

/// The names of all fields in a value, sorted, since ours end with the tagged ones.
fn field_names(value: &impl Debug) -> Vec<String> {
    let printed = format!("{value:#?}");
    let names = printed.lines().filter_map(|line| line.trim_start().split_once(": "));
    let mut names: Vec<String> = names
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .filter(|name| !NOT_SHARED.contains(&name.as_str()))
        // They have none in messages that are never flexible.
        .filter(|name| name != "unknown_tagged_fields")
        .collect();
    names.sort();
    names
}

#[test]
fn bytes_that_kafka_wrote_are_read_and_written_back() {
    let mut lines = 0;
    for line in include_str!("kafka_4_3.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("name, version, bytes");
        let (name, version, hex) = (word(), word().parse().expect("a version"), word());
        let bytes = hex.as_bytes().chunks(2).map(|digits| {
            let digits = std::str::from_utf8(digits).expect("ASCII");
            u8::from_str_radix(digits, 16).expect("hexadecimal")
        });
        write_back_by_name(name, version, &bytes.collect());
        lines += 1;
    }
    assert!(lines > 20);
}

macro_rules! write_back_by_name {
    ($($api:ident: $request:ident, $response:ident;)+) => {
        fn write_back_by_name(name: &str, version: i16, bytes: &Bytes) {
            match name {
                $(
                    stringify!($request) => write_back::<messages::$request>(version, bytes),
                    stringify!($response) => write_back::<messages::$response>(version, bytes),
                )+
                _ => panic!("no message {name}"),
            }
        }
    };
}

for_each_api!(write_back_by_name);

fn write_back<M: Message + Debug>(version: i16, bytes: &Bytes) {
    let mut reader = Reader::new(bytes.clone());
    let value = M::decode(&mut reader, version).unwrap();
    assert!(reader.is_empty(), "version {version}: {value:#?}");
    assert_eq!(&encode(&value, version).unwrap(), bytes, "version {version}: {value:#?}");
}
