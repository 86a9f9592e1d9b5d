//! What one operation asks of the kernel, and what it makes of each completion.
//!
//! An operation owns every byte the kernel may touch on its behalf until the ring lets go of it,
//! whether or not anyone still waits for the result.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use io_uring::{opcode, squeue::Entry, types};
use tokio::sync::oneshot;

use crate::disk::{DiskStats, syscall::IOV_MAX};
use crate::mmap;

/// The most bytes asked for in one entry: lengths in entries and results have 31 bits.
const PIECE_BYTES_MAX: usize = 1 << 30;

/// What the ring does after a completion.
#[derive(PartialEq, Eq)]
pub(super) enum Next {
    /// Ask the kernel for the rest.
    Submit,
    /// The result has been handed over.
    Done,
}

/// An operation in the ring's slab.
pub(super) trait Operation {
    /// The entry to submit now. What it points to stays where it is until the completion.
    fn entry(&mut self) -> Entry;
    /// Takes the result of the last entry.
    fn on_completion(&mut self, result: io::Result<usize>) -> Next;
    /// Whether a completion that asks for another try (`EINTR`, `EAGAIN`) gets it.
    fn may_retry(&self) -> bool {
        true
    }
}

/// Where the result of an operation arrives.
pub(super) type Done<T> = oneshot::Receiver<io::Result<T>>;

/// Hands a result over once. A future dropped early has nobody at the other end.
struct Reply<T>(Option<oneshot::Sender<io::Result<T>>>);

impl<T> Reply<T> {
    fn new() -> (Self, Done<T>) {
        let (sender, receiver) = oneshot::channel();
        (Reply(Some(sender)), receiver)
    }

    fn send(&mut self, result: io::Result<T>) -> Next {
        if let Some(sender) = self.0.take() {
            let _ = sender.send(result);
        }
        Next::Done
    }
}

/// Writes buffers back to back, as many entries as it takes.
pub(super) struct Write {
    file: Arc<File>,
    position: u64,
    /// What `slices` points into.
    _buffers: Vec<Bytes>,
    slices: Vec<libc::iovec>,
    /// The first slice not wholly written.
    first: usize,
    reply: Reply<()>,
}

impl Write {
    pub(super) fn new(file: Arc<File>, position: u64, buffers: Vec<Bytes>) -> (Self, Done<()>) {
        let slice = |buffer: &Bytes| libc::iovec {
            iov_base: buffer.as_ptr().cast_mut().cast(),
            iov_len: buffer.len(),
        };
        let slices = buffers.iter().filter(|buffer| !buffer.is_empty()).map(slice).collect();
        let (reply, done) = Reply::new();
        (Write { file, position, _buffers: buffers, slices, first: 0, reply }, done)
    }

    /// What the next entry would write, and where: the kernel's view, for tests.
    #[cfg(test)]
    pub(super) fn remaining(&self) -> (u64, Vec<u8>) {
        let bytes = |slice: &libc::iovec| {
            // SAFETY: every slice lies within a buffer that `self` owns.
            unsafe { std::slice::from_raw_parts(slice.iov_base.cast::<u8>(), slice.iov_len) }
        };
        (self.position, self.slices[self.first..].iter().flat_map(bytes).copied().collect())
    }

    fn advance(&mut self, written: usize) {
        self.position += written as u64;
        let mut written = written;
        while let Some(slice) = self.slices.get_mut(self.first) {
            if written < slice.iov_len {
                slice.iov_base = slice.iov_base.wrapping_byte_add(written);
                slice.iov_len -= written;
                return;
            }
            written -= slice.iov_len;
            self.first += 1;
        }
    }
}

impl Operation for Write {
    fn entry(&mut self) -> Entry {
        let slices = &self.slices[self.first..];
        let count = slices.len().min(IOV_MAX) as u32;
        opcode::Writev::new(types::Fd(self.file.as_raw_fd()), slices.as_ptr(), count)
            .offset(self.position)
            .build()
    }

    fn on_completion(&mut self, result: io::Result<usize>) -> Next {
        match result {
            Ok(0) if self.first < self.slices.len() => {
                self.reply.send(Err(io::ErrorKind::WriteZero.into()))
            }
            Ok(written) => {
                self.advance(written);
                if self.first < self.slices.len() { Next::Submit } else { self.reply.send(Ok(())) }
            }
            Err(error) => self.reply.send(Err(error)),
        }
    }
}

/// Reads until the buffer is full or the file ends.
pub(super) struct Read {
    file: Arc<File>,
    position: u64,
    len: usize,
    buffer: BytesMut,
    reply: Reply<Bytes>,
}

