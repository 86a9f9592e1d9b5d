//! What the log costs: durable appends on each disk at 1, 16 and 128 partitions, looking entries up
//! in the ledger, and reading what was just appended.
//!
//! `cargo bench -p thalweg-benches --bench log`. An append is a batch of 4 KiB that is flushed
//! before the next one of its partition; all partitions append at once, and the time is divided by
//! the appends of all. The simulated disk shows what is left when the disk takes no time.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use thalweg_benches::logs;
use thalweg_protocol::batch::BatchView;
use thalweg_storage::disk::sim::SimDisk;
use thalweg_storage::disk::{Disk, DiskStats, StdDisk, UringDisk};
use thalweg_storage::{Log, LogShared, SharedConfig};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

const APPEND_BYTES: usize = 4096;
const PARTITIONS: [usize; 3] = [1, 16, 128];
const ENTRIES: u64 = 10_000;
/// Odd, so that lookups wander over the whole ledger.
const STRIDE: u64 = 7_919;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    appends(&mut criterion);
    lookups(&mut criterion);
    criterion.final_summary();
}

fn disk(name: &str) -> anyhow::Result<Rc<dyn Disk>> {
    let stats = Arc::new(DiskStats::default());
    Ok(match name {
        "uring" => Rc::new(UringDisk::new(256, 2, stats)?),
        "std" => Rc::new(StdDisk::new(16, stats)?),
        _ => Rc::new(SimDisk::new(1)),
    })
}

fn appends(criterion: &mut Criterion) {
    let runtime = runtime();
    for name in ["uring", "std", "sim"] {
        let mut group = criterion.benchmark_group(format!("append, disk {name}"));
        group.sample_size(10).measurement_time(Duration::from_secs(2));
        for partitions in PARTITIONS {
            group.bench_function(BenchmarkId::from_parameter(partitions), |bencher| {
                bencher.iter_custom(|appends| {
                    let dir = tempfile::tempdir().expect("a temporary directory");
                    let took = LocalSet::new()
                        .block_on(&runtime, append(name, dir.path(), partitions, appends));
                    took.expect("the log takes every append")
                });
            });
        }
        group.finish();
    }
}

async fn append(
    name: &str,
    dir: &Path,
    partitions: usize,
    appends: u64,
) -> anyhow::Result<Duration> {
    let disk = disk(name)?;
    let shared = Rc::new(LogShared::new(SharedConfig::default()));
    let batch = logs::batch(APPEND_BYTES)?;
    let mut opened = Vec::new();
    for partition in 0..partitions {
        // The simulated disk knows no directories but those that are made on it.
        let dir = if name == "sim" { Path::new("/") } else { dir };
        let dir = dir.join(partition.to_string());
        let log = logs::open(disk.clone(), &dir, shared.clone(), false).await?;
        log.flush().await?;
        opened.push(log);
    }
    let began = Instant::now();
    let mut tasks = Vec::new();
    for (number, log) in opened.iter().enumerate() {
        let (number, all) = (number as u64, partitions as u64);
        let mine = appends / all + u64::from(number < appends % all);
        tasks.push(tokio::task::spawn_local(append_one_by_one(log.clone(), batch.clone(), mine)));
    }
    for task in tasks {
        task.await??;
    }
    let took = began.elapsed();
    for log in opened {
        log.close().await?;
    }
    Ok(took)
}

async fn append_one_by_one(log: Rc<Log>, batch: BatchView, appends: u64) -> anyhow::Result<()> {
    for _ in 0..appends {
        log.append(vec![logs::next_entry(&log, &batch)])?;
        log.flush().await?;
        log.applied_to(log.last_index());
    }
    Ok(())
}

fn lookups(criterion: &mut Criterion) {
    let (runtime, local) = (runtime(), LocalSet::new());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let log = local.block_on(&runtime, filled(dir.path())).expect("the log takes every append");
    let mut index = 0;
    criterion.bench_function("ledger lookup by index", |bencher| {
        bencher.iter(|| {
            index = (index + STRIDE) % ENTRIES;
            let found = local.block_on(&runtime, log.load_meta(index + 1));
            found.expect("every entry is there")
        });
    });
    let end = log.next_offset();
    let mut offset = 0;
    criterion.bench_function("read one batch by offset", |bencher| {
        bencher.iter(|| {
            offset = (offset + STRIDE.cast_signed()) % end;
            let read = local.block_on(&runtime, log.read(offset, APPEND_BYTES, end, true));
            read.expect("every record is there")
        });
    });
    local.block_on(&runtime, log.close()).expect("the log closes");
}

/// A log whose newest entries are in the tail cache and whose ledger is applied.
async fn filled(dir: &Path) -> anyhow::Result<Rc<Log>> {
    let shared = Rc::new(LogShared::new(SharedConfig::default()));
    let log = logs::open(disk("uring")?, &dir.join("filled"), shared, true).await?;
    let batch = logs::batch(APPEND_BYTES)?;
    for _ in 0..ENTRIES {
        log.append(vec![logs::next_entry(&log, &batch)])?;
    }
    log.flush().await?;
    log.applied_to(log.last_index());
    Ok(log)
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("an event loop")
}
