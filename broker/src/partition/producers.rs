//! Idempotent producers of one partition: which sequence numbers were taken, and where they went.
//!
//! The leader checks a batch against what is committed plus what is in flight; the state itself
//! changes on commit, so that every replica that applies the log holds the same. Five batches are
//! remembered per producer, because a client may have five requests in flight (KIP-98, KIP-679).
//! Offsets here are Kafka offsets and survive restart through `producers.snap`.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use thalweg_protocol::batch::BatchHeader;
use thiserror::Error;

/// Batches remembered per producer.
const BATCHES_REMEMBERED: usize = 5;

/// One batch a producer has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchMark {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) timestamp: i64,
}

/// What is known of one producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProducerState {
    pub(crate) epoch: i16,
    /// Committed batches, oldest first, at most five.
    pub(crate) batches: VecDeque<BatchMark>,
    /// When the producer was last heard of, in ms since 1970 by this broker's clock.
    pub(crate) last_seen_ms: i64,
    /// Appended by this leader, not yet committed.
    #[serde(skip)]
    in_flight: VecDeque<(i16, BatchMark)>,
}

/// What the sequence of a batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// The next in line, or the first of a producer we know nothing of.
    New,
    /// Exactly a batch that is already in the log (or on its way), at these offsets.
    Repeat { base_offset: i64, last_offset: i64 },
}

/// Why a batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum SequenceError {
    /// The producer was fenced by a newer instance of itself.
    #[error("producer epoch {found} is older than {current}")]
    OldEpoch { found: i16, current: i16 },
    /// A gap, or a new epoch that does not begin at zero.
    #[error("sequence {found} is out of order: expected {expected}")]
    OutOfOrder { found: i32, expected: i32 },
    /// Older than the five batches remembered.
    #[error("sequence {found} was written before the batches still remembered")]
    Duplicate { found: i32 },
}

/// The producers of one partition, by producer id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Producers {
    states: HashMap<i64, ProducerState>,
}

impl BatchMark {
    fn of(header: &BatchHeader) -> BatchMark {
        BatchMark {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp,
        }
    }
}

impl Producers {
    /// Judges a batch that a client sends. Batches without a producer id are always new.
    pub(crate) fn check(&self, header: &BatchHeader) -> Result<Sequence, SequenceError> {
        if !header.has_producer_id() {
            return Ok(Sequence::New);
        }
        let Some(state) = self.states.get(&header.producer_id) else {
            // Nothing is known: expired, deleted by retention, or new. Kafka accepts any sequence.
            return Ok(Sequence::New);
        };
        let current = state.in_flight.back().map_or(state.epoch, |(epoch, _)| *epoch);
        if header.producer_epoch < current {
            return Err(SequenceError::OldEpoch { found: header.producer_epoch, current });
        }
        if header.producer_epoch > current {
            return match header.base_sequence {
                0 => Ok(Sequence::New),
                found => Err(SequenceError::OutOfOrder { found, expected: 0 }),
            };
        }
        state.check_same_epoch(header)
    }

    /// The leader has given this batch (header with its assigned offsets) to Raft.
    pub(crate) fn on_append(&mut self, header: &BatchHeader) {
        if header.has_producer_id() {
            let state = self.state_of(header);
            state.in_flight.push_back((header.producer_epoch, BatchMark::of(header)));
        }
    }

    /// The batch is committed.
    pub(crate) fn on_commit(&mut self, header: &BatchHeader, now_ms: i64) {
        if !header.has_producer_id() || header.attributes.is_control() {
            return;
        }
        let mark = BatchMark::of(header);
        let state = self.state_of(header);
        if state.in_flight.front().is_some_and(|(_, first)| first.base_offset == mark.base_offset) {
            state.in_flight.pop_front();
        }
        if state.batches.back().is_some_and(|newest| newest.base_offset >= mark.base_offset) {
            // Known from a leader's state that is ahead of this log.
            return;
        }
        if state.epoch != header.producer_epoch {
            state.epoch = header.producer_epoch;
            state.batches.clear();
        }
        if state.batches.len() == BATCHES_REMEMBERED {
            state.batches.pop_front();
        }
        state.batches.push_back(mark);
        state.last_seen_ms = now_ms;
    }

