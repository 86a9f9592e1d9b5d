//! One partition's log: what the broker appends to, reads from, and gives to Raft as its storage.
//!
//! A log belongs to one shard and is single-threaded; its methods take `&Rc<Self>` where they start
//! work of their own with `tokio::task::spawn_local`. In memory every change happens at once, in
//! the call; the disk follows in the same order, and [`LogEvent`]s tell how far it is:
//!
//! ```text
//!  first_index                 applied        flushed   stable   written        last_index
//!      |---------- committed -----|              |         |        |               |
//!      |------------------- on stable storage ---|         |        |               |
//!      |------- counts for acks=all, Raft's "persisted" ---|        |               |
//!      |------------------------ handed to the kernel (acks=1) -----|               |
//! ```
//! Without write caching `flushed == stable`; with it `stable == written`.
//!
//! Invariant: an applied entry is never truncated; the metadata of every entry that is not applied
//! is in memory, so whatever a Raft commit needs is answered synchronously.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::config::LogConfig;
use crate::damage::DamagedRange;
use crate::disk::Disk;
use crate::entry::Entry;
use crate::error::{OpenError, ReadError, WriteError};
use crate::progress::Progress;
use crate::queue::{Ending, PendingEntry, WriteQueue};
use crate::reader::{self, Wanted};
use crate::recovery::{self, RecoveryReport};
use crate::repair::RepairError;
use crate::scrub::ScrubPosition;
use crate::segment::Segment;
use crate::shared::{LogShared, add};
use crate::state::LogState;
use crate::{repair, retention, scrub, timestamps, writer};

/// Whose log it is. Seeds every checksum of the ledger, so that a file in the wrong place never
/// validates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogIdentity {
    /// The topic's id.
    pub topic: Uuid,
    /// The partition's number.
    pub partition: i32,
}

/// Everything [`Log::open`] needs.
pub struct OpenLog {
    /// Where the files are.
    pub disk: Rc<dyn Disk>,
    /// The partition's own directory; created if it is missing.
    pub dir: PathBuf,
    /// Whose log it is.
    pub identity: LogIdentity,
    /// Limits and policies.
    pub config: LogConfig,
    /// What the shard's logs share.
    pub shared: Rc<LogShared>,
    /// Highest index known to be committed (from the votes file; 0 if unknown). The metadata of all
    /// entries above it is kept in memory, and truncating at or below it is a broken invariant.
    pub applied: u64,
    /// Told about progress, outside of any borrow; may call the log.
    pub on_event: Rc<dyn Fn(LogEvent)>,
}

/// Progress of the disk behind a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// Everything up to this index is in the kernel's hands: the point of acks=1.
    Written(u64),
    /// Everything up to this index counts for acks=all: flushed, or merely written with write
    /// caching.
    Stable(u64),
    /// The disk is full. The entries wait, and are tried again until there is space.
    Full,
    /// There is space again.
    Roomy,
    /// A write or flush failed. Nothing is retried, no more writes are taken; the process should
    /// stop.
    Failed,
}

/// What the ledger knows of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryMeta {
    /// The entry's term.
    pub term: u32,
    /// Offset of its first record; for an internal entry the offset of the next record.
    pub base_offset: i64,
    /// Offsets it owns; 0 for an internal entry.
    pub offset_count: u32,
    /// Bytes of header and body.
    pub size: u32,
}

impl EntryMeta {
    /// The first offset after the entry.
    pub fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.offset_count)
    }

    /// Whether it is an entry of the replication protocol, which owns no offset.
    pub fn is_internal(&self) -> bool {
        self.offset_count == 0
    }
}

