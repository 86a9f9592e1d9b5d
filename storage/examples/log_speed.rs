//! Measures a log on a real disk: appends, cached and cold reads, and recovery after a kill.
//!
//! `log_speed append <dir> <std|uring> <batch bytes> <MiB> <caching|durable>`
//! `log_speed fill <dir> <logs> <MiB each>` exits without closing, as a kill would;
//! `log_speed recover <dir> <logs>` opens what it left.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use thalweg_protocol::batch::{BatchBuilder, BatchOptions, BatchView, HEADER_LEN, HeaderPatch};
use thalweg_storage::disk::{Disk, DiskStats, StdDisk, UringDisk};
use thalweg_storage::{
    Entry, Log, LogConfig, LogIdentity, LogShared, OpenLog, RecoveryReport, SharedConfig,
};
use uuid::Uuid;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        match args[..] {
            ["append", dir, disk, batch, mib, caching] => {
                let (batch, mib) = (batch.parse().unwrap(), mib.parse().unwrap());
                append(Path::new(dir), disk, batch, mib, caching == "caching").await;
            }
            ["fill", dir, logs, mib] => {
                fill(Path::new(dir), logs.parse().unwrap(), mib.parse().unwrap()).await;
            }
            ["recover", dir, logs] => recover(Path::new(dir), logs.parse().unwrap()).await,
            _ => eprintln!("see the first lines of the source"),
        }
    });
}

fn disk(kind: &str) -> Rc<dyn Disk> {
    let stats = Arc::new(DiskStats::default());
    match kind {
        "std" => Rc::new(StdDisk::new(2, stats).unwrap()),
        _ => Rc::new(UringDisk::new(256, 2, stats).unwrap()),
    }
}

struct Opened {
    log: Rc<Log>,
    stable: Rc<tokio::sync::Notify>,
    report: RecoveryReport,
}

async fn open(disk: Rc<dyn Disk>, dir: PathBuf, shared: Rc<LogShared>, caching: bool) -> Opened {
    let stable = Rc::new(tokio::sync::Notify::new());
    let told = Rc::clone(&stable);
    let (log, report) = Log::open(OpenLog {
        disk,
        dir,
        identity: LogIdentity { topic: Uuid::nil(), partition: 0 },
        config: LogConfig { write_caching: caching, ..LogConfig::default() },
        shared,
        applied: 0,
        on_event: Rc::new(move |_| told.notify_one()),
    })
    .await
    .unwrap();
    Opened { log, stable, report }
}

/// One batch of 1 KiB records, as a producer sends it.
fn template(bytes: usize) -> BatchView {
    let mut builder = BatchBuilder::with_capacity(bytes);
    while builder.size() + 1040 <= bytes.max(1101) {
        builder.append(1_000, None, Some(&[7; 1024]), &[]).unwrap();
    }
    BatchView::parse(builder.finish(&BatchOptions::default()).unwrap()).unwrap()
}

fn entry(log: &Log, template: &BatchView) -> Entry {
    let patch =
        HeaderPatch { base_offset: log.next_offset(), leader_epoch: 1, log_append_time_ms: None };
    let header = patch.apply(template.header()).write();
    Entry {
        index: log.last_index() + 1,
        term: 1,
        header: Bytes::copy_from_slice(&header),
        body: template.bytes().slice(HEADER_LEN..),
    }
}

fn begin(log: &Rc<Log>) {
    log.append(vec![Entry::internal(log.last_index() + 1, 1, log.next_offset(), 1, b"")]).unwrap();
}

