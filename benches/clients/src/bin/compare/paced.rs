//! Records at a fixed rate, and how late each is: after the moment it was due, not after the moment
//! it was sent, so that a client held up by the broker cannot hide what that cost (coordinated
//! omission). Each record carries, in its first eight bytes, when it was due.
//!
//! The sender sleeps between records, which adds up to a fifth of a millisecond for any broker.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Message};

use crate::librdkafka::{consumer, producer_config};

const PATIENCE: Duration = Duration::from_secs(60);
const NAP: Duration = Duration::from_micros(100);

/// A load at a fixed rate through librdkafka with `linger.ms=0`.
#[derive(Clone, Copy)]
pub(crate) struct Pace<'a> {
    pub(crate) bootstrap: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partitions: i32,
    pub(crate) record_bytes: usize,
    pub(crate) records_per_second: f64,
    /// Records due before this has passed are sent, but not counted.
    pub(crate) warm_up: Duration,
}

/// Milliseconds, sorted.
#[derive(Debug)]
pub(crate) struct Latencies(Vec<f64>);

impl Latencies {
    fn of(mut milliseconds: Vec<f64>) -> Result<Self> {
        ensure!(!milliseconds.is_empty(), "no latency was measured");
        milliseconds.sort_by(f64::total_cmp);
        Ok(Latencies(milliseconds))
    }

    /// The latency that the given part of all records did not exceed.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let rank = (self.0.len() as f64 * part).ceil() as usize;
        self.0.get(rank.clamp(1, self.0.len()) - 1).copied().unwrap_or(f64::NAN)
    }
}

/// From when each record was due to when it was acknowledged. `stop` ends the load.
pub(crate) fn acknowledgements(pace: &Pace<'_>, stop: &AtomicBool) -> Result<(u64, Latencies)> {
    let began = Instant::now();
    let (sent, acknowledged) = send(pace, began, |_| stop.load(Ordering::Relaxed))?;
    Ok((sent, Latencies::of(acknowledged)?))
}

/// From when each record was due to when a consumer had it, for so long after the warm-up.
pub(crate) fn end_to_end(pace: &Pace<'_>, time: Duration) -> Result<(u64, Latencies)> {
    let last_due = pace.warm_up + time;
    let failed = AtomicBool::new(false);
    let sent = AtomicU64::new(u64::MAX);
    let consumer = consumer(pace.bootstrap, pace.topic, pace.partitions)?;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let received = receive(pace, &consumer, began, &sent);
            failed.store(received.is_err(), Ordering::Relaxed);
            received
        });
        let enough = |due: Duration| due >= last_due || failed.load(Ordering::Relaxed);
        let produced = send(pace, began, enough);
        let count = produced.as_ref().map_or(0, |(count, _)| *count);
        sent.store(count, Ordering::Relaxed);
        let Ok(received) = receiver.join() else { bail!("the consumer panicked") };
        let (latencies, _) = (received?, produced?);
        Ok((count, Latencies::of(latencies)?))
    })
}

fn receive(
    pace: &Pace<'_>,
    consumer: &rdkafka::consumer::BaseConsumer,
    began: Instant,
    sent: &AtomicU64,
) -> Result<Vec<f64>> {
    let (mut latencies, mut received, mut last) = (Vec::new(), 0, Instant::now());
    while received < sent.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            ensure!(last.elapsed() < PATIENCE, "nothing was received for {PATIENCE:?}");
            continue;
        };
        let message = message?;
        let now = began.elapsed();
        let due = message.payload().and_then(|value| value.first_chunk::<8>());
        let due = Duration::from_nanos(u64::from_le_bytes(*due.context("a record too short")?));
        if due >= pace.warm_up {
            latencies.push((now.saturating_sub(due)).as_secs_f64() * 1e3);
        }
        (received, last) = (received + 1, Instant::now());
    }
    Ok(latencies)
}

/// Notes when each record is acknowledged.
struct Acknowledged {
    began: Instant,
    warm_up: Duration,
    latencies: Mutex<Vec<f64>>,
    failed: AtomicU64,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    /// When the record was due, in nanoseconds.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, due: usize) {
        let due = Duration::from_nanos(due as u64);
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        } else if due >= self.warm_up {
            let latency = self.began.elapsed().saturating_sub(due);
            let mut latencies = self.latencies.lock().unwrap_or_else(|it| it.into_inner());
            latencies.push(latency.as_secs_f64() * 1e3);
        }
    }
}

fn send(
    pace: &Pace<'_>,
    began: Instant,
    enough: impl Fn(Duration) -> bool,
) -> Result<(u64, Vec<f64>)> {
    let context = Acknowledged {
        began,
        warm_up: pace.warm_up,
        latencies: Mutex::default(),
        failed: AtomicU64::new(0),
    };
    let mut config = producer_config(pace.bootstrap);
    config.set("linger.ms", "0").set("queue.buffering.max.messages", "1000000");
    let producer: ThreadedProducer<Acknowledged> = config.create_with_context(context)?;
    let mut value = vec![7; pace.record_bytes];
    let mut sent: u64 = 0;
    loop {
        let due = Duration::from_secs_f64(sent as f64 / pace.records_per_second);
        if enough(due) {
            break;
        }
        while began.elapsed() < due {
            std::thread::sleep(NAP);
        }
        let nanos = due.as_nanos() as u64;
        value.get_mut(..8).context("a record too short")?.copy_from_slice(&nanos.to_le_bytes());
        let partition = (sent % pace.partitions as u64) as i32;
        let record = BaseRecord::<(), [u8], usize>::with_opaque_to(pace.topic, nanos as usize)
            .partition(partition)
            .payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
        sent += 1;
    }
    let ended = Instant::now();
    while producer.in_flight_count() > 0 {
        ensure!(ended.elapsed() < PATIENCE, "not acknowledged after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    let context = producer.context();
    let failed = context.failed.load(Ordering::Relaxed);
    ensure!(failed == 0, "{failed} records were not written");
    let mut latencies = context.latencies.lock().unwrap_or_else(|it| it.into_inner());
    Ok((sent, std::mem::take(&mut *latencies)))
}