/// The answer to a read: whole batches, internal frames left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Slices of the cache or of mapped files, in order; together they are batches back to back. A
    /// batch may be spread over several slices.
    pub records: Vec<Bytes>,
    /// Bytes of all slices.
    pub bytes: usize,
    /// Where to read on: the offset after the last batch, or the one asked for if there is none.
    pub next_offset: i64,
}

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's timestamp in ms.
    pub timestamp: i64,
    /// The record's offset.
    pub offset: i64,
    /// The leader epoch of its batch.
    pub leader_epoch: u32,
}

/// One partition's log.
pub struct Log {
    pub(crate) disk: Rc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) identity: LogIdentity,
    pub(crate) shared: Rc<LogShared>,
    pub(crate) config: RefCell<LogConfig>,
    pub(crate) state: RefCell<LogState>,
    pub(crate) progress: Progress,
    pub(crate) queue: WriteQueue,
    pub(crate) full: Cell<bool>,
    /// Held by whoever changes the files of segments that the writer is done with: one at a time.
    /// The writer takes such a segment back only when nobody holds it any more.
    pub(crate) rewriting: tokio::sync::Mutex<()>,
    on_event: Rc<dyn Fn(LogEvent)>,
}

impl Log {
    /// Opens the log in a directory, recovering what a crash left. Must run inside a `LocalSet`.
    pub async fn open(open: OpenLog) -> Result<(Rc<Log>, RecoveryReport), OpenError> {
        let recovered = recovery::recover(&open).await?;
        let OpenLog { disk, dir, identity, config, shared, applied: _, on_event } = open;
        let log = Log {
            disk,
            dir,
            identity,
            progress: Progress::new(recovered.state.last_index),
            config: RefCell::new(config),
            queue: WriteQueue::new(recovered.active, recovered.state.last_index),
            state: RefCell::new(recovered.state),
            full: Cell::new(false),
            rewriting: tokio::sync::Mutex::new(()),
            shared,
            on_event,
        };
        add(&log.shared.stats().damaged_ranges, recovered.report.damaged.len() as u64);
        Ok((Rc::new(log), recovered.report))
    }

    // Writing ---------------------------------------------------------------------------------

    /// Appends entries: visible to reads at once, on disk in the background (see [`LogEvent`]).
    ///
    /// # Errors
    /// [`WriteError`] when the log takes no more writes. A full disk is no error: see
    /// [`Log::is_full`].
    ///
    /// # Panics
    /// If an entry does not continue the log: its index, base offset, term, or framing.
    pub fn append(self: &Rc<Self>, entries: Vec<Entry>) -> Result<(), WriteError> {
        self.queue.refusal()?;
        let stats = self.shared.stats();
        let mut state = self.state.borrow_mut();
        let mut budget = self.shared.tail_budget.borrow_mut();
        for entry in entries {
            let checked = state.check(&entry);
            state.push(checked.recent);
            add(&stats.entries_appended, 1);
            add(&stats.bytes_appended, u64::from(checked.recent.meta.size));
            let Entry { index, header, body, .. } = entry;
            budget.push(&state.tail, index, header.clone(), body.clone());
            self.queue.push(PendingEntry { index, checked, header, body });
        }
        drop((state, budget));
        self.wake_writer();
        Ok(())
    }

    /// Forgets all entries from `from_index` on, because another leader's replace them. In memory
    /// this happens in the call, so entries may be appended right away: the disk cuts before it
    /// writes them. The future resolves when the cut is durable; it may be dropped. Beyond the last
    /// entry there is nothing to forget.
    ///
    /// # Panics
    /// If `from_index` is at or below the applied index, or at or below a missing stretch that has
    /// not been repaired.
    pub fn truncate_suffix(
        self: &Rc<Self>,
        from_index: u64,
    ) -> impl Future<Output = Result<(), WriteError>> + use<> {
        let refusal = self.queue.refusal();
        let (reply, done) = oneshot::channel();
        if refusal.is_ok() && from_index <= self.last_index() {
            self.state.borrow_mut().truncate_suffix(from_index);
            self.queue.truncate(from_index);
            let on_disk = from_index <= self.queue.last_taken();
            self.progress.truncate(from_index, on_disk);
            self.progress.answer_flushed();
        }
        let cut_waits = self.progress.cut.get().is_some();
        if refusal.is_ok() && cut_waits {
            self.progress.cut_replies.borrow_mut().push(reply);
            self.wake_writer();
        }
        async move {
            refusal?;
            if cut_waits { done.await.unwrap_or(Err(WriteError::Closed)) } else { Ok(()) }
        }
    }