/// Appends with at most 16 MiB in flight, then reads everything back.
async fn append(dir: &Path, kind: &str, batch: usize, mib: usize, caching: bool) {
    let shared = Rc::new(LogShared::new(SharedConfig::default()));
    let disk = disk(kind);
    let Opened { log, stable, .. } =
        open(Rc::clone(&disk), dir.to_path_buf(), Rc::clone(&shared), caching).await;
    begin(&log);
    let template = template(batch);
    let batches = mib * (1 << 20) / template.bytes().len();
    let window = ((16 << 20) / template.bytes().len()) as u64;
    let appending = Cell::new(Duration::ZERO);
    let clock = Clock::start();
    for _ in 0..batches {
        let entry = entry(&log, &template);
        let begun = Instant::now();
        log.append(vec![entry]).unwrap();
        appending.set(appending.get() + begun.elapsed());
        while log.last_index() - log.stable_index() >= window {
            stable.notified().await;
        }
    }
    while log.stable_index() < log.last_index() {
        stable.notified().await;
    }
    clock.report("append", batches, template.bytes().len());
    println!(
        "  {:.2} us per append call; {} windows, {} flushes",
        appending.get().as_secs_f64() * 1e6 / batches as f64,
        shared.stats().windows_written.get(),
        shared.stats().flushes.get(),
    );
    log.applied_to(log.last_index());
    log.close().await.unwrap();
    let cold = Rc::new(LogShared::new(SharedConfig::default()));
    let Opened { log, .. } = open(disk, dir.to_path_buf(), cold, caching).await;
    let clock = Clock::start();
    let (mut next, mut slices) = (0, 0);
    while next < log.next_offset() {
        let fetched = log.read(next, 1 << 20, log.next_offset(), true).await.unwrap();
        slices += fetched.records.len();
        next = fetched.next_offset;
    }
    clock.report("cold read of 1 MiB each", batches, template.bytes().len());
    println!("  {slices} slices");
}

async fn fill(dir: &Path, logs: usize, mib: usize) {
    let shared = Rc::new(LogShared::new(SharedConfig::default()));
    let disk = disk("uring");
    let template = template(64 << 10);
    let mut opened = Vec::new();
    for n in 0..logs {
        let dir = dir.join(n.to_string());
        opened.push(open(Rc::clone(&disk), dir, Rc::clone(&shared), true).await);
        begin(&opened[n].log);
    }
    let batches = mib * (1 << 20) / template.bytes().len();
    for _ in 0..batches {
        for Opened { log, .. } in &opened {
            log.append(vec![entry(log, &template)]).unwrap();
            log.applied_to(log.last_index());
        }
        for Opened { log, stable, .. } in &opened {
            while log.stable_index() < log.last_index() {
                stable.notified().await;
            }
        }
    }
    // No destructor runs, nothing is closed.
    std::process::exit(0);
}

async fn recover(dir: &Path, logs: usize) {
    let disk = disk("uring");
    let shared = Rc::new(LogShared::new(SharedConfig::default()));
    let clock = Clock::start();
    let opening = (0..logs).map(|n| {
        let dir = dir.join(n.to_string());
        open(Rc::clone(&disk), dir, Rc::clone(&shared), true)
    });
    let opened = futures_util::future::join_all(opening).await;
    clock.report("recovery", logs, 0);
    let reports = || opened.iter().flat_map(|opened| &opened.report.segments);
    println!(
        "  {} bytes in {} segments, {} verified, {} damaged",
        opened.iter().map(|opened| opened.log.size_bytes()).sum::<u64>(),
        reports().count(),
        reports().map(|segment| segment.bytes_verified).sum::<u64>(),
        opened.iter().map(|opened| opened.report.damaged.len()).sum::<usize>(),
    );
}

/// Wall clock and CPU time of this process.
struct Clock {
    begun: Instant,
    user: f64,
    system: f64,
}

impl Clock {
    fn start() -> Self {
        let (user, system) = cpu_seconds();
        Clock { begun: Instant::now(), user, system }
    }

    fn report(&self, what: &str, count: usize, bytes: usize) {
        let (seconds, (user, system)) = (self.begun.elapsed().as_secs_f64(), cpu_seconds());
        let gb = (count * bytes) as f64 / 1e9;
        println!(
            "{what}: {count} in {seconds:.3} s, {:.3} GB/s, CPU {:.3} s user {:.3} s system{}",
            gb / seconds,
            user - self.user,
            system - self.system,
            if gb > 0.0 {
                let (user, system) = ((user - self.user) / gb, (system - self.system) / gb);
                format!(" ({user:.3} + {system:.3} s/GB)")
            } else {
                String::new()
            },
        );
    }
}

/// User and system seconds, from `/proc/self/stat` in ticks of 10 ms.
fn cpu_seconds() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..].split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap() / 100.0;
    (ticks(12), ticks(13))
}
