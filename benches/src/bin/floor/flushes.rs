//! Durable appends per second, through a bare io_uring and through the log, in turn: 4 KiB to each
//! of 1, 16 or 128 files, each of which appends again as soon as it is flushed.

use std::cell::Cell;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use thalweg_benches::logs;
use thalweg_protocol::batch::BatchView;
use thalweg_storage::disk::{Disk, DiskStats, UringDisk};
use thalweg_storage::{Log, LogShared, SharedConfig};

use super::ring;

pub(super) const APPEND_BYTES: usize = 4096;
/// The bare ring's appends wrap around within this.
pub(super) const FILE_BYTES: u64 = 16 << 20;
const FILE_COUNTS: [usize; 3] = [1, 16, 128];
/// What the log should reach of the bare ring's rate for one file.
const AIM: f64 = 0.8;

/// Measures and reports; the first of the rounds only warms the disk up.
pub(super) fn compare(dir: &Path, rounds: usize, time: Duration) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "durable appends of {APPEND_BYTES} bytes a second:")?;
    for files in FILE_COUNTS {
        let mut ratios = Vec::new();
        for round in 0..=rounds {
            let bare = in_empty(dir, |dir| ring::appends_per_second(dir, files, time))?;
            let log = in_empty(dir, |dir| through_logs(dir, files, time))?;
            if round > 0 {
                let ratio = log / bare;
                writeln!(
                    out,
                    "  {files:>3} files   log {log:7.0}   floor {bare:7.0}   ratio {ratio:.2}"
                )?;
                ratios.push(ratio);
            }
        }
        ratios.sort_by(f64::total_cmp);
        let median = *ratios.get(ratios.len() / 2).context("at least one round")?;
        let aim = match files {
            1 if median >= AIM => format!(" (aim ≥ {AIM}: met)"),
            1 => format!(" (aim ≥ {AIM}: not met)"),
            _ => String::new(),
        };
        writeln!(out, "  {files:>3} files   median ratio {median:.2}{aim}")?;
    }
    Ok(())
}

fn in_empty(dir: &Path, work: impl FnOnce(&Path) -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    work(tempfile::tempdir_in(dir)?.path())
}

fn through_logs(dir: &Path, count: usize, time: Duration) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let disk: Rc<dyn Disk> = Rc::new(UringDisk::new(256, 2, Arc::new(DiskStats::default()))?);
        let shared = Rc::new(LogShared::new(SharedConfig::default()));
        let mut opened = Vec::new();
        for number in 0..count {
            let dir = dir.join(number.to_string());
            let log = logs::open(disk.clone(), &dir, shared.clone(), false).await?;
            log.flush().await?;
            opened.push(log);
        }
        let batch = logs::batch(APPEND_BYTES)?;
        let appends = Rc::new(Cell::new(0_u64));
        let began = Instant::now();
        let until = began + time;
        let appending: Vec<_> = opened
            .iter()
            .map(|log| append(log.clone(), batch.clone(), until, appends.clone()))
            .map(tokio::task::spawn_local)
            .collect();
        for task in appending {
            task.await??;
        }
        let took = began.elapsed();
        for log in opened {
            log.close().await?;
        }
        Ok(appends.get() as f64 / took.as_secs_f64())
    })
}

async fn append(
    log: Rc<Log>,
    batch: BatchView,
    until: Instant,
    appends: Rc<Cell<u64>>,
) -> anyhow::Result<()> {
    while Instant::now() < until {
        log.append(vec![logs::next_entry(&log, &batch)])?;
        log.flush().await?;
        log.applied_to(log.last_index());
        appends.set(appends.get() + 1);
    }
    Ok(())
}
