//! The records of the offsets topic against bytes that Kafka 4.3 wrote, at every version that is
//! read, and cut or altered at every byte.

use bytes::Bytes;
use thalweg_protocol::arbitrary::{Arbitrary, Source};
use thalweg_protocol::group_record::{
    GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue, Record, RecordError,
};
use thalweg_protocol::primitives::{Layout, Wire};
use thalweg_protocol::{Chunks, DecodeError, KafkaStr, Records};

/// A record as Kafka wrote it.
struct Line {
    name: &'static str,
    key: Bytes,
    value: Option<Bytes>,
}

fn lines() -> Vec<Line> {
    let lines = include_str!("group_record_kafka_4_3.txt").lines();
    let lines = lines.filter(|line| !line.starts_with('#')).map(|line| {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("name, key, value");
        let (name, key, value) = (word(), word(), word());
        let value = (value != "null").then(|| from_hex(value));
        Line { name, key: from_hex(key), value }
    });
    lines.collect()
}

fn from_hex(digits: &str) -> Bytes {
    let digits = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}

fn parse(key: &Bytes, value: Option<&Bytes>) -> Result<Option<Record>, RecordError> {
    Record::parse(key.clone(), value.cloned())
}

#[test]
fn what_kafka_wrote_is_read_and_written_back() {
    let mut kinds = Vec::new();
    for Line { name, key, value } in lines() {
        let record = parse(&key, value.as_ref()).unwrap().expect("a known kind");
        assert!(format!("{record:?}").starts_with(&format!("{name}(")), "{record:?}");
        assert_eq!(record.key_bytes().unwrap(), key, "{record:#?}");
        assert_eq!(record.value_bytes().unwrap(), value, "{record:#?}");
        assert_eq!(record.is_tombstone(), value.is_none());
        assert_eq!(record.group_id(), "billing");
        kinds.push(name);
    }
    kinds.dedup();
    assert_eq!(kinds.len(), 9, "{kinds:?}");
}

#[test]
fn an_offset_commit_has_the_fields_that_kafka_gave_it() {
    let line = lines().remove(0);
    let record = parse(&line.key, line.value.as_ref()).unwrap();
    let Some(Record::OffsetCommit(key, Some(value))) = record else { panic!("{record:?}") };
    assert_eq!((key.topic.as_str(), key.partition), ("orders", 7));
    assert_eq!((value.offset, value.leader_epoch), (1_234_567_890_123, 5));
    assert_eq!(value.metadata, "größe");
    assert_eq!((value.commit_timestamp, value.expire_timestamp), (1_700_000_000_000, -1));
    assert_eq!(value.topic_id.as_u128(), 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f);
}

#[test]
fn offsets_of_before_kafka_0_9_are_offsets() {
    let line = lines().remove(0);
    let mut key = line.key.to_vec();
    key[1] = 0;
    let old = parse(&key.into(), line.value.as_ref()).unwrap();
    assert_eq!(old, parse(&line.key, line.value.as_ref()).unwrap());
}

/// `value` at `version`, as it stands in a record.
fn value_at<T: Wire>(value: &T, version: i16, flexible: bool) -> Bytes {
    let mut chunks = Chunks::default();
    version.write(&mut chunks, Layout { version: 0, flexible: false }).unwrap();
    value.write(&mut chunks, Layout { version, flexible }).unwrap();
    Records::from(chunks.into_buffers()).into_bytes()
}

#[test]
fn every_version_of_a_classic_value_is_read() {
    let offset_key = OffsetCommitKey { group: KafkaStr::from("g"), ..OffsetCommitKey::default() };
    let offset_key = Record::OffsetCommit(offset_key, None).key_bytes().unwrap();
    let group_key = GroupMetadataKey { group: KafkaStr::from("g"), ..GroupMetadataKey::default() };
    let group_key = Record::GroupMetadata(group_key, None).key_bytes().unwrap();
    for (version, seed) in (0..=4).flat_map(|version| (0..20).map(move |seed| (version, seed))) {
        let layout = Layout { version, flexible: version == 4 };
        let mut source = Source::new(seed);

        let value = OffsetCommitValue::arbitrary(&mut source, layout);
        let bytes = value_at(&value, version, layout.flexible);
        let record = parse(&offset_key, Some(&bytes)).unwrap();
        let Some(Record::OffsetCommit(_, Some(read))) = record else { panic!("{record:?}") };
        assert_eq!(read, value, "version {version}");

        let value = GroupMetadataValue::arbitrary(&mut source, layout);
        let bytes = value_at(&value, version, layout.flexible);
        let record = parse(&group_key, Some(&bytes)).unwrap();
        let Some(Record::GroupMetadata(_, Some(read))) = record else { panic!("{record:?}") };
        assert_eq!(read, value, "version {version}");
    }
}

#[test]
fn an_unknown_kind_is_passed_over_and_an_unknown_version_is_not() {
    // A share group's key: whatever follows the number is not looked at.
    assert_eq!(parse(&Bytes::from_static(&[0, 11, 0xff]), None), Ok(None));
    assert_eq!(parse(&Bytes::from_static(&[0xff, 0xff]), None), Ok(None));
    let line = lines().remove(0);
    let error = parse(&line.key, Some(&Bytes::from_static(&[0, 5, 0]))).unwrap_err();
    assert_eq!(error, RecordError::ValueVersion { record: "OffsetCommit", version: 5 });
}

#[test]
fn a_record_cut_anywhere_is_refused() {
    for Line { name, key, value } in lines() {
        for len in 0..key.len() {
            let error = parse(&key.slice(..len), None).unwrap_err();
            assert!(matches!(error, RecordError::Kind(_) | RecordError::Key { .. }), "{error}");
        }
        let Some(value) = value else { continue };
        for len in 0..value.len() {
            let error = parse(&key, Some(&value.slice(..len))).unwrap_err();
            assert!(matches!(error, RecordError::Value { record, .. } if record == name));
        }
        let longer: Bytes = value.iter().chain(&[0]).copied().collect();
        let error = DecodeError::TrailingBytes(1);
        assert_eq!(
            parse(&key, Some(&longer)),
            Err(RecordError::Value { record: name, error }),
            "{name}"
        );
    }
}

#[test]
fn no_altered_record_panics_or_is_written_as_another() {
    for Line { key, value, .. } in lines() {
        let Some(value) = value else { continue };
        for (at, bit) in (0..value.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut altered = value.to_vec();
            altered[at] ^= 1 << bit;
            let Ok(Some(record)) = parse(&key, Some(&altered.into())) else { continue };
            let written = record.value_bytes().unwrap();
            assert_eq!(parse(&key, written.as_ref()).unwrap(), Some(record));
        }
    }
}