    /// Tells the log that entries up to `index` are committed and applied: their metadata may leave
    /// memory.
    pub fn applied_to(&self, index: u64) {
        self.state.borrow_mut().applied_to(index);
    }

    /// Flushes everything appended so far, also with write caching.
    pub async fn flush(self: &Rc<Self>) -> Result<(), WriteError> {
        self.queue.refusal()?;
        let target = self.last_index();
        if self.progress.flushed.get() >= target && self.progress.cut.get().is_none() {
            return Ok(());
        }
        let (reply, done) = oneshot::channel();
        self.progress.await_flush(target, reply);
        self.wake_writer();
        done.await.unwrap_or(Err(WriteError::Closed))
    }

    /// Flushes and leaves the files such that the next open need not verify anything. Later writes
    /// are refused. With a full disk it gives up on what is not written.
    pub async fn close(self: &Rc<Self>) -> Result<(), WriteError> {
        self.end(Ending::Close).await
    }

    /// Removes the partition's directory. Later writes are refused.
    pub async fn delete(self: &Rc<Self>) -> Result<(), WriteError> {
        self.end(Ending::Delete).await
    }

    async fn end(self: &Rc<Self>, ending: Ending) -> Result<(), WriteError> {
        let (reply, done) = oneshot::channel();
        self.queue.end(ending, reply)?;
        self.wake_writer();
        done.await.unwrap_or(Err(WriteError::Closed))
    }

    /// Changes limits and policies; they hold from the next entry on.
    pub fn set_config(self: &Rc<Self>, config: LogConfig) {
        *self.config.borrow_mut() = config;
        self.wake_writer();
    }

    fn wake_writer(self: &Rc<Self>) {
        if self.queue.start() {
            tokio::task::spawn_local(writer::run(Rc::clone(self)));
        }
    }

    /// Tells the owner. No borrow may be held: it may call back.
    pub(crate) fn tell(&self, event: LogEvent) {
        (self.on_event)(event);
    }

    // Raft's view -----------------------------------------------------------------------------

    /// Index of the first entry there is; `last_index() + 1` if there is none.
    pub fn first_index(&self) -> u64 {
        self.state.borrow().first_index
    }

    /// Index of the last entry appended.
    pub fn last_index(&self) -> u64 {
        self.state.borrow().last_index
    }

    /// Term of the last entry appended; 0 for a new log.
    pub fn last_term(&self) -> u32 {
        self.state.borrow().last_term
    }

    /// Last index in the kernel's hands.
    pub fn written_index(&self) -> u64 {
        self.progress.written.get()
    }

    /// Last index that counts for acks=all.
    pub fn stable_index(&self) -> u64 {
        self.progress.stable.get()
    }

    /// Last index that survives a power cut.
    pub fn flushed_index(&self) -> u64 {
        self.progress.flushed.get()
    }

    /// The term of the entry at `index`, for `first_index - 1 ..= last_index`.
    pub fn term(&self, index: u64) -> Option<u32> {
        self.state.borrow().term(index)
    }

    /// What the ledger knows of the entry, if it is in memory, as all that are not applied are.
    pub fn meta(&self, index: u64) -> Option<EntryMeta> {
        self.state.borrow().recent(index).map(|recent| recent.meta)
    }

    /// What the ledger knows of the entry, from disk if need be.
    pub async fn load_meta(&self, index: u64) -> Result<EntryMeta, ReadError> {
        reader::load_meta(self, index).await
    }

