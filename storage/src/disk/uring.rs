//! `UringDisk`: one io_uring per shard thread; a turn's operations cost one system call.
//!
//! Reads, writes, flushes, preallocation and residency go through the ring. Names, lengths and
//! maps go to a `StdDisk` inside: they are rare, and the kernel would run them on a worker anyway.

mod operation;
mod ring;

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use self::operation::{Allocate, Populate, Read, Sync, Write};
use self::ring::RingHandle;
use super::std::{MappedPages, StdFile};
use super::{
    DirEntry, Disk, DiskFile, DiskFuture, DiskStats, Mapping, OpenMode, Residency, Space, StdDisk,
    syscall,
};
use crate::mmap;

/// A real filesystem reached through io_uring. Clones share the ring.
#[derive(Clone)]
pub struct UringDisk {
    ring: Rc<RingHandle>,
    names: StdDisk,
}

impl UringDisk {
    /// Sets a ring of `entries` up, and `threads` threads for what does not go through it.
    ///
    /// Fails where the kernel, its settings or a sandbox refuse io_uring, or where it lacks an
    /// operation (before Linux 5.6): run on `StdDisk` then.
    ///
    /// # Panics
    /// Outside a `LocalSet` on a current-thread tokio runtime with I/O enabled.
    pub fn new(entries: u32, threads: usize, stats: Arc<DiskStats>) -> io::Result<Self> {
        let ring = RingHandle::new(entries, Arc::clone(&stats))?;
        Ok(UringDisk { ring: Rc::new(ring), names: StdDisk::new(threads, stats)? })
    }

    /// This disk's counters.
    pub fn stats(&self) -> &Arc<DiskStats> {
        self.names.stats()
    }
}

impl Disk for UringDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> DiskFuture<Rc<dyn DiskFile>> {
        let opened = self.names.open_file(path, mode);
        let ring = Rc::clone(&self.ring);
        Box::pin(async move {
            let file = UringFile { ring, file: Rc::new(opened.await?) };
            Ok(Rc::new(file) as Rc<dyn DiskFile>)
        })
    }

    fn create_dir_all(&self, path: &Path) -> DiskFuture<()> {
        self.names.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskFuture<()> {
        self.names.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> DiskFuture<()> {
        self.names.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> DiskFuture<()> {
        self.names.remove_dir_all(path)
    }

    fn list_dir(&self, path: &Path) -> DiskFuture<Vec<DirEntry>> {
        self.names.list_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> DiskFuture<()> {
        self.names.sync_dir(path)
    }

    fn space(&self, path: &Path) -> DiskFuture<Space> {
        self.names.space(path)
    }

    fn name(&self) -> &'static str {
        "uring"
    }
}

struct UringFile {
    ring: Rc<RingHandle>,
    file: Rc<StdFile>,
}

impl DiskFile for UringFile {
    fn len(&self) -> DiskFuture<u64> {
        self.file.len()
    }

    fn read_at(&self, position: u64, len: usize) -> DiskFuture<Bytes> {
        let (read, done) = Read::new(self.file.shared(), position, len);
        self.ring.start(read, done)
    }

    fn write_at(&self, position: u64, buffers: Vec<Bytes>) -> DiskFuture<()> {
        let (write, done) = Write::new(self.file.shared(), position, buffers);
        self.ring.start(write, done)
    }

    fn sync_data(&self) -> DiskFuture<()> {
        let (sync, done) = Sync::data(self.file.shared(), Arc::clone(self.ring.stats()));
        self.ring.start(sync, done)
    }

    fn sync_all(&self) -> DiskFuture<()> {
        let (sync, done) = Sync::all(self.file.shared(), Arc::clone(self.ring.stats()));
        self.ring.start(sync, done)
    }

    fn allocate(&self, len: u64) -> DiskFuture<()> {
        if len == 0 {
            return Box::pin(std::future::ready(Ok(()))); // fallocate refuses an empty range
        }
        let (allocate, done) = Allocate::new(self.file.shared(), len);
        let allocated = self.ring.start(allocate, done);
        let file = Rc::clone(&self.file);
        Box::pin(async move {
            match allocated.await {
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    file.run(move |file| syscall::extend(file, len)).await
                }
                done => done,
            }
        })
    }

    fn truncate(&self, len: u64) -> DiskFuture<()> {
        self.file.truncate(len)
    }

    fn map(&self, len: u64) -> DiskFuture<Mapping> {
        let mapped = self.file.map_pages(len);
        let ring = Rc::clone(&self.ring);
        Box::pin(async move {
            let (bytes, pages) = mapped.await?;
            Ok(Mapping::new(bytes, Rc::new(UringPages { ring, pages: Rc::new(pages) })))
        })
    }
}

/// Residency through the ring, falling back to reading where that says too little.
struct UringPages {
    ring: Rc<RingHandle>,
    pages: Rc<MappedPages>,
}

impl Residency for UringPages {
    fn make_resident(&self, slice: Bytes) -> DiskFuture<()> {
        if slice.is_empty() {
            return Box::pin(std::future::ready(Ok(()))); // lies at no position of the map
        }
        let (populate, done) = Populate::new(slice.clone());
        let populated = self.ring.start(populate, done);
        let pages = Rc::clone(&self.pages);
        Box::pin(async move {
            match populated.await {
                Err(error) if mmap::populate_was_inconclusive(&error) => {
                    pages.read_through(slice).await
                }
                done => done,
            }
        })
    }
}

#[cfg(test)]
mod tests;
