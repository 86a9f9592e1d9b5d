//! `thalweg bench catch-up`: a consumer reads what has piled up while producers go on writing, and
//! both are watched: how soon it has read all there is, and how late records are meanwhile.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use thalweg_client::consumer::StartAt;
use thalweg_client::{Client, Isolation, OffsetAt, TopicPartition};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::consume::{count_read, partitions};
use super::report::{Latency, Rate, grouped, latencies};
use super::tally::Tally;
use super::target::Target;
use super::threads::Share;
use super::writers::{End, Load};
use crate::cli::connect::ConnectFlags;
use crate::cli::failure::Failure;
use crate::cli::on_runtime;
use crate::cli::output::{Printer, size, table};
use crate::cli::pairs::{bytes, count, duration};

#[derive(Debug, Args)]
pub(super) struct CatchUpBench {
    #[command(flatten)]
    target: Target,
    /// How much to write first, for the consumer to catch up on.
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = bytes)]
    backlog: usize,
    /// Records a second that are written while it does.
    #[arg(long, default_value = "1k", value_name = "COUNT", value_parser = count)]
    rate: u64,
    /// How long to write at that rate before the consumer begins, for comparison.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = duration)]
    alone: Duration,
    /// How long it may take to catch up.
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = duration)]
    limit: Duration,
}

#[derive(Serialize)]
struct CaughtUp {
    /// Records a second written meanwhile.
    rate: u64,
    read: Rate,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms_alone: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms_beside: Option<Latency>,
}

/// One connection, on one thread.
const ONE: Share = Share { thread: 0, threads: 1, connections: 1 };

pub(super) fn run(
    connect: &ConnectFlags,
    bench: &CatchUpBench,
    printer: &mut Printer,
) -> Result<(), Failure> {
    on_runtime(bench.target.ensure_topic(connect))?;
    let records = bench.backlog.div_ceil(bench.target.record_size.max(1)) as u64;
    on_runtime(bench.pile_up(connect, records))?;
    let caught_up = bench.catch_up(connect)?;
    Ok(printer.print(&caught_up, CaughtUp::for_people)?)
}

impl CatchUpBench {
    async fn pile_up(&self, connect: &ConnectFlags, records: u64) -> Result<Tally, Failure> {
        let load = Load { end: End::Records(records), seconds_each: None, in_flight: None };
        self.target.connect(connect, ONE).await?.write(&load).await
    }

    /// The producer has a thread to itself, so that reading does not hold it up in this process.
    fn catch_up(&self, connect: &ConnectFlags) -> Result<CaughtUp, Failure> {
        let told = Arc::new(AtomicBool::new(false));
        let (begin, begun) = oneshot::channel();
        let (alone, beside, read) = thread::scope(|scope| {
            let write = || on_runtime(self.write_around(connect, begin, &told));
            let writing = scope.spawn(write);
            let read = on_runtime(async {
                // If it does not begin, the writer knows why.
                if begun.await.is_err() {
                    return Ok(None);
                }
                let read = timeout(self.limit, read_all(connect, &self.target.topic)).await;
                let late = |_| Failure::Failed(format!("not caught up within {:?}", self.limit));
                read.map_err(late).flatten().map(Some)
            });
            told.store(true, Ordering::Relaxed);
            let gone = |_| Err(Failure::Failed("the producer's thread panicked".into()));
            let (alone, beside) = writing.join().unwrap_or_else(gone)?;
            let read = read?.ok_or_else(|| Failure::Failed("nothing was read".into()))?;
            Ok::<_, Failure>((alone, beside, read))
        })?;
        Ok(CaughtUp {
            rate: self.rate,
            read,
            latency_ms_alone: Latency::of(&alone),
            latency_ms_beside: Latency::of(&beside),
        })
    }

    /// Writes at the rate, alone and then, having said so through `begin`, until told to end.
    async fn write_around(
        &self,
        connect: &ConnectFlags,
        begin: oneshot::Sender<()>,
        told: &Arc<AtomicBool>,
    ) -> Result<(Tally, Tally), Failure> {
        let mut writers = self.target.connect(connect, ONE).await?;
        let seconds_each = Some(1.0 / self.rate as f64);
        let load = |end| Load { end, seconds_each, in_flight: None };
        let alone = writers.write(&load(End::After(self.alone))).await?;
        // The reader is gone only if it failed, which it says itself.
        let _ = begin.send(());
        let beside = writers.write(&load(End::Told(told.clone()))).await?;
        Ok((alone, beside))
    }
}

/// Reads every partition until it has, once, been at its end.
async fn read_all(connect: &ConnectFlags, topic: &str) -> Result<Rate, Failure> {
    let client = connect.connect().await?;
    let partitions = partitions(&client, topic).await?;
    let mut behind = holding_records(&client, &partitions).await?;
    let assigned = partitions.into_iter().map(|partition| (partition, StartAt::Earliest));
    let mut tally = Tally::begin();
    let mut consumer = client.consumer().assign(assigned).build().await?;
    while !behind.is_empty() {
        let Some(batch) = consumer.next_batch().await? else { break };
        count_read(&mut tally, &batch)?;
        let source = batch.source();
        let end = consumer.watermarks(source).map(|it| it.high_watermark);
        if end.is_some_and(|end| batch.next_offset() >= end) {
            behind.remove(&**source);
        }
    }
    Ok(Rate::until(&tally, Instant::now()))
}

/// The others have nothing to catch up on, and might never be heard of.
async fn holding_records(
    client: &Client,
    partitions: &[TopicPartition],
) -> Result<HashSet<TopicPartition>, Failure> {
    let ends: Vec<_> = partitions.iter().map(|it| (it.clone(), OffsetAt::Latest)).collect();
    let ends = client.admin().list_offsets(&ends, Isolation::ReadUncommitted).await;
    let mut holding = HashSet::new();
    for (partition, end) in partitions.iter().zip(ends) {
        if end?.is_some_and(|end| end.offset > 0) {
            holding.insert(partition.clone());
        }
    }
    Ok(holding)
}

impl CaughtUp {
    fn for_people(&self) -> String {
        let mut text = format!(
            "caught up on {}, while {} records/s were written\n\n",
            self.read.sentence(),
            grouped(self.rate)
        );
        let speed = [
            grouped(self.read.records_per_second as u64),
            format!("{}/s", size(self.read.bytes_per_second as u64)),
        ];
        text += &table([">READ, RECORDS/S", ">BYTES"], [speed]);
        let rows =
            [("alone", &self.latency_ms_alone), ("beside the reader", &self.latency_ms_beside)];
        text += "\n";
        text += &latencies(rows.into_iter().filter_map(|(name, it)| Some((name, it.as_ref()?))));
        text
    }
}
