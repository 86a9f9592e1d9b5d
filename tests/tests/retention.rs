//! What topics do with records by themselves: drop the old ones, stamp, recompress and refuse.

use thalweg_protocol::batch::{BatchBuilder, BatchOptions, BatchView, TimestampType};
use thalweg_protocol::compression::Codec;
use thalweg_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use thalweg_protocol::messages::{DeleteRecordsRequest, FetchRequest};
use thalweg_protocol::{ErrorCode, KafkaStr};
use thalweg_tests::broker::LocalBroker;
use thalweg_tests::topic::{
    self, EARLIEST, LATEST, batch, batch_with, batches, create, fetch, now_ms, offset_at, produce,
    read_all,
};
use thalweg_tests::wait::eventually;
use thalweg_tests::wire::Wire;

const TOPIC: &str = "logs";
const HOUR_MS: i64 = 3_600_000;
/// Retention looks at partitions so often.
const LOOKS_OFTEN: [(&str, &str); 1] = [("log.retention.check.interval.ms", "50")];

fn produce_ok(wire: &mut Wire, records: bytes::Bytes) -> i64 {
    let outcome = produce(wire, TOPIC, 0, records).unwrap();
    assert_eq!(outcome.error_code, 0, "{:?}", outcome.error_message);
    outcome.base_offset
}

/// Waits until the log starts higher than at 0, and no higher than at `last`.
fn trimmed_start(wire: &mut Wire, least: i64, last: i64) -> i64 {
    let start = eventually("old segments go", || {
        Some(offset_at(wire, TOPIC, 0, EARLIEST)).filter(|start| *start >= least)
    });
    assert!(start <= last, "the log starts at {start}, above {last}");
    start
}

#[test]
fn a_partition_does_not_outgrow_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let broker = LocalBroker::start(dir.path(), &LOOKS_OFTEN);
    let mut wire = broker.connect();
    let configs = [("internal.segment.bytes", "10000"), ("retention.bytes", "30000")];
    create(&mut wire, TOPIC, 1, &configs);
    // 200 batches of about 1,070 bytes: some nine to a segment, and three to four segments stay.
    for number in 0..200 {
        assert_eq!(produce_ok(&mut wire, batch(&[format!("{number:1000}")])), number);
    }
    let start = trimmed_start(&mut wire, 200 - 47, 200 - 27);
    let below = fetch(&mut wire, TOPIC, 0, start - 1).unwrap();
    assert_eq!(ErrorCode::from(below.error_code), ErrorCode::OffsetOutOfRange);
    let kept = read_all(&mut wire, TOPIC, 0, start);
    let expected: Vec<String> = (start..200).map(|number| format!("{number:1000}")).collect();
    assert_eq!(kept, expected);
    drop(wire);
    broker.stop();

    let broker = LocalBroker::start(dir.path(), &[]);
    let mut wire = broker.connect();
    assert!(offset_at(&mut wire, TOPIC, 0, EARLIEST) >= start, "nothing comes back");
    assert_eq!(offset_at(&mut wire, TOPIC, 0, LATEST), 200);
    drop(wire);
    broker.stop();
}

#[test]
fn records_go_when_they_are_old_enough_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let broker = LocalBroker::start(dir.path(), &LOOKS_OFTEN);
    let mut wire = broker.connect();
    let configs = [("internal.segment.bytes", "10000"), ("retention.ms", "3600000")];
    create(&mut wire, TOPIC, 1, &configs);
    let (old, new) = (now_ms() - 2 * HOUR_MS, now_ms());
    let options = BatchOptions::default();
    for number in 0..60 {
        produce_ok(&mut wire, batch_with(&[format!("{number:1000}")], old, &options));
    }
    for number in 60..80 {
        produce_ok(&mut wire, batch_with(&[format!("{number:1000}")], new, &options));
    }
    // A segment goes whole, so a few old ones may stay with the first new one.
    let start = trimmed_start(&mut wire, 50, 60);
    let kept = read_all(&mut wire, TOPIC, 0, start);
    let expected: Vec<String> = (start..80).map(|number| format!("{number:1000}")).collect();
    assert_eq!(kept, expected);
    drop(wire);
    broker.stop();
}

