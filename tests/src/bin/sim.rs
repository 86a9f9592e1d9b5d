//! Runs simulated clusters: one seed to look at, or many to find one that fails.
//!
//! `sim --seed 7` tells what happens in run 7; `sim --seeds 0..200` runs them side by side and
//! prints those that fail, with the command that repeats each. The exit status says whether any
//! did. `--nodes 3|5`, `--seconds S`, `--bit-rot` and `--bug NAME` (a planted
//! mistake) make other runs of the same seeds;
//! `--trace FILE` writes every event of one run down, `--log FILTER`
//! prints what the brokers log, and `--quiet` says only what became of the run.

use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use thalweg_tests::sim::{Bug, Options, Outcome, run};

/// What the command line asks for.
#[derive(Default)]
struct Wanted {
    seed: Option<u64>,
    seeds: Option<(u64, u64)>,
    nodes: Option<u8>,
    seconds: Option<u64>,
    bit_rot: bool,
    bug: Option<Bug>,
    trace: Option<String>,
    quiet: bool,
    /// What the runs of many seeds are told as well.
    passed_on: Vec<String>,
    jobs: Option<usize>,
}

fn parse() -> anyhow::Result<Wanted> {
    let mut wanted = Wanted::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let named = word.clone();
        let mut value = || words.next().with_context(|| format!("{named} wants a value"));
        match word.as_str() {
            "--seed" => wanted.seed = Some(value()?.parse()?),
            "--seeds" => {
                let range = value()?;
                let (from, to) = range.split_once("..").context("--seeds wants A..B")?;
                wanted.seeds = Some((from.parse()?, to.parse()?));
            }
            "--nodes" => {
                let nodes = value()?;
                wanted.nodes = Some(nodes.parse()?);
                wanted.passed_on.extend([word, nodes]);
            }
            "--seconds" => {
                let seconds = value()?;
                wanted.seconds = Some(seconds.parse()?);
                wanted.passed_on.extend([word, seconds]);
            }
            "--bit-rot" => {
                wanted.bit_rot = true;
                wanted.passed_on.push(word);
            }
            "--log" => {
                let filter = tracing_subscriber::EnvFilter::try_new(value()?)?;
                tracing_subscriber::fmt().with_env_filter(filter).without_time().init();
            }
            "--bug" => {
                let name = value()?;
                let bug = Bug::ALL.iter().find(|(known, _)| *known == name);
                wanted.bug = Some(bug.with_context(|| format!("no bug is called {name}"))?.1);
                wanted.passed_on.extend([word, name]);
            }
            "--quiet" => wanted.quiet = true,
            "--trace" => wanted.trace = Some(value()?),
            "--jobs" => wanted.jobs = Some(value()?.parse()?),
            _ => bail!("unknown argument {word}; see the head of tests/src/bin/sim.rs"),
        }
    }
    Ok(wanted)
}

impl Wanted {
    fn options(&self, seed: u64) -> Options {
        let usual = Options::of(seed);
        Options {
            nodes: self.nodes.unwrap_or(usual.nodes),
            seconds: self.seconds.unwrap_or(usual.seconds),
            bit_rot: self.bit_rot || usual.bit_rot,
            bug: self.bug,
            ..usual
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let wanted = parse()?;
    if let Some((from, to)) = wanted.seeds {
        return many(&wanted, from, to);
    }
    let options = wanted.options(wanted.seed.unwrap_or(0));
    let options = Options { verbose: !wanted.quiet, keep_trace: wanted.trace.is_some(), ..options };
    let outcome = run(&options);
    if let Some(file) = &wanted.trace {
        std::fs::write(file, outcome.lines.join("\n"))?;
    }
    tell(options.seed, &outcome);
    Ok(status(outcome.violations.is_empty()))
}

fn status(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(seed: u64, outcome: &Outcome) {
    println!(
        "seed {seed}: {:?}, {} events, trace {:016x}",
        outcome.tally, outcome.events, outcome.hash
    );
    for violation in &outcome.violations {
        println!("  {violation}");
    }
}

/// A process for each seed: a run is the same only if it is the first of its process.
fn many(wanted: &Wanted, from: u64, to: u64) -> anyhow::Result<ExitCode> {
    let next = AtomicU64::new(from);
    let failed = Mutex::new(Vec::new());
    let jobs = wanted.jobs.or_else(|| Some(std::thread::available_parallelism().ok()?.get()));
    let program = std::env::current_exe()?;
    let work = || -> anyhow::Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= to {
                return Ok(());
            }
            let mut run = Command::new(&program);
            run.args(["--quiet", "--seed", &seed.to_string()]).args(&wanted.passed_on);
            let output = run.output()?;
            if !output.status.success() {
                print!("{}", String::from_utf8_lossy(&output.stdout));
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(seed);
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.unwrap_or(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
    })?;
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_unstable();
    println!("{} of {} seeds failed: {failed:?}", failed.len(), to.saturating_sub(from));
    if let Some(seed) = failed.first() {
        println!("see what happens in one with: sim --seed {seed} {}", wanted.passed_on.join(" "));
    }
    Ok(status(failed.is_empty()))
}
