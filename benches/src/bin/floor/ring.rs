//! Durable appends through a bare io_uring: to each of some files 4 KiB, then fdatasync, then the
//! next. No log, no buffers, no bookkeeping: what a disk and a kernel give at most this way.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use io_uring::{IoUring, opcode, squeue, types};

use super::flushes::{APPEND_BYTES, FILE_BYTES};

/// What a file is doing now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Write,
    Flush,
}

/// Appends per second, over so many files at once.
pub(super) fn appends_per_second(dir: &Path, files: usize, time: Duration) -> anyhow::Result<f64> {
    let body = vec![0xa5; APPEND_BYTES];
    let files: Vec<File> =
        (0..files).map(|it| prepare(&dir.join(it.to_string()))).collect::<Result<_, _>>()?;
    let mut ring = IoUring::new(256)?;
    let mut states = vec![(Step::Write, 0_u64); files.len()];
    let began = Instant::now();
    let mut appends = 0_u64;
    for (number, file) in files.iter().enumerate() {
        push(&mut ring, &write(file, &body, 0).user_data(number as u64))?;
    }
    let mut under_way = files.len();
    while under_way > 0 {
        ring.submit_and_wait(1)?;
        let completed: Vec<_> = ring.completion().map(|it| (it.user_data(), it.result())).collect();
        for (number, result) in completed {
            let number = usize::try_from(number)?;
            let file = files.get(number).context("a file of ours")?;
            let (step, position) = states.get_mut(number).context("a file of ours")?;
            ensure!(result >= 0, std::io::Error::from_raw_os_error(-result));
            let entry = match *step {
                Step::Write => {
                    ensure!(result as usize == APPEND_BYTES, "a write of {result} bytes");
                    *step = Step::Flush;
                    opcode::Fsync::new(types::Fd(file.as_raw_fd()))
                        .flags(types::FsyncFlags::DATASYNC)
                        .build()
                }
                Step::Flush => {
                    appends += 1;
                    if began.elapsed() >= time {
                        under_way -= 1;
                        continue;
                    }
                    *step = Step::Write;
                    *position = (*position + APPEND_BYTES as u64) % FILE_BYTES;
                    write(file, &body, *position)
                }
            };
            push(&mut ring, &entry.user_data(number as u64))?;
        }
    }
    Ok(appends as f64 / began.elapsed().as_secs_f64())
}

fn write(file: &File, body: &[u8], position: u64) -> squeue::Entry {
    let fd = types::Fd(file.as_raw_fd());
    opcode::Write::new(fd, body.as_ptr(), APPEND_BYTES as u32).offset(position).build()
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> anyhow::Result<()> {
    // SAFETY: files and body outlive the ring's use: every entry has completed when the loop ends,
    // and an error ends the process.
    unsafe { ring.submission().push(entry) }.context("a file has one entry under way")
}

/// A new file with room for all that will be in it, as a log allocates before it writes.
fn prepare(path: &Path) -> anyhow::Result<File> {
    let mut options = File::options();
    let file = options.write(true).create_new(true).mode(0o600).open(path)?;
    // SAFETY: the descriptor is the file's, which is open.
    let failed = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, FILE_BYTES.try_into()?) };
    ensure!(failed == 0, std::io::Error::from_raw_os_error(failed));
    file.sync_all()?;
    Ok(file)
}
