//! `thalweg produce`: lines of a file or of stdin, each a record.
//!
//! Lines are slices of large blocks and are copied once, into their batch. What is on its way is
//! bounded, and acknowledgements are looked at in the order of the lines, so that a failure can be
//! told with the line it concerns.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_util::FutureExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use thalweg_client::Record;
use thalweg_client::producer::{Delivery, ProduceError, Producer};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connect::ConnectFlags;
use super::failure::Failure;
use super::lines::{lines, read_blocks};
use super::output::{Output, Printer, counted, is_watched, size};
use super::pairs::name_and_value;
use super::writing::WriteFlags;

/// Write lines of stdin or of a file to a topic, one record each.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    echo hello | thalweg produce demo\n  \
    thalweg produce users -k : <<< 'anna:{\"age\": 30}'      the key ends at the first ':'\n  \
    thalweg produce users -k : --null-on-empty <<< 'anna:'  a tombstone\n  \
    thalweg produce logs --file app.log -z zstd -H host=a")]
pub(super) struct ProduceArgs {
    /// The topic, which must be there.
    topic: String,
    /// Where the key of a line ends and its value begins. A line without it has no key.
    #[arg(short, long, value_name = "SEPARATOR")]
    key_separator: Option<String>,
    /// A header for every record; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = name_and_value)]
    headers: Vec<(String, String)>,
    /// Read this file instead of stdin.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Write to this partition, whatever the key.
    #[arg(short, long)]
    partition: Option<i32>,
    /// Where a value is empty, write none: a tombstone, which deletes its key in a compacted topic.
    #[arg(long)]
    null_on_empty: bool,
    /// Neither progress nor a summary.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    writing: WriteFlags,
    #[command(flatten)]
    connect: ConnectFlags,
}

/// Records whose acknowledgement has not been looked at. Those of small records would otherwise
/// take more memory than the records.
const DELIVERIES_MAX: usize = 100_000;

pub(super) async fn run(args: ProduceArgs, printer: &mut Printer) -> Result<(), Failure> {
    let (source, length) = open(args.file.as_ref())?;
    let client = args.connect.connect().await?;
    let timeout = Duration::from_secs(args.connect.timeout.max(1));
    let producer = args.writing.producer(&client).delivery_timeout(timeout).build();
    let begin = Instant::now();
    let mut run = Run {
        progress: progress(length, args.quiet),
        producer,
        args: &args,
        deliveries: VecDeque::new(),
        acknowledged: 0,
        bytes: 0,
    };
    let outcome = run.send_all(read_blocks(source)).await;
    run.progress.finish_and_clear();
    let (records, bytes) = (run.acknowledged, run.bytes);
    outcome.map_err(|failure| run.explain(failure))?;
    summary(records, bytes, begin.elapsed(), args.quiet, printer)
}

fn open(file: Option<&PathBuf>) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    let Some(path) = file else { return Ok((Box::new(io::stdin()), None)) };
    let cannot = |source| Failure::io(format!("cannot read {}", path.display()), source);
    let file = File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    Ok((Box::new(file), metadata.is_file().then_some(metadata.len())))
}

struct Run<'a> {
    producer: Producer,
    args: &'a ProduceArgs,
    /// In the order of the lines.
    deliveries: VecDeque<Delivery>,
    acknowledged: u64,
    bytes: u64,
    progress: ProgressBar,
}

