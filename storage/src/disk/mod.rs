//! The disk as the log sees it: one trait, three backends, one conformance suite.
//!
//! `uring` is what a broker runs on Linux, `std` what it falls back to, `sim` what the
//! simulation runs. A disk and its files belong to one shard (thread) and are not `Send`.
//!
//! Contract, the same for every backend:
//! - An operation starts when its method is called; awaiting its future only waits for the result.
//!   Operations under way at the same time take effect in any order.
//! - A completed write is visible to every later read and mapping, but survives a power cut only
//!   after `sync_data` (or `sync_all`) of that file has returned.
//! - A created, renamed or removed name survives a power cut only after `sync_dir` of its parent.
//! - An operation runs to its end once started, whether or not its future is still polled:
//!   dropping a future never cancels a write half way, and buffers live until completion.
//! - Errors are `std::io::Error` with the raw errno where the kernel gave one, so that callers
//!   can tell `ENOSPC` (a state that passes) from `EIO` (the end of this process).

#[cfg(all(test, target_os = "linux"))]
mod conformance;
mod names;
mod pool;
pub mod sim;
mod stats;
mod std;
mod syscall;
#[cfg(target_os = "linux")]
mod uring;

pub(crate) use self::names::{parent_of, sync_dir};
pub use self::stats::{DiskStats, SyncObserver};
pub use self::std::StdDisk;
#[cfg(target_os = "linux")]
pub use self::uring::UringDisk;

use ::std::io;
use ::std::path::Path;
use ::std::rc::Rc;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

/// A disk operation under way.
pub type DiskFuture<T> = LocalBoxFuture<'static, io::Result<T>>;

/// Where files live: names, directories and free space.
pub trait Disk {
    /// Opens `path` for reading and writing.
    fn open(&self, path: &Path, mode: OpenMode) -> DiskFuture<Rc<dyn DiskFile>>;
    /// Creates `path` and every missing parent, each made durable in its own parent.
    fn create_dir_all(&self, path: &Path) -> DiskFuture<()>;
    /// Atomically replaces `to` by `from`. Durable after `sync_dir`.
    fn rename(&self, from: &Path, to: &Path) -> DiskFuture<()>;
    /// Removes a file's name. Open handles and mappings stay readable.
    fn remove_file(&self, path: &Path) -> DiskFuture<()>;
    /// Removes a directory and all below it.
    fn remove_dir_all(&self, path: &Path) -> DiskFuture<()>;
    /// The names in a directory, in no particular order.
    fn list_dir(&self, path: &Path) -> DiskFuture<Vec<DirEntry>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> DiskFuture<()>;
    /// Free and total space of the filesystem that holds `path`.
    fn space(&self, path: &Path) -> DiskFuture<Space>;
    /// The backend's name, for the line the broker prints at start: `uring`, `std` or `sim`.
    fn name(&self) -> &'static str;
}

/// One open file.
#[expect(clippy::len_without_is_empty, reason = "the length is a question to the disk")]
pub trait DiskFile {
    /// The file's length in bytes.
    fn len(&self) -> DiskFuture<u64>;
    /// Reads up to `len` bytes at `position`; shorter only at the end of the file.
    fn read_at(&self, position: u64, len: usize) -> DiskFuture<Bytes>;
    /// Writes all `buffers` back to back at `position`; short writes are continued inside.
    fn write_at(&self, position: u64, buffers: Vec<Bytes>) -> DiskFuture<()>;
    /// `fdatasync`: all completed writes, and the length needed to read them back, are durable.
    /// Never retried by anyone: after an error the kernel may have dropped the dirty pages.
    fn sync_data(&self) -> DiskFuture<()>;
    /// `fsync`.
    fn sync_all(&self) -> DiskFuture<()>;
    /// Reserves blocks so that the file is at least `len` bytes long; new bytes read as zeroes.
    fn allocate(&self, len: u64) -> DiskFuture<()>;
    /// Cuts or zero-extends the file to `len` bytes. The caller sees to it that no mapping
    /// reaches beyond `len`.
    fn truncate(&self, len: u64) -> DiskFuture<()>;
    /// Maps the first `len` bytes, which must exist (`UnexpectedEof`), for reading. Later writes
    /// inside the mapped range may become visible through it (`sim` maps are copies): map what is
    /// sealed, or map again to see what was written since.
    fn map(&self, len: u64) -> DiskFuture<Mapping>;
}

/// How `Disk::open` treats a missing or existing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// The file must exist.
    Existing,
    /// The file must not exist.
    CreateNew,
    /// Either.
    CreateIfMissing,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The last component of the path.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Space of a filesystem, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What an unprivileged writer can still use.
    pub available: u64,
    /// The filesystem's size.
    pub total: u64,
}

/// A read-only view of a file's first bytes.
///
/// `bytes` hands out slices that keep the mapping alive without copying. Touching a slice that
/// is not resident may stall the thread or, on a failing disk, raise SIGBUS: `make_resident`
/// first.
#[derive(Clone)]
pub struct Mapping {
    bytes: Bytes,
    residency: Rc<dyn Residency>,
}

/// How a backend brings a mapped range into memory without stalling the shard.
pub trait Residency {
    /// Resolves when `range` (a slice of the mapping) is resident; an unreadable page is an error.
    fn make_resident(&self, range: Bytes) -> DiskFuture<()>;
}

impl Mapping {
    /// Wraps a backend's mapped bytes.
    pub fn new(bytes: Bytes, residency: Rc<dyn Residency>) -> Self {
        Mapping { bytes, residency }
    }

    /// The mapped length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes in `range`, uncopied. Call `make_resident` before touching them.
    ///
    /// # Panics
    /// If `range` reaches beyond the mapping.
    pub fn bytes(&self, range: ::std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    /// Brings `range` into memory; afterwards touching it does not fault to disk.
    pub fn make_resident(&self, range: ::std::ops::Range<usize>) -> DiskFuture<()> {
        self.residency.make_resident(self.bytes.slice(range))
    }
}