impl Read {
    pub(super) fn new(file: Arc<File>, position: u64, len: usize) -> (Self, Done<Bytes>) {
        let (reply, done) = Reply::new();
        (Read { file, position, len, buffer: BytesMut::with_capacity(len), reply }, done)
    }
}

impl Operation for Read {
    fn entry(&mut self) -> Entry {
        let filled = self.buffer.len();
        let piece = (self.len - filled).min(PIECE_BYTES_MAX) as u32;
        let target = self.buffer.spare_capacity_mut().as_mut_ptr().cast();
        opcode::Read::new(types::Fd(self.file.as_raw_fd()), target, piece)
            .offset(self.position + filled as u64)
            .build()
    }

    fn on_completion(&mut self, result: io::Result<usize>) -> Next {
        match result {
            Ok(read) => {
                let filled = self.buffer.len() + read;
                assert!(filled <= self.len, "the kernel reads no more than it was asked for");
                // SAFETY: the kernel has just filled `read` bytes after the first `len()` ones,
                // within the capacity of `self.len` reserved at the start.
                unsafe { self.buffer.set_len(filled) };
                if read > 0 && filled < self.len {
                    return Next::Submit;
                }
                let buffer = std::mem::take(&mut self.buffer).freeze();
                self.reply.send(Ok(buffer))
            }
            Err(error) => self.reply.send(Err(error)),
        }
    }
}

/// Flushes a file.
pub(super) struct Sync {
    file: Arc<File>,
    flags: types::FsyncFlags,
    began: Instant,
    stats: Arc<DiskStats>,
    reply: Reply<()>,
}

impl Sync {
    pub(super) fn data(file: Arc<File>, stats: Arc<DiskStats>) -> (Self, Done<()>) {
        Self::new(file, stats, types::FsyncFlags::DATASYNC)
    }

    pub(super) fn all(file: Arc<File>, stats: Arc<DiskStats>) -> (Self, Done<()>) {
        Self::new(file, stats, types::FsyncFlags::empty())
    }

    fn new(file: Arc<File>, stats: Arc<DiskStats>, flags: types::FsyncFlags) -> (Self, Done<()>) {
        let (reply, done) = Reply::new();
        (Sync { file, flags, began: Instant::now(), stats, reply }, done)
    }
}

impl Operation for Sync {
    fn entry(&mut self) -> Entry {
        opcode::Fsync::new(types::Fd(self.file.as_raw_fd())).flags(self.flags).build()
    }

    fn on_completion(&mut self, result: io::Result<usize>) -> Next {
        self.stats.on_synced(self.began.elapsed());
        self.reply.send(result.map(|_| ()))
    }

    /// A flush that failed may have dropped dirty pages: the next one would lie.
    fn may_retry(&self) -> bool {
        false
    }
}

/// Reserves blocks up to a length.
pub(super) struct Allocate {
    file: Arc<File>,
    len: u64,
    reply: Reply<()>,
}

impl Allocate {
    pub(super) fn new(file: Arc<File>, len: u64) -> (Self, Done<()>) {
        let (reply, done) = Reply::new();
        (Allocate { file, len, reply }, done)
    }
}

impl Operation for Allocate {
    fn entry(&mut self) -> Entry {
        opcode::Fallocate::new(types::Fd(self.file.as_raw_fd()), self.len).build()
    }

    fn on_completion(&mut self, result: io::Result<usize>) -> Next {
        self.reply.send(result.map(|_| ()))
    }
}

/// Faults the pages of a mapped slice in.
pub(super) struct Populate {
    slice: Bytes,
    done: usize,
    reply: Reply<()>,
}

impl Populate {
    pub(super) fn new(slice: Bytes) -> (Self, Done<()>) {
        let (reply, done) = Reply::new();
        (Populate { slice, done: 0, reply }, done)
    }

    /// The end of the piece that begins at `done`.
    fn piece_end(&self) -> usize {
        self.slice.len().min(self.done + PIECE_BYTES_MAX)
    }
}

impl Operation for Populate {
    fn entry(&mut self) -> Entry {
        let (start, len) = mmap::pages(&self.slice[self.done..self.piece_end()]);
        opcode::Madvise::new(start.cast(), len as libc::off_t, libc::MADV_POPULATE_READ).build()
    }

    fn on_completion(&mut self, result: io::Result<usize>) -> Next {
        match result {
            Ok(_) => {
                self.done = self.piece_end();
                if self.done < self.slice.len() { Next::Submit } else { self.reply.send(Ok(())) }
            }
            Err(error) => self.reply.send(Err(error)),
        }
    }
}
