//! The partition's log as Raft's storage.
//!
//! Raft asks synchronously; the log answers positions and terms from memory. Committed entries
//! are handed over without their payload: whoever applies them asks the log for what it needs,
//! and for most entries needs the ledger only.

use std::cell::RefCell;
use std::rc::Rc;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};
use thalweg_storage::log::Log;

/// Raft's view of a log and of the group's persistent state.
pub(super) struct LogStorage {
    log: Rc<Log>,
    initial: RefCell<RaftState>,
}

impl LogStorage {
    /// `hard_state` and `conf_state` are what was persisted before this start.
    pub(super) fn new(log: Rc<Log>, hard_state: HardState, conf_state: ConfState) -> LogStorage {
        LogStorage { log, initial: RefCell::new(RaftState::new(hard_state, conf_state)) }
    }
}

impl Storage for LogStorage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.borrow().clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        _max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.log.first_index() {
            return Err(Error::Store(StorageError::Compacted));
        }
        let mut entries = Vec::with_capacity(usize::try_from(high - low).unwrap_or(0));
        for index in low..high {
            let mut entry = Entry::default();
            entry.set_index(index);
            entry.set_term(self.term(index)?);
            entries.push(entry);
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == 0 {
            return Ok(0);
        }
        match self.log.term(index) {
            Some(term) => Ok(u64::from(term)),
            None if index < self.log.first_index() => Err(Error::Store(StorageError::Compacted)),
            None => Err(Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.log.first_index())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.log.last_index())
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        // A lone voter has nobody to send one to.
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