    /// The entry, if the tail cache has it.
    pub fn entry(&self, index: u64) -> Option<Entry> {
        reader::cached_entry(&self.state.borrow(), index)
    }

    /// The entries of `from..to` if the tail cache has the first of them: at least one, then as
    /// many as fit `max_bytes`.
    pub fn try_entries(&self, from: u64, to: u64, max_bytes: usize) -> Option<Vec<Entry>> {
        reader::cached_entries(&self.state.borrow(), from, to, max_bytes)
    }

    /// The entries of `from..to`: at least one, then as many as fit `max_bytes`, or fewer. From
    /// disk if need be, verified, as copies. They are what the log holds when they are given; the
    /// copies outlive a truncation that comes after.
    pub async fn entries(
        &self,
        from: u64,
        to: u64,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        reader::entries(self, from, to, max_bytes).await
    }

    // Readers' view ---------------------------------------------------------------------------

    /// The offset that the next record gets (log end offset).
    pub fn next_offset(&self) -> i64 {
        self.state.borrow().next_offset
    }

    /// Base offset of the first entry there is; where the next record goes if there is none.
    pub fn first_entry_offset(&self) -> i64 {
        let state = self.state.borrow();
        let first = state.segments.front();
        first.map_or(state.origin.next_offset, |segment| segment.key.base_offset)
    }

    /// First offset that is served.
    pub fn log_start_offset(&self) -> i64 {
        self.state.borrow().log_start_offset
    }

    /// Bytes of all segments, without preallocated space.
    pub fn size_bytes(&self) -> u64 {
        let log_len = |segment: &Rc<Segment>| u64::from(segment.extent().log_len);
        self.state.borrow().segments.iter().map(log_len).sum()
    }

    /// Whether entries wait for disk space.
    pub fn is_full(&self) -> bool {
        self.full.get()
    }

    /// [`Log::read`] if the tail cache can answer it, or if it needs no bytes at all.
    pub fn try_read_cached(
        &self,
        from: i64,
        max_bytes: usize,
        upper: i64,
        min_one: bool,
    ) -> Option<Result<Fetched, ReadError>> {
        let wanted = Wanted { from, bytes_max: max_bytes, upper, min_one };
        let fetched = reader::read_cached(&self.state.borrow(), wanted).transpose()?;
        add(&self.shared.stats().cached_reads, 1);
        Some(fetched)
    }

    /// Reads whole batches from the one that contains `from`, as many as fit `max_bytes`, none that
    /// reaches beyond offset `upper` (exclusive), across segments. With `min_one` the first batch
    /// is given however large it is.
    ///
    /// `upper` must not be above what is committed: the slices point into files that are cut when
    /// uncommitted entries are replaced. The answer may be shorter than possible (it ends before
    /// damage, for instance); read on at `next_offset`.
    pub async fn read(
        &self,
        from: i64,
        max_bytes: usize,
        upper: i64,
        min_one: bool,
    ) -> Result<Fetched, ReadError> {
        reader::read(self, Wanted { from, bytes_max: max_bytes, upper, min_one }).await
    }

    /// The first record at or after the log start whose timestamp is at least `timestamp`, if its
    /// offset is below `upper`, which must not be above what is committed.
    pub async fn offset_for_timestamp(
        &self,
        timestamp: i64,
        upper: i64,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        timestamps::offset_for_timestamp(self, timestamp, upper).await
    }

    /// The first record with the largest timestamp of all below `upper`, which must not be above
    /// what is committed.
    pub async fn max_timestamp_offset(
        &self,
        upper: i64,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        timestamps::max_timestamp_offset(self, upper).await
    }

    /// The largest epoch that is not above `epoch`, and the offset where it ends: Kafka's
    /// OffsetForLeaderEpoch (KIP-101, KIP-279). `None` if `epoch` is newer than any, or there is
    /// none. The end of the newest epoch is the log end offset; the caller clips it to what may be
    /// seen.
    pub fn epoch_end_offset(&self, epoch: u32) -> Option<(u32, i64)> {
        let state = self.state.borrow();
        state.epochs.end_offset(epoch, state.next_offset)
    }

