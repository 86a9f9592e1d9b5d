//! The partition's log as Raft's storage.
//!
//! Raft asks synchronously; the log answers positions and terms from memory. Entries are handed
//! over without their payload: whoever sends or applies them asks the log for what it needs. What
//! is to be sent and is not in the log's cache any more is read from disk in the background, and
//! Raft asks again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};
use thalweg_storage::log::Log;

use super::entry::raft_type;

/// Raft's view of a log and of the group's persistent state.
pub(super) struct LogStorage {
    log: Rc<Log>,
    initial: RaftState,
    /// Entries that came from disk to be sent.
    fetched: RefCell<Vec<thalweg_storage::entry::Entry>>,
    /// What Raft wants to send and the cache does not have.
    wanted: RefCell<Vec<Wanted>>,
    /// What of that is being read.
    reading: RefCell<Vec<(u64, String)>>,
    /// What a follower gets whose next entry is gone here.
    snapshot: RefCell<Option<Snapshot>>,
    snapshot_wanted: Cell<bool>,
}

/// A stretch of the log that is to be read from disk for a follower.
pub(crate) struct Wanted {
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) bytes_max: usize,
    /// What Raft wants to be called back with.
    pub(super) context: GetEntriesContext,
}

impl Wanted {
    /// Tells requests apart. Raft's context shows nothing of itself but this.
    fn key(&self) -> (u64, String) {
        (self.low, format!("{:?}", self.context))
    }
}

impl LogStorage {
    /// `hard_state` and `members` are what was persisted before this start.
    pub(super) fn new(log: Rc<Log>, hard_state: HardState, members: ConfState) -> LogStorage {
        LogStorage {
            log,
            initial: RaftState::new(hard_state, members),
            fetched: RefCell::default(),
            wanted: RefCell::default(),
            reading: RefCell::default(),
            snapshot: RefCell::default(),
            snapshot_wanted: Cell::new(false),
        }
    }

    /// What is to be read from disk.
    pub(super) fn take_wanted(&self) -> Vec<Wanted> {
        self.wanted.take()
    }

    /// Entries read from disk, to be sent when Raft asks again.
    pub(super) fn keep_fetched(
        &self,
        wanted: &Wanted,
        entries: Vec<thalweg_storage::entry::Entry>,
    ) {
        let key = wanted.key();
        self.reading.borrow_mut().retain(|reading| *reading != key);
        *self.fetched.borrow_mut() = entries;
    }

    /// They were sent.
    pub(super) fn forget_fetched(&self) {
        self.fetched.take();
    }

    /// The entry with its payload, from the cache or from what was read for sending.
    pub(super) fn entry(&self, index: u64) -> Option<thalweg_storage::entry::Entry> {
        self.log.entry(index).or_else(|| {
            let fetched = self.fetched.borrow();
            let first = fetched.first()?.index;
            fetched.get(usize::try_from(index.checked_sub(first)?).ok()?).cloned()
        })
    }

    /// Whether a follower waits for a snapshot that is not there yet.
    pub(super) fn take_snapshot_wanted(&self) -> bool {
        self.snapshot_wanted.take()
    }

    /// The snapshot for whoever needs one.
    pub(super) fn offer_snapshot(&self, snapshot: Snapshot) {
        *self.snapshot.borrow_mut() = Some(snapshot);
    }

    fn send_from(&self, low: u64, high: u64, bytes_max: usize) -> Option<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in low..high {
            let Some(entry) = self.entry(index) else { break };
            bytes += entry.size();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(stub(index, u64::from(entry.term), raft_type(&entry)));
        }
        (!entries.is_empty()).then_some(entries)
    }
}

/// An entry as Raft needs to know it.
fn stub(index: u64, term: u64, kind: EntryType) -> Entry {
    let mut entry = Entry::default();
    entry.set_index(index);
    entry.set_term(term);
    entry.set_entry_type(kind);
    entry
}

impl Storage for LogStorage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.log.first_index() {
            return Err(Error::Store(StorageError::Compacted));
        }
        if context.can_async() {
            let bytes_max = max_size.into().and_then(|max| usize::try_from(max).ok());
            let bytes_max = bytes_max.unwrap_or(usize::MAX);
            if let Some(entries) = self.send_from(low, high, bytes_max) {
                return Ok(entries);
            }
            let wanted = Wanted { low, high, bytes_max, context };
            let (key, mut reading) = (wanted.key(), self.reading.borrow_mut());
            if !reading.contains(&key) {
                reading.push(key);
                self.wanted.borrow_mut().push(wanted);
            }
            return Err(Error::Store(StorageError::LogTemporarilyUnavailable));
        }
        let mut entries = Vec::with_capacity(usize::try_from(high - low).unwrap_or(0));
        for index in low..high {
            entries.push(stub(index, self.term(index)?, self.kind(index)));
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
        let offered = self.snapshot.borrow();
        let fits =
            |snapshot: &&Snapshot| snapshot.get_metadata().index + 1 >= self.log.first_index();
        if let Some(snapshot) = offered.as_ref().filter(fits) {
            return Ok(snapshot.clone());
        }
        self.snapshot_wanted.set(true);
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

impl LogStorage {
    /// Raft looks for membership changes that are not applied yet. An internal entry that has left
    /// the cache is taken for one: Raft then waits until it is applied.
    fn kind(&self, index: u64) -> EntryType {
        if !self.log.meta(index).is_some_and(|meta| meta.is_internal()) {
            // Metadata leaves memory only when its entry is applied.
            return EntryType::EntryNormal;
        }
        let entry = self.log.entry(index);
        entry.map_or(EntryType::EntryConfChangeV2, |entry| raft_type(&entry))
    }
}
