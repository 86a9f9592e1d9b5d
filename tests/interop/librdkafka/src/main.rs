//! librdkafka as Rust applications use it: producer, consumer by assignment, and admin.

mod records;
mod steps;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::future::try_join_all;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use records::{CODECS, COUNT, Expected, PARTITIONS, PROBE, Record, end_offset};
use steps::{DEADLINE, Steps, eventually};

struct Suite {
    bootstrap: String,
    topic: String,
    expected: Expected,
    admin: AdminClient<DefaultClientContext>,
    consumer: BaseConsumer,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let suite = Suite::connect()?;
    let mut steps = Steps::default();
    steps.step("create-topic", suite.create_topic()).await;
    steps.step("describe-topic", suite.describe_topic()).await;
    for (block, codec) in CODECS.into_iter().enumerate() {
        steps.step(&format!("produce-{codec}"), suite.produce(codec, block)).await;
    }
    steps.step("list-offsets", async { suite.list_offsets() }).await;
    steps.step("read-all", async { suite.read_all() }).await;
    steps.step("read-from-timestamp", async { suite.read_from_timestamp() }).await;
    steps.step("describe-topic-configs", suite.describe_topic_configs()).await;
    steps.step("describe-broker-configs", suite.describe_broker_configs()).await;
    steps.step("delete-records", suite.delete_records()).await;
    steps.step("delete-topic", suite.delete_topic()).await;
    Ok(if steps.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Suite {
    fn connect() -> Result<Self> {
        let bootstrap = std::env::var("BOOTSTRAP").context("BOOTSTRAP is not set")?;
        let run = std::env::var("INTEROP_RUN").unwrap_or_else(|_| std::process::id().to_string());
        let config = config(&bootstrap);
        let consumer: BaseConsumer = config
            .clone()
            // The library wants a name even where no group is joined.
            .set("group.id", "unused")
            .set("enable.auto.commit", "false")
            .set("check.crcs", "true")
            .create()?;
        Ok(Self {
            topic: format!("interop-librdkafka-{run}"),
            expected: Expected::new()?,
            admin: config.create()?,
            consumer,
            bootstrap,
        })
    }

    async fn create_topic(&self) -> Result<()> {
        let topic = NewTopic::new(&self.topic, PARTITIONS, TopicReplication::Fixed(1))
            .set("retention.ms", "86400000");
        only(self.admin.create_topics([&topic], &AdminOptions::new()).await?)?
            .map_err(|(name, code)| anyhow!("{name}: {code}"))?;
        Ok(())
    }

    async fn describe_topic(&self) -> Result<()> {
        eventually(|| self.is_listed()).await?;
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), DEADLINE)?;
        let topic = metadata.topics().first().context("no topic in the answer")?;
        ensure!(topic.partitions().len() == PARTITIONS as usize, "{}", topic.partitions().len());
        for partition in topic.partitions() {
            ensure!(
                partition.isr().contains(&partition.leader()),
                "{} has no leader",
                partition.id()
            );
        }
        Ok(())
    }

    fn is_listed(&self) -> Result<bool> {
        let metadata = self.consumer.fetch_metadata(None, DEADLINE)?;
        Ok(metadata.topics().iter().any(|topic| topic.name() == self.topic))
    }

    async fn produce(&self, codec: &str, block: usize) -> Result<()> {
        let producer: FutureProducer = config(&self.bootstrap)
            .set("compression.type", codec)
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            .create()?;
        let mut deliveries = Vec::new();
        for record in self.expected.codec_block(block) {
            let delivery = producer
                .send_result(self.future_record(&record))
                .map_err(|(error, _)| anyhow!("record is not queued: {error}"))?;
            deliveries.push(async move {
                let placed = delivery.await?.map_err(|(error, _)| error)?;
                let wanted = (record.partition, record.offset);
                ensure!((placed.partition, placed.offset) == wanted, "{placed:?}, not {wanted:?}");
                Ok(())
            });
        }
        producer.flush(DEADLINE)?;
        try_join_all(deliveries).await?;
        Ok(())
    }

