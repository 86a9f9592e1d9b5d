//! What waits for the writer: entries, and requests that are not entries.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::active::Active;
use crate::error::WriteError;
use crate::progress::Reply;
use crate::state::CheckedEntry;

/// An entry that is not in a file yet.
pub(crate) struct PendingEntry {
    pub(crate) index: u64,
    pub(crate) checked: CheckedEntry,
    pub(crate) header: Bytes,
    pub(crate) body: Bytes,
}

/// How a log's life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Close,
    Delete,
}

/// Between the callers of a log and its writer task, of which there is at most one.
pub(crate) struct WriteQueue {
    entries: RefCell<VecDeque<PendingEntry>>,
    /// Index of the last entry that the writer took out, unless truncated since.
    last_taken: Cell<u64>,
    roll: Cell<bool>,
    ending: RefCell<Option<(Ending, Reply)>>,
    refusal: Cell<Option<WriteError>>,
    running: Cell<bool>,
    /// Where the writer stopped; it takes this when it starts again.
    pub(crate) active: RefCell<Option<Active>>,
    pub(crate) wake: Notify,
}

impl WriteQueue {
    pub(crate) fn new(active: Option<Active>, last_index: u64) -> Self {
        WriteQueue {
            entries: RefCell::default(),
            last_taken: Cell::new(last_index),
            roll: Cell::new(false),
            ending: RefCell::default(),
            refusal: Cell::new(None),
            running: Cell::new(false),
            active: RefCell::new(active),
            wake: Notify::new(),
        }
    }

    /// Why no more writes are taken, if so.
    pub(crate) fn refusal(&self) -> Result<(), WriteError> {
        self.refusal.get().map_or(Ok(()), Err)
    }

    /// Takes no more writes; forgets those that wait.
    pub(crate) fn refuse(&self, error: WriteError) {
        self.refusal.set(Some(error));
        self.entries.borrow_mut().clear();
    }

    pub(crate) fn push(&self, entry: PendingEntry) {
        self.entries.borrow_mut().push_back(entry);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }

    /// Looks at the next entry.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&PendingEntry) -> T) -> Option<T> {
        self.entries.borrow().front().map(look)
    }

    /// Takes the next entry if `wanted`.
    pub(crate) fn pop_if(
        &self,
        wanted: impl FnOnce(&PendingEntry) -> bool,
    ) -> Option<PendingEntry> {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.pop_front_if(|entry| wanted(entry))?;
        self.last_taken.set(entry.index);
        Some(entry)
    }

    pub(crate) fn last_taken(&self) -> u64 {
        self.last_taken.get()
    }

    /// Forgets the entries from `from_index` on. Those already taken remain for the disk to cut.
    pub(crate) fn truncate(&self, from_index: u64) {
        let mut entries = self.entries.borrow_mut();
        let kept = entries.partition_point(|entry| entry.index < from_index);
        entries.truncate(kept);
    }

    /// The files have been cut: nothing from `from_index` on is in them.
    pub(crate) fn on_cut(&self, from_index: u64) {
        self.last_taken.set(self.last_taken.get().min(from_index - 1));
    }

    /// Asks for the active segment to be sealed.
    pub(crate) fn request_roll(&self) {
        self.roll.set(true);
    }

    pub(crate) fn take_roll(&self) -> bool {
        self.roll.take()
    }

    /// Refuses all later writes and asks for the end. A log that failed can still be deleted.
    pub(crate) fn end(&self, ending: Ending, reply: Reply) -> Result<(), WriteError> {
        match (self.refusal.get(), ending) {
            (None, _) | (Some(WriteError::Failed), Ending::Delete) => {}
            (Some(error), _) => return Err(error),
        }
        self.refusal.set(Some(WriteError::Closed));
        *self.ending.borrow_mut() = Some((ending, reply));
        Ok(())
    }

    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending.borrow().as_ref().map(|(ending, _)| *ending)
    }

    pub(crate) fn take_ending(&self) -> Option<(Ending, Reply)> {
        self.ending.borrow_mut().take()
    }

    /// Wakes the writer; returns whether it must be started.
    pub(crate) fn start(&self) -> bool {
        self.wake.notify_one();
        !self.running.replace(true)
    }

    /// The writer stops, and may be started again with `active`.
    pub(crate) fn stop(&self, active: Option<Active>) {
        *self.active.borrow_mut() = active;
        self.running.set(false);
    }
}
