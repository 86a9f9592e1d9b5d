//! Durable 4 KiB appends per second: io_uring against the thread pool, by number of files.
//!
//! Each file has one writer that appends, flushes, and appends again, as a partition with one
//! batch in flight does. Run with `cargo bench -p thalweg-benches --bench disk [seconds]`; `cargo
//! test` of it only shows that it works. Backends alternate, and the first round only warms the
//! memory and the disk up.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use thalweg_storage::disk::{Disk, DiskFile, DiskStats, OpenMode, StdDisk, UringDisk};

const APPEND_BYTES: usize = 4_096;
/// Appends wrap around within this, so that long runs need no more disk.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
const RING_ENTRIES: u32 = 256;
const FILE_COUNTS: [usize; 3] = [1, 16, 128];
const ROUNDS: usize = 3;

/// What one run of one backend came to.
struct Outcome {
    appends: u64,
    took: Duration,
    latency_us: Histogram<u64>,
    user: Duration,
    system: Duration,
    submissions: u64,
}

fn main() -> anyhow::Result<()> {
    // Cargo passes `--bench`; the first number is ours.
    let seconds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(2);
    let is_test = std::env::args().all(|argument| argument != "--bench");
    let duration = match is_test {
        true => Duration::from_millis(20),
        false => Duration::from_secs(seconds),
    };
    let rounds = if is_test { 2 } else { ROUNDS };
    println!("files  backend     appends/s   p50 us   p99 us   user us/op  sys us/op  calls/op");
    for files in FILE_COUNTS {
        for round in 0..rounds {
            for backend in ["uring", "std-4", "std-16", "std-64"] {
                let outcome = run(backend, files, duration)?;
                if round > 0 {
                    print(backend, files, &outcome);
                }
            }
        }
    }
    Ok(())
}

fn run(backend: &str, files: usize, duration: Duration) -> anyhow::Result<Outcome> {
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let stats = Arc::new(DiskStats::default());
        let disk: Rc<dyn Disk> = match backend.strip_prefix("std-") {
            Some(threads) => Rc::new(StdDisk::new(threads.parse()?, Arc::clone(&stats))?),
            None => Rc::new(UringDisk::new(RING_ENTRIES, 2, Arc::clone(&stats))?),
        };
        measure(&*disk, dir.path(), files, duration, &stats).await
    })
}

async fn measure(
    disk: &dyn Disk,
    dir: &Path,
    files: usize,
    duration: Duration,
    stats: &DiskStats,
) -> anyhow::Result<Outcome> {
    let mut open = Vec::new();
    for index in 0..files {
        let file = disk.open(&dir.join(index.to_string()), OpenMode::CreateNew).await?;
        file.allocate(FILE_BYTES).await?;
        file.sync_all().await?;
        open.push(file);
    }
    let latency_us = Rc::new(RefCell::new(Histogram::new(3)?));
    let (submissions, (user, system)) = (stats.submissions(), cpu_time()?);
    let began = Instant::now();
    let writers: Vec<_> = open
        .into_iter()
        .map(|file| tokio::task::spawn_local(append(file, began + duration, latency_us.clone())))
        .collect();
    let mut appends = 0;
    for writer in writers {
        appends += writer.await??;
    }
    let took = began.elapsed();
    let (user_after, system_after) = cpu_time()?;
    Ok(Outcome {
        appends,
        took,
        latency_us: latency_us.borrow().clone(),
        user: user_after - user,
        system: system_after - system,
        submissions: stats.submissions() - submissions,
    })
}

async fn append(
    file: Rc<dyn DiskFile>,
    until: Instant,
    latency_us: Rc<RefCell<Histogram<u64>>>,
) -> anyhow::Result<u64> {
    let batch = Bytes::from(vec![0xa5; APPEND_BYTES]);
    let mut appends = 0;
    loop {
        let began = Instant::now();
        if began >= until {
            return Ok(appends);
        }
        let position = appends * APPEND_BYTES as u64 % FILE_BYTES;
        file.write_at(position, vec![batch.clone()]).await?;
        file.sync_data().await?;
        latency_us.borrow_mut().record(began.elapsed().as_micros() as u64)?;
        appends += 1;
    }
}

fn print(backend: &str, files: usize, outcome: &Outcome) {
    let per_append = |time: Duration| time.as_secs_f64() * 1e6 / outcome.appends as f64;
    println!(
        "{files:5}  {backend:10} {:10.0} {:8} {:8} {:11.1} {:10.1} {:9.2}",
        outcome.appends as f64 / outcome.took.as_secs_f64(),
        outcome.latency_us.value_at_quantile(0.5),
        outcome.latency_us.value_at_quantile(0.99),
        per_append(outcome.user),
        per_append(outcome.system),
        outcome.submissions as f64 / outcome.appends as f64,
    );
}

/// User and system time of this process so far.
fn cpu_time() -> anyhow::Result<(Duration, Duration)> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` is large enough for the answer.
    let done = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    anyhow::ensure!(done == 0, std::io::Error::last_os_error());
    // SAFETY: getrusage succeeded, so it has filled in the whole structure.
    let usage = unsafe { usage.assume_init() };
    let duration = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    Ok((duration(usage.ru_utime), duration(usage.ru_stime)))
}
