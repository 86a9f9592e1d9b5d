//! `thalweg bench`: how fast a cluster takes and gives records, and what that costs this process.
//!
//! Each producer and consumer is a thread with connections of its own. Latency runs from when a
//! record was meant to be sent to when its acknowledgement is seen: with `--rate`, a record that
//! has to wait because earlier ones are slow counts its wait (no coordinated omission). A warm-up
//! is left to the caller: run it twice.

mod consume;
mod cpu;
mod payload;
mod produce;

use std::time::Duration;

use clap::{Args, Subcommand};
use hdrhistogram::Histogram;
use serde::Serialize;
use thalweg_client::admin::NewTopic;
use thalweg_client::protocol::ErrorCode;
use tokio::time::Instant;

use super::connect::ConnectFlags;
use super::failure::Failure;
use super::output::{Printer, size};
use cpu::CpuTime;

/// Measure how fast a cluster takes or gives records.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Write records of random bytes, as fast as possible or at a steady rate.
    #[command(after_help = "Examples:\n  \
        thalweg bench produce test --records 5M --record-size 100\n  \
        thalweg bench produce test --duration 30s --rate 10k --record-size 1KiB   latency under load\n  \
        thalweg bench produce test -p 16 --producers 2 -z lz4 --write-caching")]
    Produce(produce::ProduceBench),
    /// Read a topic from its start to where it ends now.
    Consume(consume::ConsumeBench),
}

pub(super) fn run(args: BenchArgs, printer: &mut Printer) -> Result<(), Failure> {
    match args.command {
        BenchCommand::Produce(bench) => produce::run(&args.connect, &bench, printer),
        BenchCommand::Consume(bench) => consume::run(&args.connect, &bench, printer),
    }
}

/// What one thread, or all of them together, did.
struct Tally {
    /// When everything was connected and the first record could go.
    began: Instant,
    records: u64,
    bytes: u64,
    /// In microseconds.
    latencies: Histogram<u64>,
}

impl Tally {
    fn new(began: Instant) -> Self {
        // Up to an hour, to three digits; the bounds are constants, so it cannot fail.
        let latencies = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("valid bounds");
        Tally { began, records: 0, bytes: 0, latencies }
    }

    fn add(&mut self, other: &Tally) {
        self.began = self.began.min(other.began);
        self.records += other.records;
        self.bytes += other.bytes;
        self.latencies += &other.latencies;
    }
}

#[derive(Serialize)]
struct Report {
    records: u64,
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
    bytes_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_seconds: Option<CpuTime>,
}

#[derive(Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Report {
    fn new(tally: &Tally, took: Duration, cpu_seconds: Option<CpuTime>) -> Self {
        let seconds = took.as_secs_f64().max(1e-6);
        let ms = |micros: u64| micros as f64 / 1000.0;
        let at = |quantile| ms(tally.latencies.value_at_quantile(quantile));
        let latency = || Latency {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(tally.latencies.max()),
        };
        Report {
            records: tally.records,
            bytes: tally.bytes,
            seconds,
            records_per_second: tally.records as f64 / seconds,
            bytes_per_second: tally.bytes as f64 / seconds,
            latency_ms: (!tally.latencies.is_empty()).then(latency),
            cpu_seconds,
        }
    }

    fn for_people(&self) -> String {
        let mut text = format!(
            "{} records, {} in {:.2} s\n  rate     {:.0} records/s, {}/s\n",
            self.records,
            size(self.bytes),
            self.seconds,
            self.records_per_second,
            size(self.bytes_per_second as u64),
        );
        if let Some(Latency { p50, p99, p999, max }) = self.latency_ms {
            text += &format!(
                "  latency  p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, max {max:.2} ms\n"
            );
        }
        if let Some(CpuTime { user, system }) = self.cpu_seconds {
            text += &format!("  cpu      {user:.2} s user, {system:.2} s system (this process)\n");
        }
        text
    }
}

/// Runs `work` on `threads` threads, each with an event loop of its own, and reports what all of
/// them did together.
fn measure<W>(
    threads: usize,
    printer: &mut Printer,
    work: impl Fn(usize) -> W + Sync,
) -> Result<(), Failure>
where
    W: Future<Output = Result<Tally, Failure>>,
{
    let before = CpuTime::of_this_process();
    let tallies: Vec<Result<Tally, Failure>> = std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> =
            (0..threads).map(|index| scope.spawn(move || super::on_runtime(work(index)))).collect();
        let gone = |_| Err(Failure::Failed("a thread of the benchmark panicked".into()));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(gone)).collect()
    });
    let end = Instant::now();
    let after = CpuTime::of_this_process();
    let mut total = Tally::new(end);
    for tally in tallies {
        total.add(&tally?);
    }
    let cpu = before.zip(after).map(|(before, after)| after.since(before));
    Ok(printer.print(&Report::new(&total, end - total.began, cpu), Report::for_people)?)
}

/// Creates the topic, unless it is there.
async fn ensure_topic(connect: &ConnectFlags, new: NewTopic) -> Result<(), Failure> {
    let admin = connect.connect().await?.admin();
    match admin.create_topics(&[new], false).await?.into_iter().next() {
        Some(Err(error)) if error.error != ErrorCode::TopicAlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}
