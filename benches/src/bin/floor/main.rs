//! What this machine can do at all, and how far above that a broker is.
//!
//! Two bare servers do only what no broker can leave out: one receives frames, checks a CRC and
//! writes to the page cache; the other sends slices of a mapped file. The same load goes to them
//! and to a broker in turn, and the CPU seconds of each server, per gigabyte, are compared. Then
//! durable appends through a bare io_uring and through the log are.
//!
//! `cargo run --release -p thalweg-benches --bin floor -- [--thalweg FILE] [--gigabytes N]`

mod bare;
mod flushes;
mod load;
mod ring;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use thalweg_benches::server::{CpuTime, Server};

/// Compares a broker's CPU time per gigabyte with that of servers that do next to nothing.
#[derive(Parser)]
struct Arguments {
    /// The broker's binary, built with --release.
    #[arg(long, default_value = "target/release/thalweg")]
    thalweg: PathBuf,
    /// Gigabytes (10^9 bytes) in each measurement.
    #[arg(long, default_value_t = 2.0)]
    gigabytes: f64,
    /// Pairs of measurements; one more comes first and only warms the memory.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each measurement of durable appends takes.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Where data is written; a directory in it is made and removed.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What a broker's CPU time should be of the bare server's.
const AIM: f64 = 1.5;

#[derive(Subcommand)]
enum Role {
    /// Receives frames, checks their CRC, appends them to FILE. What the floor of producing runs.
    #[command(hide = true)]
    Receive { file: PathBuf },
    /// Sends slices of the mapped FILE. What the floor of fetching runs.
    #[command(hide = true)]
    Send { file: PathBuf },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match &arguments.role {
        Some(Role::Receive { file }) => bare::receive(file),
        Some(Role::Send { file }) => bare::send(file),
        None => {
            compare(&arguments)?;
            let time = Duration::from_secs_f64(arguments.seconds);
            flushes::compare(&arguments.dir, arguments.rounds, time)
        }
    }
}

/// CPU seconds per gigabyte of one round.
struct Round {
    floor: CpuTime,
    broker: CpuTime,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size in bytes")]
fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(&arguments.dir)?;
    let batches = (arguments.gigabytes * 1e9) as u64 / load::BATCH_BYTES as u64;
    let gigabytes = (batches * load::BATCH_BYTES as u64) as f64 / 1e9;
    let (mut produced, mut fetched) = (Vec::new(), Vec::new());
    for round in 0..=arguments.rounds {
        eprintln!("round {round} of {} …", arguments.rounds);
        let (floor_in, floor_out) = of_floor(dir.path(), batches)?;
        let (broker_in, broker_out) = of_broker(arguments, dir.path(), batches)?;
        if round > 0 {
            produced.push(Round { floor: floor_in, broker: broker_in });
            fetched.push(Round { floor: floor_out, broker: broker_out });
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{gigabytes:.1} GB in batches of {} bytes", load::BATCH_BYTES)?;
    writeln!(out, "CPU seconds per GB, user + system:")?;
    report(&mut out, "produce", "receive, CRC, write", &produced, gigabytes)?;
    report(&mut out, "fetch", "map to socket", &fetched, gigabytes)?;
    Ok(())
}

fn report(
    out: &mut impl Write,
    what: &str,
    floor_is: &str,
    rounds: &[Round],
    gigabytes: f64,
) -> anyhow::Result<()> {
    for Round { floor, broker } in rounds {
        let ratio = broker.total() / floor.total();
        writeln!(
            out,
            "  {what:<8} {:.2} + {:.2}   floor ({floor_is}) {:.2} + {:.2}   ratio {ratio:.2}",
            broker.user / gigabytes,
            broker.system / gigabytes,
            floor.user / gigabytes,
            floor.system / gigabytes,
        )?;
    }
    let mut ratios: Vec<f64> =
        rounds.iter().map(|round| round.broker.total() / round.floor.total()).collect();
    ratios.sort_by(f64::total_cmp);
    let median = *ratios.get(ratios.len() / 2).context("at least one round")?;
    let met = if median <= AIM { "met" } else { "not met" };
    writeln!(out, "  {what:<8} median ratio {median:.2} (aim ≤ {AIM}: {met})")?;
    Ok(())
}

fn of_floor(dir: &Path, batches: u64) -> anyhow::Result<(CpuTime, CpuTime)> {
    let file = dir.join("floor");
    let start = |role: &str| {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(role).arg(&file);
        Server::start(command, |line| line.parse().ok())
    };
    let server = start("receive")?;
    let before = server.cpu_time()?;
    load::produce(server.address(), batches)?;
    let produced = server.cpu_time()? - before;
    drop(server);
    let server = start("send")?;
    let before = server.cpu_time()?;
    load::take(server.address())?;
    let fetched = server.cpu_time()? - before;
    drop(server);
    std::fs::remove_file(&file)?;
    Ok((produced, fetched))
}

fn of_broker(
    arguments: &Arguments,
    dir: &Path,
    batches: u64,
) -> anyhow::Result<(CpuTime, CpuTime)> {
    let data = dir.join("broker");
    let mut command = Command::new(&arguments.thalweg);
    command.args(["--output", "json", "serve", "--listen", "127.0.0.1:0"]);
    command.args(["--admin-listen", "off", "--data-dir"]).arg(&data);
    let server = Server::start(command, |line| {
        let announced: serde_json::Value = serde_json::from_str(line).ok()?;
        announced["clients"].as_str()?.parse().ok()
    })?;
    load::create_topic(server.address())?;
    let before = server.cpu_time()?;
    load::produce(server.address(), batches)?;
    let produced = server.cpu_time()? - before;
    let before = server.cpu_time()?;
    load::fetch(server.address(), batches)?;
    let fetched = server.cpu_time()? - before;
    drop(server);
    std::fs::remove_dir_all(&data)?;
    Ok((produced, fetched))
}
