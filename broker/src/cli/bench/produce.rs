//! `thalweg bench produce`: records as fast as they are taken, or on a schedule.
//!
//! On a schedule, a thread that does nothing else says when each record is due, since the timers of
//! an event loop are coarse. Acknowledgements of one partition come in order, so one task for each
//! partition sees every one as it arrives.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use clap::Args;
use thalweg_client::Record;
use thalweg_client::admin::NewTopic;
use thalweg_client::producer::{Delivery, Producer};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::payload::Payload;
use super::{Tally, ensure_topic, measure};
use crate::cli::connect::ConnectFlags;
use crate::cli::failure::Failure;
use crate::cli::output::Printer;
use crate::cli::pairs::{bytes, count, duration};
use crate::cli::writing::WriteFlags;

#[derive(Debug, Args)]
pub(super) struct ProduceBench {
    /// The topic; it is created unless it is there.
    topic: String,
    /// How large each record is.
    #[arg(long, default_value = "1KiB", value_name = "SIZE", value_parser = bytes)]
    record_size: usize,
    /// How many records to write in all, such as 200k or 5M [default: 1M, unless --duration].
    #[arg(long, value_name = "COUNT", value_parser = count, conflicts_with = "duration")]
    records: Option<u64>,
    /// How long to write.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Partitions of the topic, if it is created.
    #[arg(short, long, value_name = "COUNT")]
    partitions: Option<i32>,
    /// Replicas of each partition, if the topic is created.
    #[arg(long, value_name = "COUNT")]
    replicas: Option<i16>,
    /// Acknowledge before records are flushed to disk, if the topic is created: what Kafka does.
    #[arg(long)]
    write_caching: bool,
    /// How many producers, each a thread with connections of its own.
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    producers: u16,
    /// Records a second in all, on a steady schedule, instead of as fast as possible.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    rate: Option<u64>,
    #[command(flatten)]
    writing: WriteFlags,
}

/// Acknowledgements of one partition that are not yet looked at.
const DELIVERIES_AHEAD: usize = 16 * 1024;
/// Due times that are not yet met. A producer that is further behind is told them later, but they
/// stay what they are.
const DUE_AHEAD: usize = 1024;

pub(super) fn run(
    connect: &ConnectFlags,
    bench: &ProduceBench,
    printer: &mut Printer,
) -> Result<(), Failure> {
    crate::cli::on_runtime(ensure_topic(connect, bench.new_topic()))?;
    let producers = usize::from(bench.producers);
    measure(producers, printer, async |index| bench.produce(connect, index as u64).await)
}

impl ProduceBench {
    fn new_topic(&self) -> NewTopic {
        let mut new = NewTopic::named(&self.topic);
        if let Some(count) = self.partitions {
            new = new.partitions(count);
        }
        if let Some(factor) = self.replicas {
            new = new.replication_factor(factor);
        }
        if self.write_caching {
            new = new.config("write.caching", "true");
        }
        new
    }

    /// The share of producer `index` in `total`: all are sent, whether or not they divide.
    fn share(&self, total: u64, index: u64) -> u64 {
        let producers = u64::from(self.producers);
        total / producers + u64::from(index < total % producers)
    }

    async fn produce(&self, connect: &ConnectFlags, index: u64) -> Result<Tally, Failure> {
        let client = connect.connect().await?;
        let producer = self.writing.producer(&client).build();
        let mut payload = Payload::new(self.record_size, index + 1);
        let begin = Instant::now();
        let end = self.duration.map(|duration| begin + duration);
        let records = match (self.records, end) {
            (Some(records), _) => self.share(records, index),
            (None, Some(_)) => u64::MAX,
            (None, None) => self.share(1_000_000, index),
        };
        let mut due = self.rate.map(|rate| {
            let seconds_each = f64::from(self.producers) / rate.max(1) as f64;
            schedule(begin, seconds_each)
        });
        let mut watchers = Watchers::default();
        for _ in 0..records {
            let intended = match &mut due {
                Some(due) => due.recv().await.unwrap_or_else(Instant::now),
                None => Instant::now(),
            };
            if end.is_some_and(|end| intended >= end) {
                break;
            }
            let record = Record::to(&self.topic).value(payload.next());
            watchers.watch(producer.enqueue(record).await?, intended).await?;
        }
        watchers.finish(&producer, begin, self.record_size).await
    }
}

/// Gives the times at which records are due, each when it has come.
fn schedule(begin: Instant, seconds_each: f64) -> mpsc::Receiver<Instant> {
    let (times, receiver) = mpsc::channel(DUE_AHEAD);
    thread::spawn(move || {
        for number in 0_u64.. {
            let due = begin + Duration::from_secs_f64(seconds_each * number as f64);
            let wait = due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                thread::sleep(wait);
            }
            if times.blocking_send(due).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The tasks that see acknowledgements, by partition.
#[derive(Default)]
struct Watchers {
    by_partition: HashMap<i32, Watcher>,
}

struct Watcher {
    deliveries: mpsc::Sender<(Delivery, Instant)>,
    task: JoinHandle<Result<Tally, Failure>>,
}

impl Watchers {
    async fn watch(&mut self, delivery: Delivery, intended: Instant) -> Result<(), Failure> {
        let partition = delivery.partition();
        let watcher = self.by_partition.entry(partition).or_insert_with(|| {
            let (deliveries, arriving) = mpsc::channel(DELIVERIES_AHEAD);
            Watcher { deliveries, task: tokio::spawn(count_acknowledged(arriving)) }
        });
        if watcher.deliveries.send((delivery, intended)).await.is_ok() {
            return Ok(());
        }
        // It ended before its time, so it knows why.
        match self.by_partition.remove(&partition) {
            Some(watcher) => ended(watcher.task.await).map(|_tally| ()),
            None => Ok(()),
        }
    }

    async fn finish(
        self,
        producer: &Producer,
        began: Instant,
        record_size: usize,
    ) -> Result<Tally, Failure> {
        producer.flush().await;
        let mut total = Tally::new(began);
        for Watcher { deliveries, task } in self.by_partition.into_values() {
            drop(deliveries);
            total.add(&ended(task.await)?);
        }
        total.bytes = total.records * record_size as u64;
        Ok(total)
    }
}

fn ended(task: Result<Result<Tally, Failure>, tokio::task::JoinError>) -> Result<Tally, Failure> {
    task.unwrap_or_else(|_| Err(Failure::Failed("a task of the benchmark panicked".into())))
}

async fn count_acknowledged(
    mut arriving: mpsc::Receiver<(Delivery, Instant)>,
) -> Result<Tally, Failure> {
    // When the benchmark as a whole began is known to its producer.
    let mut tally = Tally::new(Instant::now());
    while let Some((delivery, intended)) = arriving.recv().await {
        delivery.await?;
        let micros = intended.elapsed().as_micros();
        tally.latencies.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX).max(1));
        tally.records += 1;
    }
    Ok(tally)
}