    /// The newest leader epoch in the log.
    pub fn latest_epoch(&self) -> Option<u32> {
        self.state.borrow().epochs.latest()
    }

    /// The leader epoch of the record at `offset` (of the newest entry if there is none yet).
    pub fn epoch_at(&self, offset: i64) -> Option<u32> {
        self.state.borrow().epochs.epoch_at(offset)
    }

    // Retention -------------------------------------------------------------------------------

    /// The offset that retention by time and size would make the new log start, at or below `upper`
    /// (the high watermark); `None` if there is nothing to delete. When the active segment itself
    /// has expired it is sealed in the background, and found deletable by a later call.
    pub fn retention_start(self: &Rc<Self>, now_ms: i64, upper: i64) -> Option<i64> {
        let verdict = retention::judge(&self.state.borrow(), &self.config.borrow(), now_ms, upper);
        if verdict.seal_active {
            self.queue.request_roll();
            self.wake_writer();
        }
        verdict.log_start
    }

    /// Makes `offset` the log start, durably, then deletes the sealed segments wholly below it that
    /// are applied. Going back, or staying, does nothing; beyond the log end, the log end is meant.
    ///
    /// # Errors
    /// [`WriteError::Full`] if the log start could not be noted: it holds until the process ends,
    /// or for good once the same is asked for again and there is space.
    pub async fn advance_log_start(self: &Rc<Self>, offset: i64) -> Result<(), WriteError> {
        retention::advance(self, offset, 0).await
    }

    /// Deletes the sealed segments that hold nothing from `index` on, for a log whose entries own
    /// no offsets. What is not applied stays.
    pub async fn advance_first_index(self: &Rc<Self>, index: u64) -> Result<(), WriteError> {
        retention::advance(self, 0, index).await
    }

    // Damage ----------------------------------------------------------------------------------

    /// Verifies the next piece of the sealed segments, about `max_bytes` of it but at least one
    /// entry: the ledger, the headers by the ledger, the bodies by their own checksums. Gives where
    /// to go on ([`ScrubPosition::START`] when all has been looked at) and the damage that is news;
    /// reads know of it from then on. A ledger that is damaged is rebuilt.
    ///
    /// Reads through the disk, so that it finds what a mapping or the tail cache would hide, and
    /// holds up neither writers nor readers.
    pub async fn scrub(
        &self,
        from: ScrubPosition,
        max_bytes: usize,
    ) -> Result<(ScrubPosition, Vec<DamagedRange>), ReadError> {
        scrub::scrub(self, from, max_bytes).await
    }

    /// Puts back damaged entries that a peer has given: those of `range`, which [`Log::damage`]
    /// names, from its first on; all of them, or as many as there is memory for. Each is verified
    /// before anything is written. When this returns they are durable and read again, and
    /// [`Log::damage`] names only what is left. For a range in which no entry was hit there is
    /// nothing to give: what was hit is needed by nobody, and the range is forgotten.
    ///
    /// A missing stretch before the log's first index cannot be filled: the log begins behind it.
    ///
    /// # Errors
    /// [`RepairError`]. A crash or a failure on the way leaves the range damaged.
    pub async fn repair(
        &self,
        range: DamagedRange,
        entries: Vec<Entry>,
    ) -> Result<(), RepairError> {
        repair::repair(self, &range, &entries).await
    }

    /// Damage known now: found by recovery, by reads, or by scrubbing.
    pub fn damage(&self) -> Vec<DamagedRange> {
        let state = self.state.borrow();
        let in_segments = state.segments.iter().flat_map(|segment| segment.damage());
        state.gaps.iter().cloned().chain(in_segments).collect()
    }
}
