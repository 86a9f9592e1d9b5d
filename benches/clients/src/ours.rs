//! The load through `thalweg-client`, on the runtime's one thread.

use anyhow::{Result, ensure};
use thalweg_client::consumer::StartAt;
use thalweg_client::{Client, Record};

use crate::Load;
use crate::measure::{Figures, Lap};

pub(crate) async fn produce(load: &Load<'_>) -> Result<Figures> {
    let client = Client::connect(load.bootstrap).await?;
    let producer = client.producer().build();
    let lap = Lap::begin();
    let mut last = None;
    for _ in 0..load.count {
        last = Some(producer.enqueue(Record::to(load.topic).value(load.value)).await?);
    }
    producer.flush().await;
    let figures = lap.end(load);
    if let Some(last) = last {
        last.await?;
    }
    Ok(figures)
}

pub(crate) async fn consume(load: &Load<'_>) -> Result<Figures> {
    let client = Client::connect(load.bootstrap).await?;
    let lap = Lap::begin();
    let consumer = client.consumer().topic(load.topic, StartAt::Earliest);
    let mut consumer = consumer.stop_at_end(true).build().await?;
    let mut bytes = 0;
    while let Some(record) = consumer.next().await? {
        bytes += record.value.as_ref().map_or(0, |value| value.len());
    }
    ensure!(bytes == load.count * load.value.len(), "what was written was read");
    Ok(lap.end(load))
}
