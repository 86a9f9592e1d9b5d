//! Read-only file maps handed out as `Bytes`, and bringing their pages into memory.
//!
//! One of the few files with `unsafe`: a map is only as stable as the file beneath it. The disk
//! contract keeps it sound: a mapped file is never cut below a map's end, and the log never
//! rewrites bytes that it has handed out.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};

/// Read in one piece when pages are brought in through the page cache.
const TOUCH_BYTES: usize = 256 * 1024;

/// Maps the first `len` bytes of `file`; every slice of the result keeps the map alive.
///
/// Fails with `UnexpectedEof` when the file is shorter: touching the missing pages would raise
/// SIGBUS.
pub(crate) fn map_file(file: &File, len: u64) -> io::Result<Bytes> {
    if len == 0 {
        return Ok(Bytes::new());
    }
    if file.metadata()?.len() < len {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "cannot map beyond the end of the file",
        ));
    }
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the map is read-only and as long as the file was a moment ago; the disk contract
    // forbids cutting the file below it and rewriting bytes that were handed out.
    let map: Mmap = unsafe { MmapOptions::new().len(len).map(file) }?;
    Ok(Bytes::from_owner(map))
}

/// Where the pages of a slice begin and how many bytes of address space they span.
///
/// `madvise` wants a page-aligned start; a slice of a map begins anywhere.
pub(crate) fn pages(slice: &[u8]) -> (*const u8, usize) {
    let into_page = slice.as_ptr().addr() % page_bytes();
    (slice.as_ptr().wrapping_sub(into_page), slice.len() + into_page)
}

/// Faults the pages of a mapped slice in, waiting for the disk.
///
/// `EFAULT` means that a page cannot be read (beyond the end of the file, or a failing disk),
/// `EINVAL` that the kernel is older than 5.14 and lacks `MADV_POPULATE_READ` (madvise(2)).
#[cfg(target_os = "linux")]
pub(crate) fn populate(slice: &[u8]) -> io::Result<()> {
    let (start, len) = pages(slice);
    // SAFETY: the advice only faults pages in for reading; `slice` is live, so its pages are
    // mapped.
    let done = unsafe { libc::madvise(start.cast_mut().cast(), len, libc::MADV_POPULATE_READ) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Other systems cannot fault pages in on request: the caller falls back to `read_through`.
#[cfg(not(target_os = "linux"))]
pub(crate) fn populate(_slice: &[u8]) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::EINVAL))
}

/// Whether an error of `populate` leaves the question to `read_through`, which works on every
/// kernel and tells the end of the file (`UnexpectedEof`) from a failing disk (`EIO`).
pub(crate) fn populate_was_inconclusive(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EFAULT | libc::EINVAL))
}

/// Brings a range of `file` into the page cache by reading it; maps of it then fault without I/O.
pub(crate) fn read_through(file: &File, position: u64, len: usize) -> io::Result<()> {
    let mut scratch = vec![0; len.min(TOUCH_BYTES)];
    let mut done = 0;
    while done < len {
        let piece = (len - done).min(scratch.len());
        file.read_exact_at(&mut scratch[..piece], position + done as u64)?;
        done += piece;
    }
    Ok(())
}

fn page_bytes() -> usize {
    // SAFETY: sysconf has no preconditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("the system has a page size")
}
