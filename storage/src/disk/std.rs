//! `StdDisk`: blocking system calls on a small pool of threads.
//!
//! The fallback where io_uring is missing, and the part of the io_uring backend that deals in
//! names, lengths and maps, for which a ring has no advantage.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::pool::Pool;
use super::{
    DirEntry, Disk, DiskFile, DiskFuture, DiskStats, Mapping, OpenMode, Residency, Space, names,
    syscall,
};
use crate::mmap;

/// A real filesystem, reached by blocking calls on this disk's own threads.
#[derive(Clone)]
pub struct StdDisk {
    pool: Rc<Pool>,
}

impl StdDisk {
    /// Starts `threads` threads, which bounds the operations that run at once.
    pub fn new(threads: usize, stats: Arc<DiskStats>) -> io::Result<Self> {
        Ok(StdDisk { pool: Rc::new(Pool::new(threads, stats)?) })
    }

    /// This disk's counters.
    pub fn stats(&self) -> &Arc<DiskStats> {
        self.pool.stats()
    }

    /// Opens `path` as the concrete file, for the io_uring backend to build on.
    pub(super) fn open_file(&self, path: &Path, mode: OpenMode) -> DiskFuture<StdFile> {
        let path = path.to_path_buf();
        let opened = self.pool.run(move || names::open(&path, mode));
        let pool = Rc::clone(&self.pool);
        Box::pin(async move { Ok(StdFile { pool, file: Arc::new(opened.await?) }) })
    }
}

impl Disk for StdDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> DiskFuture<Rc<dyn DiskFile>> {
        let opened = self.open_file(path, mode);
        Box::pin(async move { Ok(Rc::new(opened.await?) as Rc<dyn DiskFile>) })
    }

    fn create_dir_all(&self, path: &Path) -> DiskFuture<()> {
        let path = path.to_path_buf();
        self.pool.run(move || names::create_dir_all(&path))
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskFuture<()> {
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        self.pool.run(move || fs::rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> DiskFuture<()> {
        let path = path.to_path_buf();
        self.pool.run(move || fs::remove_file(path))
    }

    fn remove_dir_all(&self, path: &Path) -> DiskFuture<()> {
        let path = path.to_path_buf();
        self.pool.run(move || fs::remove_dir_all(path))
    }

    fn list_dir(&self, path: &Path) -> DiskFuture<Vec<DirEntry>> {
        let path = path.to_path_buf();
        self.pool.run(move || names::list_dir(&path))
    }

    fn sync_dir(&self, path: &Path) -> DiskFuture<()> {
        let path = path.to_path_buf();
        self.pool.run(move || names::sync_dir(&path))
    }

    fn space(&self, path: &Path) -> DiskFuture<Space> {
        let path = path.to_path_buf();
        self.pool.run(move || syscall::space(&path))
    }

    fn name(&self) -> &'static str {
        "std"
    }
}

/// An open file whose operations run on the pool.
pub(super) struct StdFile {
    pool: Rc<Pool>,
    file: Arc<File>,
}

impl StdFile {
    /// Starts `job` on the pool with this file.
    pub(super) fn run<T, F>(&self, job: F) -> DiskFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&File) -> io::Result<T> + Send + 'static,
    {
        let file = Arc::clone(&self.file);
        self.pool.run(move || job(&file))
    }

    /// The open file itself; whoever holds it keeps the descriptor open.
    pub(super) fn shared(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Maps the first `len` bytes, with what it takes to bring them into memory.
    pub(super) fn map_pages(&self, len: u64) -> DiskFuture<(Bytes, MappedPages)> {
        let mapped = self.run(move |file| mmap::map_file(file, len));
        let (pool, file) = (Rc::clone(&self.pool), self.shared());
        Box::pin(async move {
            let bytes = mapped.await?;
            let base = bytes.as_ptr().addr();
            Ok((bytes, MappedPages { file: StdFile { pool, file }, base }))
        })
    }

    /// A flush, timed on the thread that waits for the device.
    fn run_sync(&self, flush: fn(&File) -> io::Result<()>) -> DiskFuture<()> {
        let stats = Arc::clone(self.pool.stats());
        self.run(move |file| {
            let began = Instant::now();
            let flushed = flush(file);
            stats.on_synced(began.elapsed());
            flushed
        })
    }
}

impl DiskFile for StdFile {
    fn len(&self) -> DiskFuture<u64> {
        self.run(|file| Ok(file.metadata()?.len()))
    }

    fn read_at(&self, position: u64, len: usize) -> DiskFuture<Bytes> {
        self.run(move |file| read_full(file, position, len))
    }

    fn write_at(&self, position: u64, buffers: Vec<Bytes>) -> DiskFuture<()> {
        self.run(move |file| syscall::write_all_at(file, position, &buffers))
    }

    fn sync_data(&self) -> DiskFuture<()> {
        self.run_sync(File::sync_data)
    }

    fn sync_all(&self) -> DiskFuture<()> {
        self.run_sync(File::sync_all)
    }

    fn allocate(&self, len: u64) -> DiskFuture<()> {
        self.run(move |file| syscall::allocate(file, len))
    }

    fn truncate(&self, len: u64) -> DiskFuture<()> {
        self.run(move |file| file.set_len(len))
    }

    fn map(&self, len: u64) -> DiskFuture<Mapping> {
        let mapped = self.map_pages(len);
        Box::pin(async move {
            let (bytes, pages) = mapped.await?;
            Ok(Mapping::new(bytes, Rc::new(pages)))
        })
    }
}

/// The file and address of a map, which turn a slice back into a position.
pub(super) struct MappedPages {
    file: StdFile,
    base: usize,
}

impl MappedPages {
    /// Reads the slice's part of the file, so that touching the map finds it in the page cache.
    pub(super) fn read_through(&self, slice: Bytes) -> DiskFuture<()> {
        let position = self.position(&slice);
        self.file.run(move |file| mmap::read_through(file, position, slice.len()))
    }

    fn position(&self, slice: &Bytes) -> u64 {
        (slice.as_ptr().addr() - self.base) as u64
    }
}

impl Residency for MappedPages {
    fn make_resident(&self, slice: Bytes) -> DiskFuture<()> {
        if slice.is_empty() {
            return Box::pin(std::future::ready(Ok(()))); // lies at no position of the map
        }
        let position = self.position(&slice);
        self.file.run(move |file| match mmap::populate(&slice) {
            Err(error) if mmap::populate_was_inconclusive(&error) => {
                mmap::read_through(file, position, slice.len())
            }
            done => done,
        })
    }
}

/// Reads until `len` bytes or the end of the file.
fn read_full(file: &File, position: u64, len: usize) -> io::Result<Bytes> {
    let mut buffer = BytesMut::zeroed(len);
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.freeze())
}
