//! The load: the same frames for a bare server and for a broker, five under way at a time.
//!
//! Frames are built once and sent as they are; of what comes back, only what is needed to go on is
//! looked at. A broker's records are counted: a figure for less than all of them would be none.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use bytes::Bytes;
use thalweg_benches::frames::Frames;
use thalweg_protocol::batch::{BatchBuilder, BatchOptions, Batches};
use thalweg_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use thalweg_protocol::messages::fetch::{FetchPartition, FetchTopic};
use thalweg_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use thalweg_protocol::messages::{CreateTopicsRequest, FetchRequest, ProduceRequest};
use thalweg_protocol::{Message, Reader, Request, ResponseHeader, encode_request};

/// A batch is 63 records of about 1 KiB.
pub(super) const BATCH_BYTES: usize = 64 << 10;
const RECORDS: i64 = 63;
/// Java's and librdkafka's default with idempotence.
const IN_FLIGHT: u64 = 5;
const FETCH_BYTES: i32 = 1 << 20;
const TOPIC: &str = "floor";
/// The last versions in which topics go by name.
const PRODUCE_VERSION: i16 = 12;
const FETCH_VERSION: i16 = 12;

/// Makes a topic of one partition that acknowledges from the page cache, as the bare server does.
pub(super) fn create_topic(broker: SocketAddr) -> anyhow::Result<()> {
    let config = CreatableTopicConfig {
        name: "write.caching".into(),
        value: Some("true".into()),
        ..CreatableTopicConfig::default()
    };
    let topic = CreatableTopic {
        name: TOPIC.into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![config],
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    let response = call(&mut Frames::connect(broker)?, &request, 7)?;
    let created = response.topics.first().context("one topic, one outcome")?;
    ensure!(created.error_code == 0, "the topic was not created: error {}", created.error_code);
    Ok(())
}

/// Sends so many batches, each in a request of its own, and waits until all are acknowledged.
pub(super) fn produce(server: SocketAddr, batches: u64) -> anyhow::Result<()> {
    let mut connection = Frames::connect(server)?;
    let frame = produce_frame()?;
    let mut answer = Vec::new();
    for sent in 0..batches + IN_FLIGHT {
        if sent < batches {
            connection.send(&frame)?;
        }
        if sent >= IN_FLIGHT {
            ensure!(connection.receive(&mut answer)?, "the server has ended");
        }
    }
    Ok(())
}

/// Asks a bare server for slices until there are no more.
pub(super) fn take(server: SocketAddr) -> anyhow::Result<()> {
    let mut connection = Frames::connect(server)?;
    let request = fetch_frame(0)?;
    let mut slice = Vec::new();
    loop {
        connection.send(&request)?;
        ensure!(connection.receive(&mut slice)?, "the server has ended");
        if slice.is_empty() {
            return Ok(());
        }
    }
}

/// Reads everything that [`produce`] has written, and checks that it is all there.
pub(super) fn fetch(broker: SocketAddr, batches: u64) -> anyhow::Result<()> {
    let mut connection = Frames::connect(broker)?;
    let end = i64::try_from(batches)? * RECORDS;
    let mut answer = Vec::new();
    let mut next = 0;
    while next < end {
        connection.send(&fetch_frame(next)?)?;
        ensure!(connection.receive(&mut answer)?, "the broker has ended");
        let response = decode::<FetchRequest>(std::mem::take(&mut answer), FETCH_VERSION)?;
        let partition = response.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let partition = partition.context("one partition, one answer")?;
        ensure!(partition.error_code == 0, "fetch at {next}: error {}", partition.error_code);
        let before = next;
        for batch in Batches::new(partition.records.context("never null")?.into_bytes()) {
            let header = *batch?.header();
            ensure!(header.base_offset == next, "offset {} instead of {next}", header.base_offset);
            next = header.next_offset();
        }
        ensure!(next > before, "nothing at {next}, though the log ends at {end}");
    }
    Ok(())
}

fn produce_frame() -> anyhow::Result<Bytes> {
    let mut builder = BatchBuilder::with_capacity(BATCH_BYTES);
    // Bytes that no compression or null detection can make less of.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..RECORDS {
        let value = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        });
        let value: Vec<u8> = value.take(1_030).collect();
        builder.append(0, None, Some(&value), &[])?;
    }
    let records = builder.finish(&BatchOptions::default())?;
    let data = PartitionProduceData { records: Some(records.into()), ..Default::default() };
    let topic = TopicProduceData {
        name: TOPIC.into(),
        partition_data: vec![data],
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    Ok(encode_request(0, Some("floor".into()), &request, PRODUCE_VERSION)?.into_bytes())
}

fn fetch_frame(offset: i64) -> anyhow::Result<Bytes> {
    let partition = FetchPartition {
        fetch_offset: offset,
        partition_max_bytes: FETCH_BYTES,
        ..FetchPartition::default()
    };
    let topic =
        FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..FetchTopic::default() };
    let request =
        FetchRequest { max_bytes: FETCH_BYTES, topics: vec![topic], ..Default::default() };
    Ok(encode_request(0, Some("floor".into()), &request, FETCH_VERSION)?.into_bytes())
}

fn call<R: Request>(
    connection: &mut Frames,
    request: &R,
    version: i16,
) -> anyhow::Result<R::Response> {
    connection.send(&encode_request(0, Some("floor".into()), request, version)?.into_bytes())?;
    let mut answer = Vec::new();
    ensure!(connection.receive(&mut answer)?, "the broker has ended");
    decode::<R>(answer, version)
}

fn decode<R: Request>(answer: Vec<u8>, version: i16) -> anyhow::Result<R::Response> {
    let mut reader = Reader::new(answer.into());
    ResponseHeader::decode(&mut reader, R::API_KEY, version)?;
    Ok(R::Response::decode(&mut reader, version)?)
}
