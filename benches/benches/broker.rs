//! A whole broker in this process, through its own port and one connection: what it takes to carry
//! one batch through the Raft group of each of 1, 100 and 1,000 partitions in one request, to
//! assemble an answer from as many, and to hear that a member of a group lives.
//!
//! `cargo bench -p thalweg-benches --bench broker`. Topics acknowledge from the page cache, so that
//! the disk is left out; the client's part and the loopback are in every figure.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use tempfile::TempDir;
use thalweg::broker::Broker;
use thalweg::config::{BrokerConfig, Layers, ServeFlags};
use thalweg_benches::logs;
use thalweg_client::admin::NewTopic;
use thalweg_client::{Client, Target};
use thalweg_protocol::messages::fetch::{FetchPartition, FetchTopic};
use thalweg_protocol::messages::metadata::MetadataRequestTopic;
use thalweg_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use thalweg_protocol::messages::{
    ConsumerGroupHeartbeatRequest, FetchRequest, FindCoordinatorRequest, MetadataRequest,
    ProduceRequest,
};
use tokio::runtime::Runtime;
use uuid::Uuid;

const PARTITIONS: [i32; 3] = [1, 100, 1000];
const BATCH_BYTES: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    partitions(&mut criterion);
    heartbeats(&mut criterion);
    criterion.final_summary();
}

/// A broker and a client of it.
struct Served {
    runtime: Runtime,
    client: Client,
    broker: Option<Broker>,
    _data_dir: TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
    }
}

impl Served {
    fn start() -> anyhow::Result<Self> {
        let data_dir = tempfile::tempdir()?;
        let flags = ServeFlags {
            data_dir: Some(data_dir.path().to_string_lossy().into_owned()),
            listen: Some("127.0.0.1:0".to_owned()),
            admin_listen: Some("off".to_owned()),
            ..ServeFlags::default()
        };
        let layers = Layers { flags: Some(&flags), ..Layers::default() };
        let broker = Broker::start(BrokerConfig::from_layers(layers)?)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(Client::connect(&broker.address().to_string()))?;
        Ok(Served { runtime, client, broker: Some(broker), _data_dir: data_dir })
    }

    /// Creates a topic and waits until every partition takes a batch. Gives its id.
    fn topic(&self, name: &str, partitions: i32, batch: &Bytes) -> anyhow::Result<Uuid> {
        self.runtime.block_on(async {
            let topic = NewTopic::named(name).partitions(partitions);
            let topic = topic.config("write.caching", "true");
            for created in self.client.admin().create_topics(&[topic], false).await? {
                created?;
            }
            let asked =
                MetadataRequestTopic { name: Some(name.to_owned().into()), ..Default::default() };
            let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
            let told = self.client.request(Target::AnyBroker, |_| request.clone()).await?;
            let id = told.topics.first().context("one topic, one answer")?.topic_id;
            let deadline = Instant::now() + PATIENCE;
            while let Err(error) = produce(&self.client, name, id, partitions, batch).await {
                ensure!(Instant::now() < deadline, "{error:#}");
                tokio::task::yield_now().await;
            }
            Ok(id)
        })
    }
}

/// Writes a batch to each partition, in one request, and waits until all are acknowledged.
async fn produce(
    client: &Client,
    name: &str,
    id: Uuid,
    partitions: i32,
    batch: &Bytes,
) -> anyhow::Result<()> {
    let data = |index| PartitionProduceData {
        index,
        records: Some(batch.clone().into()),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: name.to_owned().into(),
        topic_id: id,
        partition_data: (0..partitions).map(data).collect(),
        ..Default::default()
    };
    let topic_data = vec![topic];
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data, ..Default::default() };
    let answer = client.request(Target::AnyBroker, |_| request.clone()).await?;
    let outcomes = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    let mut written = 0;
    for outcome in outcomes {
        ensure!(outcome.error_code == 0, "error {} for {}", outcome.error_code, outcome.index);
        written += 1;
    }
    ensure!(written == partitions, "{written} of {partitions} answered");
    Ok(())
}

