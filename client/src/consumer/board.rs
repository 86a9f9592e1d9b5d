//! What a consumer and its fetcher share: where each partition stands, and the batches that were
//! read ahead of the caller.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use thalweg_protocol::batch::BatchView;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::builder::{Settings, StartAt};
use super::error::ConsumeError;
use crate::topic_partition::TopicPartition;

#[derive(Debug)]
pub(super) struct Board {
    pub(super) settings: Settings,
    state: Mutex<BoardState>,
    /// Rung for the fetcher: there is room again, or a partition changed.
    pub(super) bell: Notify,
    /// Rung for the consumer: something was read, or the end was reached.
    pub(super) arrival: Notify,
}

#[derive(Debug)]
pub(super) struct BoardState {
    pub(super) assignments: Vec<Assignment>,
    places: HashMap<TopicPartition, usize>,
    chunks: VecDeque<Chunk>,
    /// Those of paused partitions, which take no room from the others.
    set_aside: VecDeque<Chunk>,
    buffered_bytes: usize,
    /// The fetcher has nothing to do until there is more room.
    wants_room: bool,
}

/// A partition that the consumer reads.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) partition: Arc<TopicPartition>,
    /// Changes with every seek, so that what was read before it is recognised.
    pub(super) generation: u64,
    pub(super) next_fetch: NextFetch,
    /// The next offset to give to the caller, once it is known.
    pub(super) position: Option<i64>,
    pub(super) progress: Arc<Progress>,
    pub(super) watermarks: Option<Watermarks>,
    /// Where to stop, if the consumer does.
    pub(super) end: Option<i64>,
    pub(super) is_paused: bool,
    /// Not the consumer's any more; the place is kept in case it comes back.
    pub(super) is_gone: bool,
    /// Its new owner is still being told of it; until then nothing is read.
    pub(super) is_held: bool,
    /// Nothing more is read until a seek.
    pub(super) has_failed: bool,
    /// A request for it is under way.
    pub(super) is_busy: bool,
    /// Grows with every answer that brought something of any partition.
    pub(super) filled_at: u64,
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    /// Since when the cluster has not known the topic.
    pub(super) unknown_since: Option<Instant>,
}

/// How far the caller has got in a partition since the last seek: the offset after the last record
/// that it was given and has since come back for more. Whoever commits reads it at any time.
#[derive(Debug)]
pub(super) struct Progress {
    offset: AtomicI64,
    /// Where the caller began since the last seek.
    start: AtomicI64,
    /// The offset that the caller itself says it has come to, where it is the one to say so.
    stored: AtomicI64,
    /// From which offset on what was read is of which leader epoch. There are two entries, as what
    /// was begun last may not have been processed.
    epochs: Mutex<[(i64, Option<i32>); 2]>,
}

impl Progress {
    const UNKNOWN: i64 = -1;

    fn at(offset: Option<i64>) -> Arc<Self> {
        let at = || AtomicI64::new(offset.unwrap_or(Progress::UNKNOWN));
        Arc::new(Progress {
            offset: at(),
            start: at(),
            stored: AtomicI64::new(Progress::UNKNOWN),
            epochs: Mutex::new([(i64::MAX, None); 2]),
        })
    }

    pub(super) fn set(&self, offset: i64) {
        if self.start.load(Ordering::Relaxed) == Progress::UNKNOWN {
            self.start.store(offset, Ordering::Relaxed);
        }
        // What was noted of the epoch before is to be seen with it.
        self.offset.store(offset, Ordering::Release);
    }

    /// The caller says that it has come to `offset`. False if that is from before the last seek, or
    /// before the partition was the consumer's: it says nothing about what was read since.
    pub(super) fn store(&self, offset: i64) -> bool {
        let start = self.start.load(Ordering::Relaxed);
        let is_since = start != Progress::UNKNOWN && offset >= start;
        if is_since {
            self.stored.store(offset, Ordering::Release);
        }
        is_since
    }

    /// What the caller has said last of how far it has come.
    pub(super) fn stored(&self) -> Option<i64> {
        Some(self.stored.load(Ordering::Acquire)).filter(|offset| *offset >= 0)
    }

