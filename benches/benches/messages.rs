//! What it costs to read and write the messages that brokers see most, each at its newest version
//! and as a busy client or broker would fill it, and what it costs to check a batch.
//!
//! `cargo bench -p thalweg-benches --bench messages`. Record bytes are slices, so a Fetch response
//! is assembled in the same time however large its records are; that is `assemble` here.

use std::hint::black_box;
use std::ops::RangeInclusive;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use thalweg_benches::logs;
use thalweg_protocol::batch::BatchView;
use thalweg_protocol::messages::fetch::{
    FetchPartition, FetchTopic, FetchableTopicResponse, PartitionData,
};
use thalweg_protocol::messages::metadata::{
    MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use thalweg_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use thalweg_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, TopicProduceData, TopicProduceResponse,
};
use thalweg_protocol::messages::{
    ApiVersionsRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    FetchRequest, FetchResponse, HeartbeatRequest, HeartbeatResponse, MetadataRequest,
    MetadataResponse, OffsetCommitRequest, OffsetCommitResponse, ProduceRequest, ProduceResponse,
};
use thalweg_protocol::{Chunks, Message, Reader, encode_response};
use uuid::Uuid;

const PARTITIONS: i32 = 10;
const BATCH_BYTES: usize = 16 << 10;
const TOPIC: Uuid = Uuid::from_u128(7);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    codec(&mut criterion);
    assemble(&mut criterion);
    validate(&mut criterion);
    criterion.final_summary();
}

fn codec(criterion: &mut Criterion) {
    let records = logs::batch(BATCH_BYTES).expect("a batch of ours").bytes().clone();
    message(criterion, "ApiVersionsRequest", &ApiVersionsRequest::default());
    message(criterion, "ProduceRequest", &produce_request(&records));
    message(criterion, "ProduceResponse", &produce_response());
    message(criterion, "FetchRequest", &fetch_request());
    message(criterion, "FetchResponse", &fetch_response(&records));
    message(criterion, "MetadataRequest", &metadata_request());
    message(criterion, "MetadataResponse", &metadata_response());
    message(criterion, "OffsetCommitRequest", &offset_commit_request());
    message(criterion, "OffsetCommitResponse", &offset_commit_response());
    message(criterion, "HeartbeatRequest", &heartbeat_request());
    message(criterion, "HeartbeatResponse", &HeartbeatResponse::default());
    message(criterion, "ConsumerGroupHeartbeatRequest", &consumer_heartbeat());
    let answer = ConsumerGroupHeartbeatResponse::default();
    message(criterion, "ConsumerGroupHeartbeatResponse", &answer);
}

/// Writes the message and reads it back, at its newest version.
fn message<M: Message>(criterion: &mut Criterion, name: &str, message: &M) {
    let version = *RangeInclusive::end(&M::VERSIONS);
    let encode = || {
        let mut chunks = Chunks::default();
        message.encode(&mut chunks, version).expect("it can be written at its newest version");
        chunks.into_buffers()
    };
    let encoded = Bytes::from(encode().concat());
    let mut group = criterion.benchmark_group(name);
    group.bench_function("encode", |bencher| bencher.iter(encode));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            let decoded = M::decode(&mut Reader::new(encoded.clone()), version);
            decoded.expect("what was written can be read")
        });
    });
    group.finish();
}

/// What the connection does with a Fetch response: headers are written, record slices are listed.
fn assemble(criterion: &mut Criterion) {
    let version = *FetchResponse::VERSIONS.end();
    let mut group = criterion.benchmark_group("assemble a FetchResponse");
    for bytes in [1 << 10, 16 << 10, 128 << 10] {
        let records = logs::batch(bytes).expect("a batch of ours").bytes().clone();
        let response = fetch_response(&records);
        group.throughput(Throughput::Bytes(bytes as u64 * PARTITIONS as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            bencher.iter(|| encode_response(7, &response, version).expect("it can be written"));
        });
    }
    group.finish();
}