/// Moves the log start: the new one, or why not.
fn delete_records(wire: &mut Wire, offset: i64) -> (ErrorCode, i64) {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: TOPIC.into(),
            partitions: vec![DeleteRecordsPartition { offset, ..Default::default() }],
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let response = wire.call(&request, 2).unwrap();
    let outcome = &response.topics[0].partitions[0];
    (outcome.error_code.into(), outcome.low_watermark)
}

#[test]
fn deleted_records_are_gone_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let broker = LocalBroker::start(dir.path(), &[]);
    let mut wire = broker.connect();
    create(&mut wire, TOPIC, 1, &[]);
    for _ in 0..4 {
        produce_ok(&mut wire, batch(&["a", "b", "c"]));
    }
    assert_eq!(delete_records(&mut wire, 7), (ErrorCode::None, 7));
    assert_eq!(delete_records(&mut wire, 5), (ErrorCode::None, 7), "what is gone is gone");
    assert_eq!(delete_records(&mut wire, 13).0, ErrorCode::OffsetOutOfRange);
    let below = fetch(&mut wire, TOPIC, 0, 6).unwrap();
    assert_eq!(ErrorCode::from(below.error_code), ErrorCode::OffsetOutOfRange);
    // In the middle of a batch: the batch comes whole.
    let within = fetch(&mut wire, TOPIC, 0, 7).unwrap();
    assert_eq!((within.error_code, within.log_start_offset), (0, 7));
    assert_eq!(batches(within)[0].header().base_offset, 6);
    drop(wire);
    broker.stop();

    let broker = LocalBroker::start(dir.path(), &[]);
    let mut wire = broker.connect();
    assert_eq!(offset_at(&mut wire, TOPIC, 0, EARLIEST), 7);
    assert_eq!(read_all(&mut wire, TOPIC, 0, 7), ["b", "c", "a", "b", "c"]);
    assert_eq!(delete_records(&mut wire, -1), (ErrorCode::None, 12), "all of it");
    assert_eq!(produce_ok(&mut wire, batch(&["d"])), 12);
    assert_eq!(read_all(&mut wire, TOPIC, 0, 12), ["d"]);
    drop(wire);
    broker.stop();
}

