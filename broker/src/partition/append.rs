//! Appending: a producer's batch gets its offsets and goes to Raft.
//!
//! Two stages: `append` fixes the order and the offsets now, the ticket says later whether the
//! batch reached what its `acks` asked for. The bytes of the records are never copied: a patched
//! copy of the 61-byte header travels beside the untouched body.

use bytes::Bytes;
use thalweg_protocol::batch::{BatchHeader, HeaderPatch, TimestampType};
use tokio::sync::oneshot;

use super::error::PartitionError;
use super::producers::Sequence;
use super::{Partition, State, validate};
use crate::abort::AbortOnPanic;

/// What a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    /// The leader's own append, in the page cache. Also for `acks=0`, which hears nothing of it.
    Leader,
    /// A majority of the replicas has it on stable storage.
    All,
}

/// A batch that has its place.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// Offset of the first record.
    pub(crate) base_offset: i64,
    /// The time of appending on LogAppendTime topics, otherwise −1.
    pub(crate) log_append_time_ms: i64,
    /// First offset the partition serves.
    pub(crate) log_start_offset: i64,
    done: Option<oneshot::Receiver<Result<(), PartitionError>>>,
}

/// A proposal of this leader that is not applied yet.
pub(super) struct InFlight {
    pub(super) index: u64,
    /// The batch's header; a command of the partition's own has none.
    pub(super) header: Option<BatchHeader>,
    acks: Acks,
    waiting: Vec<oneshot::Sender<Result<(), PartitionError>>>,
}

impl Ticket {
    /// Waits until the batch has reached what `acks` asked for.
    pub(crate) async fn done(&mut self) -> Result<(), PartitionError> {
        match self.done.take() {
            None => Ok(()),
            Some(done) => done.await.unwrap_or(Err(PartitionError::OutcomeUnknown)),
        }
    }
}

impl InFlight {
    pub(super) fn new(index: u64, header: Option<BatchHeader>, acks: Acks) -> InFlight {
        InFlight { index, header, acks, waiting: Vec::with_capacity(1) }
    }

    pub(super) fn wait(&mut self) -> oneshot::Receiver<Result<(), PartitionError>> {
        let (done, waiting) = oneshot::channel();
        self.waiting.push(done);
        waiting
    }

    /// Tells everyone who waits. Who stopped waiting does not mind.
    pub(super) fn finish(mut self, result: &Result<(), PartitionError>) {
        self.tell(result);
    }

    fn tell(&mut self, result: &Result<(), PartitionError>) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(result.clone());
        }
    }
}

impl Partition {
    /// Appends the one batch in `records`.
    pub(crate) fn append(&self, records: Bytes, acks: Acks) -> Result<Ticket, PartitionError> {
        let term = self.serving()?;
        #[cfg(feature = "planted-bugs")]
        let acks = match acks {
            Acks::All if crate::embedded::planted::ACK_BEFORE_QUORUM.get() => Acks::Leader,
            acks => acks,
        };
        if self.env.space.refuses_writes() || self.log.is_full() {
            return Err(PartitionError::DiskFull);
        }
        let now_ms = self.env.clock.now_ms();
        let settings = std::sync::Arc::clone(&self.state.borrow().settings);
        let wanted = settings.min_insync_replicas;
        if acks == Acks::All && wanted > 1 {
            let replicas = self.group.borrow().voters_in_sync();
            if replicas < wanted {
                return Err(PartitionError::NotEnoughReplicas { replicas, wanted });
            }
        }
        let batch = validate::batch(records, &settings, now_ms)?;

        let _abort = AbortOnPanic("partition append");
        let mut state = self.state.borrow_mut();
        if let Sequence::Repeat { base_offset, .. } = state.producers.check(batch.header())? {
            return Ok(self.ticket_of_repeat(&mut state, base_offset));
        }
        let append_time = settings.timestamp_type == TimestampType::LogAppendTime;
        let log_append_time_ms = append_time.then_some(now_ms);
        let base_offset = state.next_append_offset;
        let header = HeaderPatch { base_offset, leader_epoch: term, log_append_time_ms }
            .apply(batch.header());
        let index = self
            .group
            .borrow_mut()
            .propose_batch(Bytes::copy_from_slice(&header.write()), batch.body())
            .map_err(|_dropped| PartitionError::NotLeader)?;
        state.next_append_offset = header.next_offset();
        state.producers.on_append(&header);
        self.env.metrics.on_appended(batch.bytes().len(), header.record_count);
        self.topic_metrics.on_appended(batch.bytes().len(), header.record_count);
        let mut in_flight = InFlight::new(index, Some(header), acks);
        let done = Some(in_flight.wait());
        state.in_flight.push_back(in_flight);
        if acks == Acks::Leader {
            self.wants_written.set(true);
        }
        Ok(Ticket {
            base_offset,
            log_append_time_ms: log_append_time_ms.unwrap_or(-1),
            log_start_offset: self.log.log_start_offset(),
            done,
        })
    }

    /// The answer to a batch that is in the log already, or on its way: the original's offset, when
    /// the original is committed.
    fn ticket_of_repeat(&self, state: &mut State, base_offset: i64) -> Ticket {
        let original = state.in_flight.iter_mut().find(|in_flight| {
            in_flight.header.is_some_and(|header| header.base_offset == base_offset)
        });
        Ticket {
            base_offset,
            log_append_time_ms: -1,
            log_start_offset: self.log.log_start_offset(),
            done: original.map(InFlight::wait),
        }
    }

    /// Answers `acks` of 0 and 1 for everything that is in the kernel's hands.
    pub(super) fn answer_written(&self) {
        if !self.wants_written.get() {
            return;
        }
        let written = self.log.written_index();
        let mut state = self.state.borrow_mut();
        let from = state.answered_written;
        let first = state.in_flight.partition_point(|in_flight| in_flight.index <= from);
        let mut more = false;
        for in_flight in state.in_flight.iter_mut().skip(first) {
            if in_flight.acks != Acks::Leader {
                continue;
            }
            if in_flight.index > written {
                more = true;
                break;
            }
            in_flight.tell(&Ok(()));
        }
        state.answered_written = written;
        self.wants_written.set(more);
    }
}