/// What a leader does before it appends: the batch's structure and its CRC.
fn validate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("validate a batch");
    for bytes in [1 << 10, 16 << 10, 128 << 10] {
        let batch = logs::batch(bytes).expect("a batch of ours").bytes().clone();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            bencher.iter(|| {
                let view = BatchView::parse(black_box(batch.clone())).expect("a batch of ours");
                view.verify_crc().expect("its CRC is right");
                view
            });
        });
    }
    group.finish();
}

fn produce_request(records: &Bytes) -> ProduceRequest {
    let partition = |index| PartitionProduceData {
        index,
        records: Some(records.clone().into()),
        ..Default::default()
    };
    let topic = TopicProduceData {
        topic_id: TOPIC,
        partition_data: (0..PARTITIONS).map(partition).collect(),
        ..Default::default()
    };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() }
}

fn produce_response() -> ProduceResponse {
    let partition =
        |index| PartitionProduceResponse { index, base_offset: 7, ..Default::default() };
    let topic = TopicProduceResponse {
        topic_id: TOPIC,
        partition_responses: (0..PARTITIONS).map(partition).collect(),
        ..Default::default()
    };
    ProduceResponse { responses: vec![topic], ..Default::default() }
}

fn fetch_request() -> FetchRequest {
    let partition = |partition| FetchPartition {
        partition,
        fetch_offset: 7,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic_id: TOPIC,
        partitions: (0..PARTITIONS).map(partition).collect(),
        ..Default::default()
    };
    FetchRequest { max_wait_ms: 500, min_bytes: 1, topics: vec![topic], ..Default::default() }
}

fn fetch_response(records: &Bytes) -> FetchResponse {
    let partition = |partition_index| PartitionData {
        partition_index,
        high_watermark: 7,
        records: Some(records.clone().into()),
        ..Default::default()
    };
    let topic = FetchableTopicResponse {
        topic_id: TOPIC,
        partitions: (0..PARTITIONS).map(partition).collect(),
        ..Default::default()
    };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

fn metadata_request() -> MetadataRequest {
    let topic = MetadataRequestTopic { name: Some("measured".into()), ..Default::default() };
    MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
}

/// A cluster of three with a hundred partitions.
fn metadata_response() -> MetadataResponse {
    let broker = |node_id| MetadataResponseBroker {
        node_id,
        host: "broker.example.com".into(),
        port: 9092,
        ..Default::default()
    };
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: partition_index % 3,
        replica_nodes: vec![0, 1, 2],
        isr_nodes: vec![0, 1, 2],
        ..Default::default()
    };
    let topic = MetadataResponseTopic {
        name: Some("measured".into()),
        topic_id: TOPIC,
        partitions: (0..100).map(partition).collect(),
        ..Default::default()
    };
    let brokers = (0..3).map(broker).collect();
    MetadataResponse { brokers, topics: vec![topic], ..Default::default() }
}

fn offset_commit_request() -> OffsetCommitRequest {
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 7,
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        topic_id: TOPIC,
        partitions: (0..PARTITIONS).map(partition).collect(),
        ..Default::default()
    };
    let (group_id, member_id) = ("group".into(), MEMBER.into());
    OffsetCommitRequest { group_id, member_id, topics: vec![topic], ..Default::default() }
}

fn offset_commit_response() -> OffsetCommitResponse {
    let partition =
        |partition_index| OffsetCommitResponsePartition { partition_index, ..Default::default() };
    let topic = OffsetCommitResponseTopic {
        topic_id: TOPIC,
        partitions: (0..PARTITIONS).map(partition).collect(),
        ..Default::default()
    };
    OffsetCommitResponse { topics: vec![topic], ..Default::default() }
}

const MEMBER: &str = "consumer-00000000-0000-0000-0000-000000000000";

fn heartbeat_request() -> HeartbeatRequest {
    let (group_id, member_id) = ("group".into(), MEMBER.into());
    HeartbeatRequest { group_id, member_id, generation_id: 7, ..Default::default() }
}

fn consumer_heartbeat() -> ConsumerGroupHeartbeatRequest {
    let (group_id, member_id) = ("group".into(), MEMBER.into());
    ConsumerGroupHeartbeatRequest { group_id, member_id, member_epoch: 7, ..Default::default() }
}
