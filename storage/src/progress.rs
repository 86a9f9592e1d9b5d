//! How far the disk is behind the memory, and who waits for it.
//!
//! Indexes here only grow, except when a suffix is truncated. What completes while a truncation
//! waits its turn is clipped to below it: those entries exist no more.

use std::cell::{Cell, RefCell};

use tokio::sync::oneshot;

use crate::error::WriteError;

/// Told once what became of a request.
pub(crate) type Reply = oneshot::Sender<Result<(), WriteError>>;

/// The marks of progress of one log.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) written: Cell<u64>,
    pub(crate) stable: Cell<u64>,
    pub(crate) flushed: Cell<u64>,
    /// First index that the disk has yet to forget.
    pub(crate) cut: Cell<Option<u64>>,
    pub(crate) cut_replies: RefCell<Vec<Reply>>,
    /// Who waits until which index is flushed.
    flush_replies: RefCell<Vec<(u64, Reply)>>,
}

impl Progress {
    /// Everything up to `index` is on disk.
    pub(crate) fn new(index: u64) -> Self {
        let progress = Progress::default();
        progress.written.set(index);
        progress.stable.set(index);
        progress.flushed.set(index);
        progress
    }

    /// The part of `..=index` that no waiting truncation takes away.
    pub(crate) fn clip(&self, index: u64) -> u64 {
        self.cut.get().map_or(index, |from| index.min(from - 1))
    }

    /// Entries from `from_index` on are gone; with `on_disk` they must yet be cut from the files.
    pub(crate) fn truncate(&self, from_index: u64, on_disk: bool) {
        let last = from_index - 1;
        for progress in [&self.written, &self.stable, &self.flushed] {
            progress.set(progress.get().min(last));
        }
        for (target, _) in self.flush_replies.borrow_mut().iter_mut() {
            *target = last.min(*target);
        }
        if on_disk {
            self.cut.set(Some(self.cut.get().map_or(from_index, |from| from.min(from_index))));
        }
    }

    pub(crate) fn await_flush(&self, target: u64, reply: Reply) {
        self.flush_replies.borrow_mut().push((target, reply));
    }

    /// Whether somebody waits for a flush of what is already written.
    pub(crate) fn flush_wanted(&self) -> bool {
        let (flushed, written) = (self.flushed.get(), self.written.get());
        let wanted = |(target, _): &(u64, Reply)| *target > flushed && *target <= written;
        self.flush_replies.borrow().iter().any(wanted)
    }

    /// Answers those whose entries are flushed now.
    pub(crate) fn answer_flushed(&self) {
        let flushed = self.flushed.get();
        let mut waiting = self.flush_replies.borrow_mut();
        for (_, reply) in waiting.extract_if(.., |(target, _)| *target <= flushed) {
            let _ = reply.send(Ok(()));
        }
    }

    /// Answers everybody: there will be no more progress.
    pub(crate) fn answer_all(&self, error: WriteError) {
        let flushes = self.flush_replies.take().into_iter().map(|(_, reply)| reply);
        for reply in flushes.chain(self.cut_replies.take()) {
            let _ = reply.send(Err(error));
        }
    }
}
