//! Topics, records and offsets over a raw connection: the few requests that nearly every test
//! sends.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use thalweg_protocol::batch::{BatchBuilder, BatchOptions, BatchView, Batches};
use thalweg_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use thalweg_protocol::messages::fetch::{FetchPartition, FetchTopic, PartitionData};
use thalweg_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use thalweg_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, TopicProduceData,
};
use thalweg_protocol::messages::{
    CreateTopicsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest,
};
use thalweg_protocol::{ErrorCode, KafkaStr, TopicId};

use crate::wire::Wire;

/// The last versions in which topics go by name.
const PRODUCE_BY_NAME: i16 = 12;
const FETCH_BY_NAME: i16 = 12;

/// ListOffsets' name for the log start.
pub const EARLIEST: i64 = -2;
/// ListOffsets' name for the high watermark.
pub const LATEST: i64 = -1;

/// What a compressed body may become.
const BODY_BYTES_MAX: usize = 64 << 20;
const FETCH_BYTES: i32 = 4 << 20;

/// Creates a topic of one replica.
///
/// # Panics
/// If the broker does not.
pub fn create(wire: &mut Wire, name: &str, partitions: i32, configs: &[(&str, &str)]) -> TopicId {
    create_replicated(wire, name, partitions, 1, configs)
}

/// Creates a topic of so many replicas.
///
/// # Panics
/// If the broker does not.
pub fn create_replicated(
    wire: &mut Wire,
    name: &str,
    partitions: i32,
    replication_factor: i16,
    configs: &[(&str, &str)],
) -> TopicId {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: KafkaStr::copied_from(name),
        value: Some(KafkaStr::copied_from(value)),
        ..Default::default()
    };
    let topic = CreatableTopic {
        name: KafkaStr::copied_from(name),
        num_partitions: partitions,
        replication_factor,
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let response = wire.call(&request, 7).expect("CreateTopics is answered");
    let created = response.topics.first().expect("one topic, one outcome");
    let code = ErrorCode::from(created.error_code);
    assert_eq!(code, ErrorCode::None, "{name}: {:?}", created.error_message);
    TopicId(created.topic_id)
}

/// An uncompressed batch of these values, without keys, stamped now.
pub fn batch<V: AsRef<[u8]>>(values: &[V]) -> Bytes {
    batch_with(values, now_ms(), &BatchOptions::default())
}

/// A batch of these values, without keys.
pub fn batch_with<V: AsRef<[u8]>>(values: &[V], timestamp: i64, options: &BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::with_capacity(0);
    for value in values {
        builder
            .append(timestamp, None, Some(value.as_ref()), &[])
            .expect("a test's batch is small");
    }
    builder.finish(options).expect("a test's batch is small")
}

/// The time, as records have it.
#[expect(clippy::disallowed_methods, reason = "a test's records have real times")]
pub fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).expect("not yet")
}

/// A request that appends `records` to one partition.
pub fn produce_request(topic: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData {
        index: partition,
        records: Some(records.into()),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: KafkaStr::copied_from(topic),
        partition_data: vec![data],
        ..Default::default()
    };
    ProduceRequest { acks, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() }
}

/// Appends `records` with `acks=all`.
pub fn produce(
    wire: &mut Wire,
    topic: &str,
    partition: i32,
    records: Bytes,
) -> io::Result<PartitionProduceResponse> {
    produce_acks(wire, topic, partition, records, -1)
}

/// Appends `records` with any `acks` but 0.
pub fn produce_acks(
    wire: &mut Wire,
    topic: &str,
    partition: i32,
    records: Bytes,
    acks: i16,
) -> io::Result<PartitionProduceResponse> {
    let request = produce_request(topic, partition, records, acks);
    let mut response = wire.call(&request, PRODUCE_BY_NAME)?;
    let mut topic = response.responses.pop().expect("one topic, one outcome");
    Ok(topic.partition_responses.pop().expect("one partition, one outcome"))
}

/// A request that reads from one partition without waiting.
pub fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: FETCH_BYTES,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: KafkaStr::copied_from(topic),
        partitions: vec![partition],
        ..Default::default()
    };
    FetchRequest { max_bytes: FETCH_BYTES, topics: vec![topic], ..Default::default() }
}

/// Reads once from `offset`.
pub fn fetch(
    wire: &mut Wire,
    topic: &str,
    partition: i32,
    offset: i64,
) -> io::Result<PartitionData> {
    let mut response = wire.call(&fetch_request(topic, partition, offset), FETCH_BY_NAME)?;
    assert_eq!(response.error_code, 0, "{topic}-{partition}");
    let mut topic = response.responses.pop().expect("one topic, one answer");
    Ok(topic.partitions.pop().expect("one partition, one answer"))
}

/// The batches of a fetched partition, every CRC checked.
///
/// # Panics
/// If a batch is not what was appended.
pub fn batches(data: PartitionData) -> Vec<BatchView> {
    let records = data.records.expect("records are never null").into_bytes();
    let batches = Batches::new(records).map(|batch| {
        let batch = batch.expect("a batch");
        batch.verify_crc().expect("an undamaged batch");
        batch
    });
    batches.collect()
}

/// All values from `offset` to the high watermark.
///
/// # Panics
/// If an offset is missing or comes twice, or the broker refuses.
pub fn read_all(wire: &mut Wire, topic: &str, partition: i32, offset: i64) -> Vec<Bytes> {
    let mut next = offset;
    let mut values = Vec::new();
    loop {
        let data = fetch(wire, topic, partition, next).expect("Fetch is answered");
        let place = format!("{topic}-{partition} at {next}");
        assert_eq!(ErrorCode::from(data.error_code), ErrorCode::None, "{place}");
        let high_watermark = data.high_watermark;
        if next >= high_watermark {
            assert_eq!(next, high_watermark, "{place}");
            return values;
        }
        let begun = next;
        for batch in batches(data) {
            for record in batch.records(BODY_BYTES_MAX).expect("a readable batch") {
                let record = record.expect("a readable record");
                // The first batch may begin before the offset that was asked for.
                if record.offset < next {
                    assert!(record.offset < begun, "{place}: offset {} again", record.offset);
                    continue;
                }
                assert_eq!(record.offset, next, "{place}");
                values.push(record.value.expect("a test's record has a value"));
                next += 1;
            }
        }
        assert!(next > begun, "{place}: nothing, though the high watermark is {high_watermark}");
    }
}

/// The offset that ListOffsets finds for `timestamp`.
///
/// # Panics
/// If the broker refuses.
pub fn offset_at(wire: &mut Wire, topic: &str, partition: i32, timestamp: i64) -> i64 {
    let found = try_offset_at(wire, topic, partition, timestamp);
    let (code, offset) = found.expect("ListOffsets is answered");
    assert_eq!(code, ErrorCode::None);
    offset
}

/// The same, from a broker that may break off or not lead.
pub fn try_offset_at(
    wire: &mut Wire,
    topic: &str,
    partition: i32,
    timestamp: i64,
) -> io::Result<(ErrorCode, i64)> {
    let partition =
        ListOffsetsPartition { partition_index: partition, timestamp, ..Default::default() };
    let topic = ListOffsetsTopic {
        name: KafkaStr::copied_from(topic),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let response = wire.call(&request, 6)?;
    let found = response.topics.first().and_then(|topic| topic.partitions.first());
    let found = found.expect("one question, one answer");
    Ok((ErrorCode::from(found.error_code), found.offset))
}