/// The only batch of the partition.
fn fetched_batch(wire: &mut Wire) -> BatchView {
    let mut found = batches(fetch(wire, TOPIC, 0, 0).unwrap());
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[test]
fn the_log_stamps_records_if_the_topic_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let broker = LocalBroker::start(dir.path(), &[]);
    let mut wire = broker.connect();
    create(&mut wire, TOPIC, 1, &[("message.timestamp.type", "LogAppendTime")]);
    let before = now_ms();
    let sent = batch_with(&["a", "b"], 1, &BatchOptions::default());
    let outcome = produce(&mut wire, TOPIC, 0, sent).unwrap();
    assert_eq!(outcome.error_code, 0);
    assert!((before..=now_ms()).contains(&outcome.log_append_time_ms));

    let stored = fetched_batch(&mut wire);
    assert_eq!(stored.attributes().timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(stored.header().max_timestamp, outcome.log_append_time_ms);
    let records = stored.records(1000).unwrap().map(|record| record.unwrap().timestamp);
    assert_eq!(records.collect::<Vec<_>>(), [outcome.log_append_time_ms; 2]);
    assert_eq!(offset_at(&mut wire, TOPIC, 0, before), 0);
    assert_eq!(offset_at(&mut wire, TOPIC, 0, outcome.log_append_time_ms + 1), -1);
    drop(wire);
    broker.stop();
}

#[test]
fn batches_are_recompressed_if_the_topic_names_a_codec() {
    let dir = tempfile::tempdir().unwrap();
    let broker = LocalBroker::start(dir.path(), &[]);
    let mut wire = broker.connect();
    create(&mut wire, TOPIC, 1, &[("compression.type", "zstd")]);
    let values = ["again and ".repeat(500), "again".to_owned()];
    for (number, codec) in
        [Codec::None, Codec::Gzip, Codec::Lz4, Codec::Snappy, Codec::Zstd].into_iter().enumerate()
    {
        let options = BatchOptions { codec, ..BatchOptions::default() };
        let offset = produce_ok(&mut wire, batch_with(&values, 7, &options));
        let stored = batches(fetch(&mut wire, TOPIC, 0, offset).unwrap()).remove(0);
        assert_eq!(stored.header().base_offset, 2 * i64::try_from(number).unwrap());
        assert_eq!(stored.attributes().codec(), Ok(Codec::Zstd), "from {codec:?}");
        assert!(stored.bytes().len() < 500, "from {codec:?}: {} bytes", stored.bytes().len());
        let records: Vec<_> = stored.records(10_000).unwrap().map(Result::unwrap).collect();
        let found = records.iter().map(|record| record.value.clone().unwrap());
        assert_eq!(found.collect::<Vec<_>>(), values, "from {codec:?}");
        assert!(records.iter().all(|record| record.timestamp == 7), "from {codec:?}");
    }
    drop(wire);
    broker.stop();
}

#[test]
fn compacted_topics_say_which_records_lack_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let broker = LocalBroker::start(dir.path(), &[]);
    let mut wire = broker.connect();
    create(&mut wire, TOPIC, 1, &[("cleanup.policy", "compact")]);
    let keyed = |keys: &[Option<&[u8]>], codec| {
        let mut builder = BatchBuilder::with_capacity(0);
        for key in keys {
            builder.append(now_ms(), *key, Some(b"value"), &[]).unwrap();
        }
        builder.finish(&BatchOptions { codec, ..BatchOptions::default() }).unwrap()
    };
    for codec in [Codec::None, Codec::Lz4] {
        let mixed = keyed(&[Some(b"a"), None, Some(b""), None], codec);
        let outcome = produce(&mut wire, TOPIC, 0, mixed).unwrap();
        assert_eq!(ErrorCode::from(outcome.error_code), ErrorCode::InvalidRecord);
        let places = outcome.record_errors.iter().map(|error| error.batch_index);
        assert_eq!(places.collect::<Vec<_>>(), [1, 3]);
        let message = |text: &Option<KafkaStr>| text.as_ref().is_some_and(|text| !text.is_empty());
        assert!(message(&outcome.error_message));
        assert!(outcome.record_errors.iter().all(|it| message(&it.batch_index_error_message)));
    }
    // An empty key is a key.
    produce_ok(&mut wire, keyed(&[Some(b"a"), Some(b"")], Codec::Lz4));
    assert_eq!(offset_at(&mut wire, TOPIC, 0, LATEST), 2);
    drop(wire);
    broker.stop();
}

#[test]
fn a_waiting_fetch_is_woken_by_the_first_record() {
    let dir = tempfile::tempdir().unwrap();
    let broker = LocalBroker::start(dir.path(), &[("shards", "3")]);
    let mut wire = broker.connect();
    create(&mut wire, TOPIC, 8, &[]);
    for partition in 0..8 {
        let mut waiting = broker.connect();
        let mut request: FetchRequest = topic::fetch_request(TOPIC, partition, 0);
        // Longer than this test may take, so that only the record can end the wait.
        (request.max_wait_ms, request.min_bytes) = (120_000, 1);
        let id = waiting.send(&request, 12).unwrap();
        assert_eq!(produce(&mut wire, TOPIC, partition, batch(&["x"])).unwrap().error_code, 0);
        let mut answer = waiting.receive::<FetchRequest>(id, 12).unwrap();
        let data = answer.responses.remove(0).partitions.remove(0);
        assert_eq!(batches(data).len(), 1, "partition {partition}");
    }
    drop(wire);
    broker.stop();
}
