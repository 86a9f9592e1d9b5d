//! `thalweg bench produce`: records as fast as they are taken, or on a schedule.

use std::time::Duration;

use clap::Args;

use super::report::Report;
use super::tally::Tally;
use super::target::Target;
use super::threads::{Share, measure};
use super::writers::{End, Load, share};
use crate::cli::connect::ConnectFlags;
use crate::cli::failure::Failure;
use crate::cli::output::Printer;
use crate::cli::pairs::{count, duration};

#[derive(Debug, Args)]
pub(super) struct ProduceBench {
    #[command(flatten)]
    target: Target,
    /// How many records to write in all, such as 200k or 5M [default: 1M, unless --duration].
    #[arg(long, value_name = "COUNT", value_parser = count, conflicts_with = "duration")]
    records: Option<u64>,
    /// How long to write.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// How long to write before that without counting.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    warm_up: Option<Duration>,
    /// Records a second in all, on a steady schedule, instead of as fast as possible.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    rate: Option<u64>,
    /// How many clients, each with connections of its own; they share a thread for each core.
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// How many records of each client may be under way: with 1 each waits for the one before
    /// [default: no limit].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: Option<u16>,
}

const RECORDS: u64 = 1_000_000;

pub(super) fn run(
    connect: &ConnectFlags,
    bench: &ProduceBench,
    printer: &mut Printer,
) -> Result<(), Failure> {
    crate::cli::on_runtime(bench.target.ensure_topic(connect))?;
    let connections = usize::from(bench.connections);
    let report = measure(connections, async |share| bench.produce(connect, share).await)?;
    Ok(printer.print(&report, Report::for_people)?)
}

impl ProduceBench {
    async fn produce(&self, connect: &ConnectFlags, threads: Share) -> Result<Tally, Failure> {
        let (mine, all) = (threads.numbers().count() as f64, f64::from(self.connections));
        let end = match self.duration {
            Some(duration) => End::After(duration),
            None => {
                let records = self.records.unwrap_or(RECORDS);
                End::Records(share(records, threads.thread as u64, threads.threads as u64))
            }
        };
        let seconds_each = self.rate.map(|rate| all / (rate as f64 * mine));
        let load = Load { end, seconds_each, in_flight: self.in_flight };
        let mut writers = self.target.connect(connect, threads).await?;
        if let Some(duration) = self.warm_up {
            writers.write(&Load { end: End::After(duration), ..load.clone() }).await?;
        }
        writers.write(&load).await
    }
}