    fn future_record<'a>(&'a self, record: &'a Record) -> FutureRecord<'a, [u8], [u8]> {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: value.as_ref() });
        }
        let mut queued = FutureRecord::to(&self.topic)
            .partition(record.partition)
            .timestamp(record.timestamp)
            .headers(headers);
        queued.key = record.key.as_deref();
        queued.payload = record.value.as_deref();
        queued
    }

    fn list_offsets(&self) -> Result<()> {
        for partition in 0..PARTITIONS {
            let found = self.consumer.fetch_watermarks(&self.topic, partition, DEADLINE)?;
            let wanted = (0, end_offset(partition));
            ensure!(found == wanted, "partition {partition}: {found:?}, expected {wanted:?}");
        }
        Ok(())
    }

    fn read_all(&self) -> Result<()> {
        let mut starts = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            starts.add_partition_offset(&self.topic, partition, Offset::Offset(0))?;
        }
        self.expected.check(&self.read(&starts, COUNT)?, 0)
    }

    fn read_from_timestamp(&self) -> Result<()> {
        let when = Offset::Offset(self.expected.record(PROBE).timestamp);
        let mut asked = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            asked.add_partition_offset(&self.topic, partition, when)?;
        }
        let starts = self.consumer.offsets_for_times(asked, DEADLINE)?;
        for start in starts.elements() {
            let first =
                self.expected.first(start.partition(), PROBE).context("no such partition")?;
            ensure!(start.offset() == Offset::Offset(first.offset), "{start:?}, not {first:?}");
        }
        self.expected.check(&self.read(&starts, COUNT - PROBE)?, PROBE)
    }

    fn read(&self, starts: &TopicPartitionList, count: usize) -> Result<Vec<Record>> {
        self.consumer.assign(starts)?;
        let mut seen = Vec::with_capacity(count);
        let deadline = Instant::now() + DEADLINE;
        while seen.len() < count {
            ensure!(Instant::now() < deadline, "only {} of {count} records arrived", seen.len());
            if let Some(message) = self.consumer.poll(Duration::from_secs(1)) {
                seen.push(read_record(&message?)?);
            }
        }
        Ok(seen)
    }

    async fn describe_topic_configs(&self) -> Result<()> {
        let resource = ResourceSpecifier::Topic(&self.topic);
        let described = self.admin.describe_configs([&resource], &AdminOptions::new()).await?;
        let configs = only(described)?.map_err(|code| anyhow!("{code}"))?;
        for (name, wanted) in [("cleanup.policy", "delete"), ("retention.ms", "86400000")] {
            let entry = configs.get(name).with_context(|| format!("{name} is not described"))?;
            ensure!(entry.value.as_deref() == Some(wanted), "{entry:?}, expected {wanted}");
        }
        Ok(())
    }

    async fn describe_broker_configs(&self) -> Result<()> {
        let metadata = self.consumer.fetch_metadata(None, DEADLINE)?;
        let broker = metadata.brokers().first().context("the cluster has no brokers")?.id();
        let resource = ResourceSpecifier::Broker(broker);
        let described = self.admin.describe_configs([&resource], &AdminOptions::new()).await?;
        let configs = only(described)?.map_err(|code| anyhow!("{code}"))?;
        let entry =
            configs.get("message.max.bytes").context("message.max.bytes is not described")?;
        ensure!(entry.value.is_some(), "message.max.bytes has no value");
        Ok(())
    }

    async fn delete_records(&self) -> Result<()> {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(&self.topic, 0, Offset::Offset(100))?;
        let deleted = self.admin.delete_records(&before, &AdminOptions::new()).await?;
        for partition in deleted.elements() {
            partition.error()?;
            ensure!(partition.offset() == Offset::Offset(100), "log starts at {partition:?}");
        }
        let (start, _) = self.consumer.fetch_watermarks(&self.topic, 0, DEADLINE)?;
        ensure!(start == 100, "log starts at {start}");
        Ok(())
    }

    async fn delete_topic(&self) -> Result<()> {
        // A consumer still assigned would ask for the topic again and again.
        self.consumer.unassign()?;
        only(self.admin.delete_topics(&[&self.topic], &AdminOptions::new()).await?)?
            .map_err(|(name, code)| anyhow!("{name}: {code}"))?;
        eventually(|| Ok(!self.is_listed()?)).await
    }
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("message.timeout.ms", "15000");
    config
}

/// The one result of a request about one thing.
fn only<T>(results: Vec<T>) -> Result<T> {
    results.into_iter().next().context("the answer is empty")
}

fn read_record(message: &BorrowedMessage<'_>) -> Result<Record> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Ok(Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().context("the record has no timestamp")?,
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect(),
    })
}
