//! The blocking system calls that std lacks, each behind a safe function.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::Bytes;

use super::Space;

/// The most buffers one vectored write takes (`UIO_MAXIOV`).
pub(super) const IOV_MAX: usize = 1024;

/// Writes all `buffers` back to back at `position`, however many and however short each write.
pub(super) fn write_all_at(file: &File, position: u64, buffers: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        buffers.iter().filter(|buffer| !buffer.is_empty()).map(|b| IoSlice::new(b)).collect();
    let mut rest = slices.as_mut_slice();
    let mut position = position;
    while !rest.is_empty() {
        let written = match write_some_at(file, position, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        position += written as u64;
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

fn write_some_at(file: &File, position: u64, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let count = slices.len().min(IOV_MAX) as libc::c_int;
    let position = file_position(position)?;
    // SAFETY: `IoSlice` is ABI-compatible with `iovec`; `count` of them live across the call.
    let written =
        unsafe { libc::pwritev(file.as_raw_fd(), slices.as_ptr().cast(), count, position) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// Reserves blocks for the first `len` bytes and makes the file at least that long.
///
/// A filesystem without preallocation still gets the length.
pub(super) fn allocate(file: &File, len: u64) -> io::Result<()> {
    loop {
        match reserve(file, len) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                return extend(file, len);
            }
            done => return done,
        }
    }
}

/// Zero-extends the file to `len` bytes, without blocks; never shortens it.
pub(super) fn extend(file: &File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() < len { file.set_len(len) } else { Ok(()) }
}

#[cfg(target_os = "linux")]
fn reserve(file: &File, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(()); // fallocate refuses an empty range
    }
    // SAFETY: takes no pointers; the descriptor is open.
    let done = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, file_position(len)?) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_file: &File, _len: u64) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}

/// Space of the filesystem that holds `path`.
#[cfg_attr(
    target_os = "linux",
    expect(clippy::useless_conversion, reason = "the counters are narrower on other systems")
)]
pub(super) fn space(path: &Path) -> io::Result<Space> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends with NUL and `found` is large enough for the answer.
    let done = unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: statvfs succeeded, so it has filled in the whole structure.
    let found = unsafe { found.assume_init() };
    let block = u64::from(found.f_frsize);
    Ok(Space {
        available: u64::from(found.f_bavail).saturating_mul(block),
        total: u64::from(found.f_blocks).saturating_mul(block),
    })
}

fn file_position(position: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(position).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))
}
