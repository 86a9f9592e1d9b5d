//! Loads through librdkafka with its own defaults, except for what is written here: `acks=all`,
//! which is its default too, and a queue that is small enough to stay in warm memory.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer,
};
use rdkafka::{Offset, TopicPartitionList};

use crate::load::{Done, Load};

/// A full queue takes a broker that flushes each small batch a minute or more.
const PATIENCE: Duration = Duration::from_secs(240);

/// So many records are handed over between two looks at the clock.
const BURST: u64 = 64;

/// What every librdkafka producer here is made with; the report says it.
pub(crate) const PRODUCER_SETTINGS: [(&str, &str); 2] =
    [("acks", "all"), ("queue.buffering.max.kbytes", "65536")];

pub(crate) fn producer_config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (key, value) in PRODUCER_SETTINGS {
        config.set(key, value);
    }
    config
}

/// Counts what could not be written.
#[derive(Default)]
struct Failures(AtomicU64);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes as fast as it can, each record to the next partition, until all is acknowledged.
pub(crate) fn produce(load: &Load<'_>) -> Result<Done> {
    let producer: BaseProducer<Failures> = producer_config(load.bootstrap)
        // Successes need not be told one by one: what is in flight is waited for, failures count.
        .set("delivery.report.only.error", "true")
        .create_with_context(Failures::default())?;
    let value = load.value();
    let records_max = load.bytes_max / load.record_bytes as u64;
    let began = Instant::now();
    let mut records = 0;
    while records < records_max && began.elapsed() < load.time {
        for partition in load.partitions_from(records).take(BURST as usize) {
            let record = BaseRecord::<(), [u8]>::to(load.topic).partition(partition);
            enqueue(&producer, record.payload(&value))?;
        }
        records += BURST;
    }
    // Its own `flush` spins, which takes from a broker on the same machine.
    while producer.in_flight_count() > 0 {
        ensure!(began.elapsed() < load.time + PATIENCE, "not acknowledged after {PATIENCE:?}");
        producer.poll(Duration::from_millis(1));
    }
    let time = began.elapsed();
    let failed = producer.context().0.load(Ordering::Relaxed);
    ensure!(failed == 0, "{failed} records were not written");
    Ok(Done { records, time })
}

fn enqueue(producer: &BaseProducer<Failures>, mut record: BaseRecord<'_, (), [u8]>) -> Result<()> {
    while let Err((error, refused)) = producer.send(record) {
        let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
        ensure!(error == full, "not taken: {error}");
        producer.poll(Duration::from_millis(1));
        record = refused;
    }
    Ok(())
}

/// Tells the one who waits for a record's acknowledgement.
struct Told(SyncSender<bool>);

impl ClientContext for Told {}

impl ProducerContext for Told {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        // Nobody waits any more only when the measurement has failed.
        let _ = self.0.send(result.is_ok());
    }
}

/// Has each of so many connections write one record at a time, each waiting for the last.
pub(crate) fn produce_singly(load: &Load<'_>, connections: usize) -> Result<Done> {
    let barrier = &Barrier::new(connections + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..load.partitions)
            .cycle()
            .take(connections)
            .map(|partition| scope.spawn(move || one_at_a_time(load, partition, barrier)))
            .collect();
        barrier.wait();
        let began = Instant::now();
        let mut records = 0;
        for thread in threads {
            match thread.join() {
                Ok(written) => records += written?,
                Err(_) => bail!("a connection panicked"),
            }
        }
        Ok(Done { records, time: began.elapsed() })
    })
}

fn one_at_a_time(load: &Load<'_>, partition: i32, barrier: &Barrier) -> Result<u64> {
    let (told, acknowledged) = sync_channel(1);
    let mut config = producer_config(load.bootstrap);
    config.set("linger.ms", "0");
    let producer: Result<ThreadedProducer<Told>, _> = config.create_with_context(Told(told));
    let value = load.value();
    let write = |producer: &ThreadedProducer<Told>| -> Result<()> {
        let record = BaseRecord::<(), [u8]>::to(load.topic).partition(partition).payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
        ensure!(acknowledged.recv_timeout(PATIENCE)?, "a record was not written");
        Ok(())
    };
    // The first record pays for connecting.
    let ready = producer.map_err(anyhow::Error::from).and_then(|it| write(&it).map(|()| it));
    barrier.wait();
    let producer = ready?;
    let began = Instant::now();
    let mut records = 1;
    while began.elapsed() < load.time {
        write(&producer)?;
        records += 1;
    }
    Ok(records)
}

/// Reads so many records from the beginning.
pub(crate) fn consume(load: &Load<'_>, records: u64) -> Result<Done> {
    let consumer = consumer(load.bootstrap, load.topic, load.partitions)?;
    let began = Instant::now();
    for _ in 0..records {
        let message = consumer.poll(PATIENCE).context("nothing more to read")??;
        let length = message.payload_len();
        ensure!(length == load.record_bytes, "a record of {length} bytes was read");
    }
    Ok(Done { records, time: began.elapsed() })
}

/// Reads all partitions from their beginnings.
pub(crate) fn consumer(bootstrap: &str, topic: &str, partitions: i32) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "compare")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    Ok(consumer)
}
