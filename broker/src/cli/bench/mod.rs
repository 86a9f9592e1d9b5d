//! `thalweg bench`: how fast a cluster takes and gives records, and what that costs this process.
//!
//! Connections are spread over one thread for each core ([`threads`]), and each thread tallies what
//! its own did. Latency runs from when a record was meant to be sent to when its acknowledgement is
//! seen: with `--rate`, a record that has to wait because earlier ones are slow counts its wait (no
//! coordinated omission).

mod catch_up;
mod consume;
mod cpu;
mod payload;
mod produce;
mod report;
mod schedule;
mod tally;
mod target;
mod threads;
mod watchers;
mod writers;

use clap::{Args, Subcommand};

use super::connect::ConnectFlags;
use super::failure::Failure;
use super::output::{Output, Printer};

/// Measure how fast a cluster takes or gives records.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    connect: ConnectFlags,
    /// Print JSON, as --output json does.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Write records of random bytes, as fast as possible or at a steady rate.
    ///
    /// The latency of a record runs from when it was due, so that nothing is hidden by a producer
    /// that is held up, until its acknowledgement is seen. Everything is connected before counting
    /// begins, and CPU time is this process's: the broker's is the broker's to tell.
    #[command(after_help = "Examples:\n  \
        thalweg bench produce test --records 5M --record-size 100\n  \
        thalweg bench produce test --rate 10k --duration 30s --warm-up 5s   latency at a fixed rate\n  \
        thalweg bench produce test --connections 64 --in-flight 1           one record a request\n  \
        thalweg bench produce many -p 1000 --round-robin                    many partitions\n  \
        thalweg bench produce fast -p 16 -z lz4 --write-caching --json")]
    Produce(produce::ProduceBench),
    /// Read a topic from its start to where it ends now.
    #[command(after_help = "Examples:\n  \
        thalweg bench consume test\n  \
        thalweg bench consume many --connections 8 --json")]
    Consume(consume::ConsumeBench),
    /// Read what has piled up in a topic while it is written to at a steady rate.
    ///
    /// Writes a backlog, goes on writing at the rate, and has a consumer read from the start until
    /// it has once been at the end of every partition. Says how long that took, and how late
    /// records were acknowledged before it and meanwhile.
    #[command(after_help = "Example:\n  \
        thalweg bench catch-up test --backlog 4GiB --rate 5k")]
    CatchUp(catch_up::CatchUpBench),
}

pub(super) fn run(args: BenchArgs, printer: &mut Printer) -> Result<(), Failure> {
    if args.json {
        printer.output = Output::Json;
    }
    match args.command {
        BenchCommand::Produce(bench) => produce::run(&args.connect, &bench, printer),
        BenchCommand::Consume(bench) => consume::run(&args.connect, &bench, printer),
        BenchCommand::CatchUp(bench) => catch_up::run(&args.connect, &bench, printer),
    }
}
