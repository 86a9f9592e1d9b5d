//! The same loads through thalweg-client with its defaults, on one thread.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use thalweg_client::consumer::StartAt;
use thalweg_client::{Client, Record};

use crate::load::{Done, Load};

/// Writes as fast as it can, each record to the next partition, until all is acknowledged.
pub(crate) async fn produce(load: &Load<'_>) -> Result<Done> {
    let client = Client::connect(load.bootstrap).await?;
    let producer = client.producer().build();
    let value = load.value();
    let records_max = load.bytes_max / load.record_bytes as u64;
    let began = Instant::now();
    let (mut records, mut last) = (0, None);
    let mut partitions = load.partitions_from(0);
    while records < records_max && began.elapsed() < load.time {
        let Some(partition) = partitions.next() else { break };
        let record = Record::to(load.topic).partition(partition).value(&value);
        last = Some(producer.enqueue(record).await?);
        records += 1;
    }
    producer.flush().await;
    let time = began.elapsed();
    if let Some(last) = last {
        last.await?;
    }
    Ok(Done { records, time })
}

/// Has each of so many connections write one record at a time, each waiting for the last.
pub(crate) async fn produce_singly(load: &Load<'_>, connections: usize) -> Result<Done> {
    let mut producers = Vec::new();
    for _ in 0..connections {
        let client = Client::connect(load.bootstrap).await?;
        producers.push(client.producer().linger(Duration::ZERO).max_in_flight(1).build());
    }
    let (topic, partitions, time) = (load.topic.to_owned(), load.partitions, load.time);
    let value = load.value();
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (producer, partition) in producers.into_iter().zip((0..partitions).cycle()) {
        let (topic, value) = (topic.clone(), value.clone());
        tasks.spawn(async move {
            let mut records = 0;
            while began.elapsed() < time {
                let record = Record::to(&topic).partition(partition).value(&value);
                producer.send(record).await?;
                records += 1;
            }
            anyhow::Ok(records)
        });
    }
    let mut records = 0;
    while let Some(written) = tasks.join_next().await {
        records += written??;
    }
    Ok(Done { records, time: began.elapsed() })
}

/// Reads everything there is from the beginning.
pub(crate) async fn consume(load: &Load<'_>, records: u64) -> Result<Done> {
    let client = Client::connect(load.bootstrap).await?;
    let began = Instant::now();
    let consumer = client.consumer().topic(load.topic, StartAt::Earliest);
    let mut consumer = consumer.stop_at_end(true).build().await?;
    let mut read = 0;
    while let Some(record) = consumer.next().await? {
        let length = record.value.as_ref().map_or(0, |value| value.len());
        ensure!(length == load.record_bytes, "a record of {length} bytes was read");
        read += 1;
    }
    ensure!(read == records, "{read} records were read, {records} are there");
    Ok(Done { records, time: began.elapsed() })
}