    /// What is read from `start` on has this leader epoch. To be said before it is processed.
    pub(super) fn begin(&self, start: i64, epoch: Option<i32>) {
        let mut epochs = self.epochs.lock().expect("no one panics while holding this lock");
        let [_, last] = *epochs;
        if last.0 == i64::MAX || last.1 != epoch {
            *epochs = [last, (start, epoch)];
        }
    }

    /// The leader epoch of the last record before `offset`, if that is known.
    pub(super) fn epoch_before(&self, offset: i64) -> Option<i32> {
        let epochs = self.epochs.lock().expect("no one panics while holding this lock");
        epochs.iter().rev().find(|(start, _)| *start < offset).and_then(|(_, epoch)| *epoch)
    }

    pub(super) fn get(&self) -> Option<i64> {
        Some(self.offset.load(Ordering::Acquire)).filter(|offset| *offset >= 0)
    }
}

/// What to fetch next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextFetch {
    /// That must be looked up first.
    LookUp(StartAt),
    /// From this offset; the epoch is that of the batch before it.
    From { offset: i64, last_epoch: Option<i32> },
}

/// The bounds of a partition, as its leader last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The oldest offset there is.
    pub log_start_offset: i64,
    /// The end of what is committed to the log.
    pub high_watermark: i64,
    /// The end of what is also decided: no transaction is open below it.
    pub last_stable_offset: i64,
}

/// Something for the caller.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) place: usize,
    pub(super) generation: u64,
    pub(super) content: Content,
    /// Counted against the read-ahead.
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) enum Content {
    /// A batch, of which the records from `start` on count.
    Batch {
        view: BatchView,
        start: i64,
    },
    /// Only offsets without records for the caller.
    Skipped {
        next_offset: i64,
        /// The leader epoch of the last one, if known.
        epoch: Option<i32>,
    },
    Failed(ConsumeError),
}

impl From<(TopicPartition, StartAt)> for Assignment {
    fn from((partition, start): (TopicPartition, StartAt)) -> Self {
        let mut assignment = Assignment {
            partition: Arc::new(partition),
            generation: 0,
            next_fetch: NextFetch::LookUp(start),
            position: None,
            progress: Progress::at(None),
            watermarks: None,
            end: None,
            is_paused: false,
            is_gone: false,
            is_held: false,
            has_failed: false,
            is_busy: false,
            filled_at: 0,
            failures: 0,
            retry_at: None,
            unknown_since: None,
        };
        assignment.start_at(start);
        assignment
    }
}

impl Assignment {
    /// Begins anew at `start`; whatever was read or asked for is forgotten.
    pub(super) fn start_at(&mut self, start: StartAt) {
        self.generation += 1;
        self.position = None;
        self.progress = Progress::at(None);
        self.end = None;
        self.has_failed = false;
        self.is_busy = false;
        self.failures = 0;
        self.retry_at = None;
        self.unknown_since = None;
        self.next_fetch = NextFetch::LookUp(start);
        if let StartAt::Offset(offset) = start {
            self.set_position(offset);
            self.next_fetch = NextFetch::From { offset, last_epoch: None };
        }
    }

    /// The caller is at `offset`, having been given everything before it.
    pub(super) fn set_position(&mut self, offset: i64) {
        self.position = Some(offset);
        self.progress.set(offset);
    }

    /// Reads no further until a seek, and forgets what was read.
    pub(super) fn stop(&mut self) {
        self.generation += 1;
        self.is_busy = false;
        self.has_failed = true;
    }

    /// Whether the caller has been given everything up to the end.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_gone
            || self.has_failed
            || self.position.zip(self.end).is_some_and(|(position, end)| position >= end)
    }
}