    /// What was in flight will not commit under this leader: leadership was lost.
    pub(crate) fn forget_in_flight(&mut self) {
        for state in self.states.values_mut() {
            state.in_flight.clear();
        }
        self.states.retain(|_, state| !state.batches.is_empty());
    }

    /// Drops producers not heard of since `before_ms`, unless something of theirs is in flight.
    pub(crate) fn expire(&mut self, before_ms: i64) {
        self.states
            .retain(|_, state| state.last_seen_ms >= before_ms || !state.in_flight.is_empty());
    }

    /// Every producer with committed batches.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &ProducerState)> {
        self.states
            .iter()
            .filter(|(_, state)| !state.batches.is_empty())
            .map(|(id, state)| (*id, state))
    }

    /// Whether no producer is known.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    fn state_of(&mut self, header: &BatchHeader) -> &mut ProducerState {
        self.states.entry(header.producer_id).or_insert_with(|| ProducerState {
            epoch: header.producer_epoch,
            batches: VecDeque::new(),
            last_seen_ms: header.max_timestamp,
            in_flight: VecDeque::new(),
        })
    }
}

impl ProducerState {
    /// The batches of the current epoch, newest first.
    fn newest_first(&self, epoch: i16) -> impl Iterator<Item = &BatchMark> {
        let in_flight =
            self.in_flight.iter().rev().filter(move |(of, _)| *of == epoch).map(|(_, mark)| mark);
        let committed = self.batches.iter().rev().filter(move |_| self.epoch == epoch);
        in_flight.chain(committed)
    }

    fn check_same_epoch(&self, header: &BatchHeader) -> Result<Sequence, SequenceError> {
        let (first, last) = (header.base_sequence, header.last_sequence());
        let mut remembered = self.newest_first(header.producer_epoch).take(BATCHES_REMEMBERED);
        let Some(newest) = remembered.next() else { return Ok(Sequence::New) };
        let expected = next_sequence(newest.last_sequence);
        if first == expected {
            return Ok(Sequence::New);
        }
        let repeated = std::iter::once(newest)
            .chain(remembered)
            .find(|mark| mark.first_sequence == first && mark.last_sequence == last);
        if let Some(mark) = repeated {
            let BatchMark { base_offset, last_offset, .. } = *mark;
            return Ok(Sequence::Repeat { base_offset, last_offset });
        }
        if is_before(first, expected) {
            return Err(SequenceError::Duplicate { found: first });
        }
        Err(SequenceError::OutOfOrder { found: first, expected })
    }

    /// The last sequence committed, for DescribeProducers.
    pub(crate) fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |mark| mark.last_sequence)
    }

    /// The newest timestamp committed, for DescribeProducers.
    pub(crate) fn last_timestamp(&self) -> i64 {
        self.batches.back().map_or(-1, |mark| mark.timestamp)
    }
}

/// Sequences run from 0 to `i32::MAX` and wrap to 0.
fn next_sequence(last: i32) -> i32 {
    last.checked_add(1).unwrap_or(0)
}

/// Whether `found` lies behind `expected` on the circle of sequences, taking the shorter way.
fn is_before(found: i32, expected: i32) -> bool {
    let ahead = expected.wrapping_sub(found) & i32::MAX;
    ahead != 0 && ahead < i32::MAX / 2
}

#[cfg(test)]
mod tests {
    use thalweg_protocol::batch::Attributes;

    use super::*;

