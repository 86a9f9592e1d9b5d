//! Thalweg beside Apache Kafka: the same client, the same disk, in alternation, on this machine.
//!
//! `cargo run --release --manifest-path benches/clients/Cargo.toml --bin compare`, after
//! `cargo build --release -p thalweg`; needs Maven and Java 17, and root for the cold reads. What
//! it measures is in `scenarios/`, what it compares with in `peers/`, what it writes in `report`.

mod brokers;
mod device;
mod figures;
mod java;
mod librdkafka;
mod load;
mod machine;
mod ours;
mod paced;
mod peers;
mod plot;
mod process;
mod report;
mod scenarios;
mod stage;
mod topic;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::device::Device;
use crate::figures::Pair;
use crate::peers::{Peers, Places, Rival};
use crate::report::{Finished, Report};
use crate::scenarios::{Scenario, Setting};
use crate::stage::Sizes;

/// The folder of the repository.
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Compares Thalweg with Apache Kafka on this machine.
#[derive(Parser)]
struct Arguments {
    /// The broker to compare with.
    #[arg(long, value_enum, default_value_t = Rival::Kafka)]
    peer: Rival,
    /// Only these scenarios, by number.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    scenario: Vec<u32>,
    /// How many times each scenario is measured on both.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// How long each load goes on.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// How long it goes on before that, unmeasured, for caches and the JIT compiler.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    warm_up: f64,
    /// How much is written to be read in scenario 4 (10^9 bytes).
    #[arg(long, default_value_t = 1.0)]
    gigabytes: f64,
    /// How much memory is touched before everything (10^9 bytes).
    #[arg(long, default_value_t = 4.0)]
    warm: f64,
    /// Our binary, built with --release [default: target/release/thalweg of the repository].
    #[arg(long, value_name = "FILE")]
    thalweg: Option<PathBuf>,
    /// Where brokers have their data [default: target/peers of the repository].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where the report goes [default: docs/benchmarks/compare of the repository].
    #[arg(long)]
    out: Option<PathBuf>,
    /// Prints every measurement as JSON instead of the summary.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn sizes(&self) -> Sizes {
        Sizes {
            time: Duration::from_secs_f64(self.seconds),
            warm_up: Duration::from_secs_f64(self.warm_up),
            dataset_bytes: (self.gigabytes * 1e9) as u64,
        }
    }

    /// Those that decide what is measured; paths are this machine's own affair.
    fn that_matter(&self) -> String {
        let mut text = format!("--pairs {} --seconds {}", self.pairs, self.seconds);
        text += &format!(" --warm-up {} --gigabytes {}", self.warm_up, self.gigabytes);
        if !self.scenario.is_empty() {
            let numbers: Vec<String> = self.scenario.iter().map(u32::to_string).collect();
            text += &format!(" --scenario {}", numbers.join(","));
        }
        text
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.pairs > 0 && arguments.seconds >= 0.1, "there is nothing to measure");
    let scenarios = chosen(&arguments.scenario)?;
    let repository = Path::new(REPOSITORY).canonicalize()?;
    let or =
        |path: &Option<PathBuf>, default| path.clone().unwrap_or_else(|| repository.join(default));
    let cache = repository.join("target/peers");
    let dir = or(&arguments.dir, "target/peers");
    let peers = repository.join("benches/peers");
    for folder in [&cache, &dir] {
        std::fs::create_dir_all(folder)?;
    }
    let thalweg = or(&arguments.thalweg, "target/release/thalweg");
    let peers = Peers::prepare(arguments.peer, &Places { thalweg, peers, cache })?;

    let machine = machine::describe(&dir, &repository);
    let sizes = arguments.sizes();
    let estimate: f64 = scenarios.iter().map(|it| it.seconds(&sizes)).sum();
    let minutes = estimate * arguments.pairs as f64 / 60.0;
    eprintln!("{}\nthis takes about {minutes:.1} minutes", machine.join("\n"));
    device::warm_memory(&dir, (arguments.warm * 1e9) as u64)?;
    let began = Instant::now();
    let finished = measure_all(&scenarios, &arguments, &dir, &peers)?;
    eprintln!("it took {:.1} minutes", began.elapsed().as_secs_f64() / 60.0);

    let report = Report {
        peers: &peers,
        machine: &machine,
        command: &arguments.that_matter(),
        pairs: arguments.pairs,
        sizes,
        finished: &finished,
    };
    let out = or(&arguments.out, "docs/benchmarks/compare");
    report.write(&out)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report.json())?);
    } else {
        println!("{}", report.summary());
    }
    eprintln!("written to {}", out.display());
    let failed = finished.iter().filter(|it| it.pairs.is_err()).count();
    ensure!(failed == 0, "{failed} scenarios could not be measured");
    Ok(())
}

fn chosen(numbers: &[u32]) -> Result<Vec<&'static Scenario>> {
    if numbers.is_empty() {
        return Ok(scenarios::ALL.iter().collect());
    }
    let scenario = |number: &u32| {
        let found = scenarios::ALL.iter().find(|scenario| scenario.number == *number);
        found.with_context(|| format!("there is no scenario {number}"))
    };
    numbers.iter().map(scenario).collect()
}

fn measure_all(
    scenarios: &[&'static Scenario],
    arguments: &Arguments,
    dir: &Path,
    peers: &Peers,
) -> Result<Vec<Finished<'static>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let device = Device::under(dir)?;
    if device.is_none() {
        eprintln!("flushes cannot be counted on this disk, so they are not checked");
    }
    let sizes = arguments.sizes();
    let java = &peers.java;
    let setting = Setting { dir, device: device.as_ref(), sizes, runtime: &runtime, java };
    let mut finished = Vec::new();
    for scenario in scenarios {
        let pairs = measure(scenario, arguments.pairs, &setting, peers);
        if let Err(error) = &pairs {
            eprintln!("scenario {} could not be measured: {error:#}", scenario.number);
        }
        finished.push(Finished { scenario, pairs });
    }
    Ok(finished)
}

fn measure(
    scenario: &Scenario,
    count: usize,
    setting: &Setting<'_>,
    peers: &Peers,
) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for number in 1..=count {
        eprint!("{}. {}: pair {number} of {count}", scenario.number, scenario.title);
        let began = Instant::now();
        let of = |peer: &dyn peers::Peer| {
            let measured = (scenario.measure)(setting, peer);
            device::sync()?;
            measured.with_context(|| peer.name())
        };
        let pair = of(&*peers.ours).and_then(|ours| {
            let theirs = scenario.has_rival.then(|| of(&*peers.theirs)).transpose()?;
            Ok(Pair { ours, theirs })
        });
        eprintln!(", {:.0} s", began.elapsed().as_secs_f64());
        pairs.push(pair?);
    }
    Ok(pairs)
}
