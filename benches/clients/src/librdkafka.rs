//! The same load through librdkafka, by its own threads, with the settings that it is fast with.

use std::time::Duration;

use anyhow::{Result, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::measure::{Figures, Lap};
use crate::{Load, PARTITIONS};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn produce(load: &Load<'_>) -> Result<Figures> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", load.bootstrap)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("batch.size", "131072")
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    let lap = Lap::begin();
    for _ in 0..load.count {
        let mut record = BaseRecord::<(), [u8]>::to(load.topic).payload(load.value);
        while let Err((error, refused)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            ensure!(error == full, "not taken: {error}");
            producer.poll(Duration::from_millis(1));
            record = refused;
        }
    }
    // Its own `flush` spins, which would be charged to it.
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(10));
    }
    Ok(lap.end(load))
}

pub(crate) fn consume(load: &Load<'_>) -> Result<Figures> {
    let lap = Lap::begin();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", load.bootstrap)
        .set("group.id", "bench-clients")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(load.topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let mut count = 0;
    while count < load.count {
        let message = consumer.poll(PATIENCE);
        let message = message.ok_or_else(|| anyhow::anyhow!("no record for {PATIENCE:?}"))??;
        ensure!(message.payload_len() == load.value.len(), "what was written was read");
        count += 1;
    }
    Ok(lap.end(load))
}