/// Reads the first batch of each partition, in one request.
async fn fetch(client: &Client, name: &str, id: Uuid, partitions: i32) -> anyhow::Result<()> {
    let partition = |partition| FetchPartition {
        partition,
        partition_max_bytes: BATCH_BYTES as i32,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: name.to_owned().into(),
        topic_id: id,
        partitions: (0..partitions).map(partition).collect(),
        ..Default::default()
    };
    let request =
        FetchRequest { max_wait_ms: 500, min_bytes: 1, topics: vec![topic], ..Default::default() };
    let answer = client.request(Target::AnyBroker, |_| request.clone()).await?;
    let read = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let held = read.filter(|it| it.records.as_ref().is_some_and(|it| !it.is_empty())).count();
    ensure!(held == partitions as usize, "{held} of {partitions} gave records");
    Ok(())
}

fn partitions(criterion: &mut Criterion) {
    let served = Served::start().expect("a broker starts");
    let batch = logs::batch(BATCH_BYTES).expect("a batch of ours").bytes().clone();
    let named: Vec<(i32, String, Uuid)> = PARTITIONS
        .into_iter()
        .map(|partitions| {
            let name = format!("groups-{partitions}");
            let id = served.topic(&name, partitions, &batch).expect("the topic is created");
            (partitions, name, id)
        })
        .collect();
    let Served { client, runtime, .. } = &served;
    let mut group = criterion.benchmark_group("a batch through each of so many Raft groups");
    for (partitions, name, id) in &named {
        group.throughput(Throughput::Elements(partitions.unsigned_abs().into()));
        group.bench_function(BenchmarkId::from_parameter(partitions), |bencher| {
            bencher.iter(|| {
                let written = runtime.block_on(produce(client, name, *id, *partitions, &batch));
                written.expect("the broker takes every batch");
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("a batch read of each of so many partitions");
    for (partitions, name, id) in &named {
        group.throughput(Throughput::Elements(partitions.unsigned_abs().into()));
        group.bench_function(BenchmarkId::from_parameter(partitions), |bencher| {
            bencher.iter(|| {
                let read = runtime.block_on(fetch(client, name, *id, *partitions));
                read.expect("the broker gives every batch");
            });
        });
    }
    group.finish();
}

const GROUP: &str = "measured";
const MEMBER: &str = "0000000000000000000001";

/// Joins a group, again until its coordinator has loaded. Gives the member's epoch.
async fn join(client: &Client, topic: &str) -> anyhow::Result<i32> {
    let find =
        FindCoordinatorRequest { coordinator_keys: vec![GROUP.into()], ..Default::default() };
    let request = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: MEMBER.into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![topic.to_owned().into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        client.request(Target::AnyBroker, |_| find.clone()).await?;
        let answer = client.request(Target::AnyBroker, |_| request.clone()).await?;
        if answer.error_code == 0 {
            return Ok(answer.member_epoch);
        }
        ensure!(Instant::now() < deadline, "joining failed with error {}", answer.error_code);
        tokio::task::yield_now().await;
    }
}

async fn heartbeat(client: &Client, member_epoch: i32) -> anyhow::Result<i32> {
    let request = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: MEMBER.into(),
        member_epoch,
        ..Default::default()
    };
    let answer = client.request(Target::AnyBroker, |_| request.clone()).await?;
    ensure!(answer.error_code == 0, "error {}", answer.error_code);
    Ok(answer.member_epoch)
}

fn heartbeats(criterion: &mut Criterion) {
    let served = Served::start().expect("a broker starts");
    let batch = logs::batch(BATCH_BYTES).expect("a batch of ours").bytes().clone();
    served.topic("subscribed", 6, &batch).expect("the topic is created");
    let Served { client, runtime, .. } = &served;
    let mut epoch = runtime.block_on(join(client, "subscribed")).expect("the member joins");
    criterion.bench_function("heartbeat of a group's member", |bencher| {
        bencher.iter(|| {
            let beat = runtime.block_on(heartbeat(client, epoch));
            epoch = beat.expect("the member is known");
        });
    });
}