    fn batch(epoch: i16, first: i32, count: i32, base_offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset,
            batch_length: 49,
            partition_leader_epoch: 1,
            crc: 0,
            attributes: Attributes::from_bits(0),
            last_offset_delta: count - 1,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: 9,
            producer_epoch: epoch,
            base_sequence: first,
            record_count: count,
        }
    }

    fn commit(producers: &mut Producers, header: &BatchHeader) {
        assert_eq!(producers.check(header), Ok(Sequence::New));
        producers.on_append(header);
        producers.on_commit(header, 100);
    }

    #[test]
    fn an_exact_repeat_gets_the_original_offset_also_while_in_flight() {
        let mut producers = Producers::default();
        let header = batch(0, 0, 3, 70);
        producers.on_append(&header);
        let repeat = Ok(Sequence::Repeat { base_offset: 70, last_offset: 72 });
        assert_eq!(producers.check(&batch(0, 0, 3, -1)), repeat);
        producers.on_commit(&header, 100);
        assert_eq!(producers.check(&batch(0, 0, 3, -1)), repeat);
    }

    #[test]
    fn gaps_and_old_sequences_are_told_apart() {
        let mut producers = Producers::default();
        for n in 0..7 {
            commit(&mut producers, &batch(0, n * 2, 2, i64::from(n) * 2));
        }
        assert_eq!(
            producers.check(&batch(0, 16, 2, -1)),
            Err(SequenceError::OutOfOrder { found: 16, expected: 14 })
        );
        assert_eq!(
            producers.check(&batch(0, 0, 2, -1)),
            Err(SequenceError::Duplicate { found: 0 }),
            "only five batches are remembered"
        );
        assert_eq!(
            producers.check(&batch(0, 4, 2, -1)),
            Ok(Sequence::Repeat { base_offset: 4, last_offset: 5 })
        );
    }

    #[test]
    fn epochs_fence_and_restart_at_zero() {
        let mut producers = Producers::default();
        commit(&mut producers, &batch(1, 0, 1, 0));
        assert_eq!(
            producers.check(&batch(0, 1, 1, -1)),
            Err(SequenceError::OldEpoch { found: 0, current: 1 })
        );
        assert_eq!(
            producers.check(&batch(2, 5, 1, -1)),
            Err(SequenceError::OutOfOrder { found: 5, expected: 0 })
        );
        commit(&mut producers, &batch(2, 0, 1, 1));
        assert_eq!(
            producers.check(&batch(1, 1, 1, -1)),
            Err(SequenceError::OldEpoch { found: 1, current: 2 })
        );
    }

    #[test]
    fn the_sequence_wraps() {
        let mut producers = Producers::default();
        commit(&mut producers, &batch(0, i32::MAX - 1, 2, 0));
        commit(&mut producers, &batch(0, 0, 1, 2));
        assert_eq!(
            producers.check(&batch(0, i32::MAX - 1, 2, -1)),
            Ok(Sequence::Repeat { base_offset: 0, last_offset: 1 })
        );
    }

    #[test]
    fn unknown_and_expired_producers_may_start_anywhere() {
        let mut producers = Producers::default();
        commit(&mut producers, &batch(0, 40, 1, 0));
        producers.expire(100);
        assert!(!producers.is_empty());
        producers.expire(101);
        assert!(producers.is_empty());
        commit(&mut producers, &batch(0, 80, 1, 1));
    }

    #[test]
    fn what_was_in_flight_is_forgotten_with_leadership() {
        let mut producers = Producers::default();
        commit(&mut producers, &batch(0, 0, 1, 0));
        producers.on_append(&batch(0, 1, 1, 1));
        producers.forget_in_flight();
        assert_eq!(producers.check(&batch(0, 1, 1, -1)), Ok(Sequence::New));
    }

    #[test]
    fn the_snapshot_form_keeps_what_is_committed() {
        let mut producers = Producers::default();
        commit(&mut producers, &batch(0, 0, 4, 12));
        let json = serde_json::to_vec(&producers).expect("plain data");
        let back: Producers = serde_json::from_slice(&json).expect("written by us");
        assert_eq!(back, producers);
    }
}