impl Board {
    pub(super) fn new(settings: Settings, assignments: Vec<Assignment>) -> Self {
        let mut state = BoardState {
            assignments: Vec::new(),
            places: HashMap::new(),
            chunks: VecDeque::new(),
            set_aside: VecDeque::new(),
            buffered_bytes: 0,
            wants_room: false,
        };
        assignments.into_iter().for_each(|assignment| state.assign(assignment));
        Board { settings, state: Mutex::new(state), bell: Notify::new(), arrival: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BoardState> {
        self.state.lock().expect("no one panics while holding this lock")
    }
}

impl BoardState {
    /// Adds a partition; one that is there already begins anew.
    pub(super) fn assign(&mut self, mut assignment: Assignment) {
        match self.places.get(&*assignment.partition).and_then(|at| self.assignments.get_mut(*at)) {
            Some(known) => {
                assignment.generation = known.generation + 1;
                *known = assignment;
            }
            None => {
                let place = self.assignments.len();
                self.places.insert(TopicPartition::clone(&assignment.partition), place);
                self.assignments.push(assignment);
            }
        }
    }

    pub(super) fn find(&mut self, partition: &TopicPartition) -> Option<&mut Assignment> {
        let place = self.places.get(partition)?;
        self.assignments.get_mut(*place).filter(|assignment| !assignment.is_gone)
    }

    /// Takes a partition away, with all that was read ahead of it.
    pub(super) fn unassign(&mut self, partition: &TopicPartition) {
        if let Some(assignment) = self.find(partition) {
            assignment.generation += 1;
            assignment.is_busy = false;
            assignment.is_gone = true;
        }
        self.sort_out_paused();
    }

    /// Sets aside what was read of paused partitions, takes back what was of those that are not any
    /// more, and drops what was read before a seek.
    pub(super) fn sort_out_paused(&mut self) {
        let assignments = &self.assignments;
        let paused = |chunk: &Chunk| {
            let assignment = assignments.get(chunk.place)?;
            (assignment.generation == chunk.generation).then_some(assignment.is_paused)
        };
        // What was set aside is older than what is not, of the same partition.
        let mut all = std::mem::take(&mut self.set_aside);
        all.append(&mut self.chunks);
        for chunk in all {
            match paused(&chunk) {
                Some(true) => self.set_aside.push_back(chunk),
                Some(false) => self.chunks.push_back(chunk),
                None => {}
            }
        }
        self.buffered_bytes = self.chunks.iter().map(|chunk| chunk.bytes).sum();
    }

    /// The partitions that the consumer has.
    pub(super) fn assigned(&self) -> impl Iterator<Item = &Assignment> {
        self.assignments.iter().filter(|assignment| !assignment.is_gone)
    }

    /// Where a partition of the consumer's stands, and its generation.
    pub(super) fn place_of(&self, partition: &TopicPartition) -> Option<(usize, u64)> {
        let place = *self.places.get(partition)?;
        Some((place, self.assignments.get(place)?.generation))
    }

    /// The assignment at `place`, if no seek has happened since `generation`.
    pub(super) fn current(&mut self, place: usize, generation: u64) -> Option<&mut Assignment> {
        let assignment = self.assignments.get_mut(place)?;
        (assignment.generation == generation).then_some(assignment)
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// Asks to be told of more room.
    pub(super) fn want_room(&mut self) {
        self.wants_room = true;
    }

    /// Whether the fetcher is to be told that a chunk has been taken.
    pub(super) fn take_want_of_room(&mut self) -> bool {
        std::mem::take(&mut self.wants_room)
    }

    pub(super) fn push(&mut self, chunk: Chunk) {
        if self.assignments.get(chunk.place).is_some_and(|assignment| assignment.is_paused) {
            self.set_aside.push_back(chunk);
            return;
        }
        self.buffered_bytes += chunk.bytes;
        self.chunks.push_back(chunk);
    }

    /// The oldest chunk that is for the caller now: not paused, not from before a seek.
    pub(super) fn pop(&mut self) -> Option<Chunk> {
        loop {
            let chunk = self.chunks.pop_front()?;
            self.buffered_bytes -= chunk.bytes;
            let assignment = self.assignments.get(chunk.place);
            if assignment.is_some_and(|it| it.generation == chunk.generation) {
                return Some(chunk);
            }
        }
    }
}
