//! Runs simulated clusters: one seed to look at, or many to find one that fails.
//!
//! How to read what it says: docs/internals/simulation.md. The exit status is 0 if nothing was
//! found, 1 if something was, 2 if the command line is wrong.

use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressStyle};
use thalweg_tests::sim::toll::Toll;
use thalweg_tests::sim::{Bug, Options, Outcome, run};

/// What the line with a run's misfortunes begins with.
const STRUCK: &str = "  struck: ";

/// Simulates whole clusters, each decided by one number: its seed.
///
/// The first phase of a run lasts 20 simulated seconds, in which clients work while machines, disks
/// and links fail; in the second nothing fails, and all of it must be well again. Whatever clients
/// were told must be true all the time.
#[derive(Parser)]
#[command(name = "sim", max_term_width = 100)]
struct Arguments {
    /// Runs one seed and tells what happens in it.
    #[arg(long, value_name = "N", conflicts_with = "seeds", default_value_t = 0)]
    seed: u64,
    /// Runs many seeds, a process each, and prints those that fail.
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<Range<u64>>,
    /// How many run side by side [default: one for each core].
    #[arg(long, value_name = "N", requires = "seeds")]
    jobs: Option<usize>,
    /// Begins no other seed once one has failed.
    #[arg(long, requires = "seeds")]
    first: bool,
    /// Says only what became of the run.
    #[arg(long)]
    quiet: bool,
    /// Writes every event of the run to a file, for comparing two.
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    trace: Option<PathBuf>,
    /// Prints what the brokers log, for example `info` or `thalweg::replication=debug`.
    #[arg(long, value_name = "FILTER", conflicts_with = "seeds")]
    log: Option<String>,
    #[command(flatten)]
    run: RunArguments,
}

/// What makes another run of the same seed.
#[derive(clap::Args)]
struct RunArguments {
    /// How many brokers [default: 5 for every third seed, otherwise 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(3..=9))]
    nodes: Option<u8>,
    /// How many simulated seconds the first phase lasts [default: 20].
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Leaves out the bad disk and the links that come and go.
    #[arg(long)]
    no_wear: bool,
    /// Plants a mistake in every broker, to see it found.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Bug::ALL.map(|it| it.0)))]
    bug: Option<String>,
}

fn range(text: &str) -> anyhow::Result<Range<u64>> {
    let (from, to) = text.split_once("..").context("write it as A..B, without B")?;
    let range = from.parse()?..to.parse()?;
    anyhow::ensure!(!range.is_empty(), "there is no seed in it");
    Ok(range)
}

impl RunArguments {
    fn options(&self, seed: u64) -> Options {
        let usual = Options::of(seed);
        let bug = self.bug.as_ref();
        Options {
            nodes: self.nodes.unwrap_or(usual.nodes),
            seconds: self.seconds.unwrap_or(usual.seconds),
            wear: !self.no_wear,
            bug: bug.and_then(|name| Some(Bug::ALL.iter().find(|it| it.0 == name)?.1)),
            ..usual
        }
    }

    /// The same as words of a command.
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut add = |name: &str, value: String| words.extend([name.to_owned(), value]);
        if let Some(nodes) = self.nodes {
            add("--nodes", nodes.to_string());
        }
        if let Some(seconds) = self.seconds {
            add("--seconds", seconds.to_string());
        }
        if let Some(bug) = &self.bug {
            add("--bug", bug.clone());
        }
        if self.no_wear {
            words.push("--no-wear".to_owned());
        }
        words
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let good = match &arguments.seeds {
        Some(seeds) => many(&arguments, seeds.clone()),
        None => one(&arguments),
    };
    match good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Without the backtrace that anyhow would add: it is about files and words.
            eprintln!("sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn one(arguments: &Arguments) -> anyhow::Result<bool> {
    if let Some(filter) = &arguments.log {
        let filter = tracing_subscriber::EnvFilter::try_new(filter).context("--log")?;
        tracing_subscriber::fmt().with_env_filter(filter).without_time().init();
    }
    let options = Options {
        verbose: !arguments.quiet,
        keep_trace: arguments.trace.is_some(),
        ..arguments.run.options(arguments.seed)
    };
    let outcome = run(&options);
    if let Some(file) = &arguments.trace {
        let written = std::fs::write(file, outcome.lines.join("\n"));
        written.with_context(|| format!("cannot write {}", file.display()))?;
    }
    tell(&options, &outcome);
    Ok(outcome.violations.is_empty())
}

fn tell(options: &Options, outcome: &Outcome) {
    let Outcome { violations, hash, events, tally, toll, .. } = outcome;
    let verdict = if violations.is_empty() { "holds" } else { "FAILS" };
    println!("seed {}: {verdict}; {tally}; {events} events, trace {hash:016x}", options.seed);
    println!("{STRUCK}{toll}");
    for violation in violations {
        println!("  {violation}");
    }
}

/// A process for each seed: a run is the same only if it is the first of its process.
fn many(arguments: &Arguments, seeds: Range<u64>) -> anyhow::Result<bool> {
    let began = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let failing = AtomicBool::new(false);
    let found = Mutex::new((Vec::new(), 0, Toll::default()));
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.unwrap_or_else(cores).max(1);
    let program = std::env::current_exe()?;
    let words = arguments.run.words();
    // Only on a terminal.
    let style = ProgressStyle::with_template("{wide_bar} {pos} of {len} seeds, {eta} left")?;
    let bar = ProgressBar::new(seeds.end - seeds.start).with_style(style);
    let work = || -> anyhow::Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || (arguments.first && failing.load(Ordering::Relaxed)) {
                return Ok(());
            }
            let mut run = Command::new(&program);
            let output =
                run.args(["--quiet", "--seed", &seed.to_string()]).args(&words).output()?;
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            if !output.status.success() {
                bar.suspend(|| tell_failed(seed, &output));
                failing.store(true, Ordering::Relaxed);
                found.0.push(seed);
            }
            found.1 += 1;
            let said = String::from_utf8_lossy(&output.stdout);
            let suffered = said.lines().find_map(|line| line.strip_prefix(STRUCK)?.parse().ok());
            found.2.add_all(&suffered.unwrap_or_default());
            bar.inc(1);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
    })?;
    bar.finish_and_clear();
    let (mut failed, count, toll) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_unstable();
    println!("{STRUCK}{toll}");
    let (failures, took) = (failed.len(), began.elapsed().as_secs());
    println!("{failures} of {count} seeds failed: {failed:?}, in {took} s");
    if let Some(seed) = failed.first() {
        println!("see what happens in one with: sim --seed {seed} {}", words.join(" "));
    }
    Ok(failed.is_empty())
}

/// What a run that failed has said; one that did not come to its end said something else.
fn tell_failed(seed: u64, output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    if said.is_empty() {
        println!("seed {seed}: {}", output.status);
        print!("{}", String::from_utf8_lossy(&output.stderr));
    }
    said.lines().filter(|line| !line.starts_with(STRUCK)).for_each(|line| println!("{line}"));
}