impl Run<'_> {
    async fn send_all(
        &mut self,
        mut blocks: mpsc::Receiver<io::Result<Vec<u8>>>,
    ) -> Result<(), Failure> {
        loop {
            let block = tokio::select! {
                block = blocks.recv() => block,
                // Somebody who types learns of a failure at once, not with the next line.
                outcome = front(&mut self.deliveries) => {
                    self.acknowledge(outcome)?;
                    continue;
                }
            };
            let Some(block) = block else { break };
            let block = block.map_err(|source| Failure::io("cannot read the input", source))?;
            self.send(&block).await?;
        }
        self.producer.flush().await;
        while !self.deliveries.is_empty() {
            let outcome = front(&mut self.deliveries).await;
            self.acknowledge(outcome)?;
        }
        Ok(())
    }

    async fn send(&mut self, block: &[u8]) -> Result<(), Failure> {
        for line in lines(block) {
            let record = record(self.args, line);
            let delivery = self.producer.enqueue(record).await?;
            self.deliveries.push_back(delivery);
            if self.deliveries.len() >= DELIVERIES_MAX {
                let outcome = front(&mut self.deliveries).await;
                self.acknowledge(outcome)?;
            }
        }
        self.bytes += block.len() as u64;
        self.progress.inc(block.len() as u64);
        self.progress.set_message(counted(self.acknowledged, "record"));
        while let Some(outcome) = self.deliveries.front_mut().and_then(|it| it.now_or_never()) {
            self.acknowledge(outcome.map(|_written| ()))?;
        }
        Ok(())
    }

    /// Takes note of what became of the oldest record on its way.
    fn acknowledge(&mut self, outcome: Result<(), ProduceError>) -> Result<(), Failure> {
        outcome?;
        self.deliveries.pop_front();
        self.acknowledged += 1;
        Ok(())
    }

    /// Says how far it came, which is what somebody needs to go on.
    fn explain(&self, failure: Failure) -> Failure {
        if self.acknowledged > 0 {
            let done = counted(self.acknowledged, "record");
            eprintln!("the first {done} are written; later ones may or may not be");
        }
        failure
    }
}

/// Waits for the oldest record on its way; for ever if there is none.
async fn front(deliveries: &mut VecDeque<Delivery>) -> Result<(), ProduceError> {
    match deliveries.front_mut() {
        Some(delivery) => delivery.await.map(|_written| ()),
        None => std::future::pending().await,
    }
}

fn record<'a>(args: &'a ProduceArgs, line: &'a [u8]) -> Record<'a> {
    let mut record = Record::to(&args.topic);
    let separator = args.key_separator.as_deref().map(str::as_bytes).unwrap_or_default();
    let split = split_once(line, separator);
    let value = match split {
        Some((key, value)) => {
            record = record.key(key);
            value
        }
        None => line,
    };
    if !(value.is_empty() && args.null_on_empty) {
        record = record.value(value);
    }
    if let Some(partition) = args.partition {
        record = record.partition(partition);
    }
    args.headers.iter().fold(record, |record, (name, value)| record.header(name, value))
}

fn split_once<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    if separator.is_empty() {
        return None;
    }
    let at = line.windows(separator.len()).position(|window| window == separator)?;
    Some((line.get(..at)?, line.get(at + separator.len()..)?))
}

fn progress(length: Option<u64>, quiet: bool) -> ProgressBar {
    if quiet || !is_watched() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec}, {msg}, {eta} left",
        ),
        None => (ProgressBar::no_length(), "{bytes} {binary_bytes_per_sec}, {msg}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
    bar
}

fn summary(
    records: u64,
    bytes: u64,
    took: Duration,
    quiet: bool,
    printer: &mut Printer,
) -> Result<(), Failure> {
    if printer.output == Output::Json {
        let summary = json!({"records": records, "bytes": bytes, "seconds": took.as_secs_f64()});
        printer.print(&summary, |_| String::new())?;
    } else if !quiet {
        let seconds = took.as_secs_f64().max(0.001);
        eprintln!(
            "{}, {} in {seconds:.1} s: {:.0} records/s, {}/s",
            counted(records, "record"),
            size(bytes),
            records as f64 / seconds,
            size((bytes as f64 / seconds) as u64),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_ends_at_the_first_separator() {
        assert_eq!(split_once(b"a:b:c", b":"), Some((&b"a"[..], &b"b:c"[..])));
        assert_eq!(split_once(b"a=>b", b"=>"), Some((&b"a"[..], &b"b"[..])));
        assert_eq!(split_once(b":b", b":"), Some((&b""[..], &b"b"[..])));
        assert_eq!(split_once(b"ab", b":"), None);
        assert_eq!(split_once(b"ab", b""), None);
    }
}
