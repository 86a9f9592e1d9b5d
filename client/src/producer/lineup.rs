//! The batches of one partition from being sealed to being settled, and the rules of their numbers.
//!
//! Batches stand in the order of their records and are sent in it. An idempotent producer numbers
//! them when they are first sent; the broker writes a number once and in order, so a batch whose
//! attempt failed is sent again as it is, and those behind it follow (KIP-98, KIP-360).
//!
//! A broker that remembers nothing of a producer takes any number as the first. So a series is
//! proven before it is pipelined: until one of its batches has been acknowledged lately, one is
//! under way at a time. Otherwise the second could be written while the first is refused.
//!
//! Invariant: a batch gets a new number only when it certainly is not in the log. When a number
//! will never be written, the series is broken: no new batch is numbered until every number that
//! was given has been settled or proved unwritten, and then a new identity begins from zero.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::ErrorCode;
use tokio::time::Instant;

use super::batch::{Batch, Identity, Stamp};
use super::error::Attempt;
use crate::address::BrokerAddress;
use crate::error::ConnectError;

/// Finds a batch again when its answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchKey(u64);

#[derive(Debug)]
pub(super) struct Lineup {
    is_idempotent: bool,
    batches: VecDeque<(BatchKey, Batch)>,
    in_flight: usize,
    next_key: u64,
    identity: Option<Identity>,
    next_sequence: i32,
    is_broken: bool,
    /// Until when the broker surely remembers the series.
    proven_until: Option<Instant>,
}

/// Brokers forget a producer that has been idle for long: after a day unless configured otherwise,
/// and no sooner than its last batch leaves the log.
const PROOF_LASTS: Duration = Duration::from_secs(60);

/// What to do next with the partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This batch is to be sent.
    Send(BatchKey),
    /// Everything is under way.
    Nothing,
    /// An identity is needed, another than this.
    Identify(Option<Identity>),
}

/// What a failed attempt means for its batch.
pub(super) enum Verdict {
    /// It stays in line.
    Again,
    /// It is over.
    Failed(Batch),
}

impl Lineup {
    pub(super) fn new(is_idempotent: bool) -> Self {
        Lineup {
            is_idempotent,
            batches: VecDeque::new(),
            in_flight: 0,
            next_key: 0,
            identity: None,
            next_sequence: 0,
            is_broken: false,
            proven_until: None,
        }
    }

    pub(super) fn push(&mut self, batch: Batch) {
        self.batches.push_back((BatchKey(self.next_key), batch));
        self.next_key += 1;
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// When the time of the first batch that is not under way will be up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.batches.iter().filter(|(_, batch)| !batch.is_in_flight);
        waiting.map(|(_, batch)| batch.deadline).min()
    }

    /// Remembers for those that wait that their broker could not be reached.
    pub(super) fn note(&mut self, error: &ConnectError) {
        let attempt = Attempt::Unreached(Arc::new(error.clone()));
        for (_, batch) in self.batches.iter_mut().filter(|(_, batch)| !batch.is_in_flight) {
            batch.last = Some((error.broker.clone(), attempt.clone()));
        }
    }

    /// Whether all batches are under way.
    pub(super) fn is_spent(&self) -> bool {
        self.in_flight == self.batches.len()
    }

    pub(super) fn get(&self, key: BatchKey) -> Option<&Batch> {
        self.position(key).and_then(|at| self.batches.get(at)).map(|(_, batch)| batch)
    }

    /// The next batch to send, numbered; `current` is the producer's identity.
    pub(super) fn next(&mut self, current: Option<Identity>, now: Instant) -> Next {
        if !self.is_idempotent {
            return self.waiting(|_| true).map_or(Next::Nothing, Next::Send);
        }
        if self.is_broken {
            if self.batches.iter().any(|(_, batch)| batch.stamp.is_some()) {
                let numbered = self.waiting(|batch| batch.stamp.is_some());
                return numbered.map_or(Next::Nothing, Next::Send);
            }
            if self.batches.is_empty() {
                return Next::Nothing;
            }
            if current.is_none() || current == self.identity {
                return Next::Identify(self.identity);
            }
            self.is_broken = false;
            self.identity = None;
            self.proven_until = None;
        }
        let Some(key) = self.waiting(|_| true) else { return Next::Nothing };
        if self.identity.is_none() {
            let Some(identity) = current else { return Next::Identify(None) };
            self.identity = Some(identity);
            self.next_sequence = 0;
        }
        if self.in_flight > 0 && self.proven_until.is_none_or(|until| until < now) {
            return Next::Nothing;
        }
        self.number(key);
        Next::Send(key)
    }

    fn number(&mut self, key: BatchKey) {
        let (Some(identity), sequence) = (self.identity, self.next_sequence) else { return };
        let Some(batch) = self.get_mut(key).filter(|batch| batch.stamp.is_none()) else { return };
        batch.stamp(Stamp { identity, sequence });
        self.next_sequence = batch.next_sequence(sequence);
    }

    pub(super) fn on_sent(&mut self, key: BatchKey) {
        if let Some(batch) = self.get_mut(key) {
            batch.is_in_flight = true;
            batch.attempts = batch.attempts.saturating_add(1);
            self.in_flight += 1;
        }
    }

    /// The batch was written, now or by an earlier attempt.
    pub(super) fn on_acknowledged(&mut self, key: BatchKey, now: Instant) -> Option<Batch> {
        let at = self.position(key)?;
        let (_, batch) = self.batches.remove(at)?;
        self.in_flight -= usize::from(batch.is_in_flight);
        if batch.stamp.is_some_and(|stamp| Some(stamp.identity) == self.identity) {
            self.proven_until = Some(now + PROOF_LASTS);
        }
        Some(batch)
    }

    /// An attempt failed; tells what becomes of the batch.
    pub(super) fn on_failed(
        &mut self,
        key: BatchKey,
        broker: &BrokerAddress,
        attempt: Attempt,
    ) -> Option<Verdict> {
        let at = self.position(key)?;
        let first_numbered = self.batches.iter().position(|(_, batch)| batch.stamp.is_some());
        let batch = &mut self.batches.get_mut(at)?.1;
        self.in_flight -= usize::from(std::mem::take(&mut batch.is_in_flight));
        let certain = attempt.wrote_nothing();
        let is_retriable = attempt.is_retriable();
        let code = if let Attempt::Refused(code) = attempt { Some(code) } else { None };
        batch.last = Some((broker.clone(), attempt));
        batch.may_be_written |= !certain;
        match code {
            // Those before it are not settled yet: it may be its turn when they are.
            Some(ErrorCode::OutOfOrderSequenceNumber)
                if self.is_idempotent && first_numbered != Some(at) =>
            {
                Some(Verdict::Again)
            }
            // The broker does not know, or has lost, what came before; or it knows a later epoch.
            Some(
                ErrorCode::OutOfOrderSequenceNumber
                | ErrorCode::UnknownProducerId
                | ErrorCode::InvalidProducerEpoch,
            ) if self.is_idempotent => {
                batch.stamp = None;
                batch.may_be_written = false;
                self.is_broken = true;
                Some(Verdict::Again)
            }
            _ if is_retriable => Some(Verdict::Again),
            _ => self.remove(at).map(Verdict::Failed),
        }
    }

    /// Takes out the batches that are not under way and whose time is up.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Batch> {
        let mut expired = Vec::new();
        while let Some(at) =
            self.batches.iter().position(|(_, batch)| !batch.is_in_flight && batch.deadline <= now)
        {
            expired.extend(self.remove(at));
        }
        expired
    }

    /// Takes out every batch that is not under way.
    pub(super) fn abandon(&mut self) -> Vec<Batch> {
        let mut abandoned = Vec::new();
        while let Some(at) = self.batches.iter().position(|(_, batch)| !batch.is_in_flight) {
            abandoned.extend(self.remove(at));
        }
        abandoned
    }

    /// Takes out a batch that will not be sent again, and sees to what becomes of its number.
    fn remove(&mut self, at: usize) -> Option<Batch> {
        let (_, batch) = self.batches.remove(at)?;
        if let Some(stamp) = batch.stamp {
            let is_last = self.batches.iter().skip(at).all(|(_, later)| later.stamp.is_none());
            if is_last && !batch.may_be_written && !self.is_broken {
                // Nobody has seen the number: the next batch can have it.
                self.next_sequence = stamp.sequence;
            } else {
                self.is_broken = true;
            }
        }
        Some(batch)
    }

    fn waiting(&self, is_wanted: impl Fn(&Batch) -> bool) -> Option<BatchKey> {
        let mut waiting = self.batches.iter().filter(|(_, batch)| !batch.is_in_flight);
        waiting.find(|(_, batch)| is_wanted(batch)).map(|(key, _)| *key)
    }

    fn position(&self, key: BatchKey) -> Option<usize> {
        // Keys ascend, as batches never change places.
        self.batches.binary_search_by_key(&key.0, |(key, _)| key.0).ok()
    }

    fn get_mut(&mut self, key: BatchKey) -> Option<&mut Batch> {
        let at = self.position(key)?;
        self.batches.get_mut(at).map(|(_, batch)| batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Disconnect;
    use crate::error::{RequestError, RequestFault};
    use crate::producer::batch::tests::batch;
    use crate::producer::builder::Settings;

    const FIRST: Identity = Identity { producer_id: 10, epoch: 0 };
    const SECOND: Identity = Identity { producer_id: 11, epoch: 0 };

    fn lineup(counts: &[i32]) -> Lineup {
        let mut lineup = Lineup::new(true);
        counts.iter().for_each(|count| lineup.push(batch(*count, &Settings::default())));
        lineup
    }

    fn next(lineup: &mut Lineup, current: Option<Identity>) -> Next {
        lineup.next(current, Instant::now())
    }

    /// A line of batches whose series has been acknowledged before.
    fn proven(counts: &[i32]) -> Lineup {
        let mut lineup = lineup(&[1]);
        let sent = send_all(&mut lineup, FIRST);
        assert!(lineup.on_acknowledged(sent[0], Instant::now()).is_some());
        counts.iter().for_each(|count| lineup.push(batch(*count, &Settings::default())));
        lineup
    }

    fn send_all(lineup: &mut Lineup, identity: Identity) -> Vec<BatchKey> {
        let mut sent = Vec::new();
        while let Next::Send(key) = next(lineup, Some(identity)) {
            lineup.on_sent(key);
            sent.push(key);
        }
        sent
    }

    fn stamp(lineup: &Lineup, key: BatchKey) -> (Identity, i32) {
        let stamp = lineup.get(key).unwrap().stamp.unwrap();
        (stamp.identity, stamp.sequence)
    }

    fn fail(lineup: &mut Lineup, key: BatchKey, attempt: Attempt) -> bool {
        let broker = BrokerAddress::new("host", 1);
        let verdict = lineup.on_failed(key, &broker, attempt).expect("the batch is in line");
        matches!(verdict, Verdict::Again)
    }

    fn disconnected() -> Attempt {
        Attempt::Unanswered(Arc::new(RequestError {
            broker: BrokerAddress::new("host", 1),
            api: thalweg_protocol::ApiKey::Produce,
            fault: RequestFault::Disconnected(Disconnect::ClosedByBroker),
        }))
    }

    #[tokio::test]
    async fn numbers_count_records_and_survive_a_retry() {
        let mut lineup = proven(&[3, 2, 1]);
        let sent = send_all(&mut lineup, FIRST);
        let stamps: Vec<_> = sent.iter().map(|key| stamp(&lineup, *key)).collect();
        assert_eq!(stamps, [(FIRST, 1), (FIRST, 4), (FIRST, 6)]);
        assert_eq!(next(&mut lineup, Some(FIRST)), Next::Nothing);

        // The first two are lost on the way, the third is refused for it: all go again, in order.
        assert!(fail(&mut lineup, sent[0], disconnected()));
        assert!(fail(&mut lineup, sent[1], disconnected()));
        assert!(fail(&mut lineup, sent[2], Attempt::Refused(ErrorCode::OutOfOrderSequenceNumber)));
        assert_eq!(send_all(&mut lineup, FIRST), sent);
        let again: Vec<_> = sent.iter().map(|key| stamp(&lineup, *key)).collect();
        assert_eq!(again, stamps);
        for key in sent {
            assert!(lineup.on_acknowledged(key, Instant::now()).is_some());
        }
        assert!(lineup.is_spent());
    }

    #[tokio::test]
    async fn a_series_is_pipelined_once_it_is_proven() {
        let mut lineup = lineup(&[1, 1, 1]);
        assert_eq!(next(&mut lineup, None), Next::Identify(None));
        let first = send_all(&mut lineup, FIRST);
        assert_eq!(first.len(), 1);
        assert!(lineup.on_acknowledged(first[0], Instant::now()).is_some());
        assert_eq!(send_all(&mut lineup, FIRST).len(), 2);
        lineup.push(batch(1, &Settings::default()));
        let much_later = Instant::now() + 2 * PROOF_LASTS;
        assert_eq!(lineup.next(Some(FIRST), much_later), Next::Nothing);
    }

    #[tokio::test]
    async fn a_gap_in_the_log_starts_a_new_series_once_all_numbers_are_settled() {
        let mut lineup = proven(&[1, 1, 1]);
        let sent = send_all(&mut lineup, FIRST);
        lineup.push(batch(1, &Settings::default()));
        let refused = || Attempt::Refused(ErrorCode::OutOfOrderSequenceNumber);
        assert!(fail(&mut lineup, sent[0], refused()));
        assert_eq!(next(&mut lineup, Some(FIRST)), Next::Nothing, "two numbers are not settled");
        // The second is lost on the way: whether it was written must be found out with its number.
        assert!(fail(&mut lineup, sent[1], disconnected()));
        assert_eq!(next(&mut lineup, Some(SECOND)), Next::Send(sent[1]));
        assert_eq!(stamp(&lineup, sent[1]), (FIRST, 2));
        lineup.on_sent(sent[1]);
        assert!(fail(&mut lineup, sent[1], refused()));
        assert!(fail(&mut lineup, sent[2], refused()));

        assert_eq!(next(&mut lineup, Some(FIRST)), Next::Identify(Some(FIRST)));
        let mut again = send_all(&mut lineup, SECOND);
        assert_eq!(again, sent[..1], "the new series is not proven");
        assert!(lineup.on_acknowledged(again[0], Instant::now()).is_some());
        again = send_all(&mut lineup, SECOND);
        assert_eq!(again[..2], sent[1..]);
        let stamps: Vec<_> = again.iter().map(|key| stamp(&lineup, *key)).collect();
        assert_eq!(stamps, [(SECOND, 1), (SECOND, 2), (SECOND, 3)]);
    }

    #[tokio::test]
    async fn a_refused_batch_gives_its_number_back_if_no_later_one_is_out() {
        let mut lineup = proven(&[4]);
        let sent = send_all(&mut lineup, FIRST);
        assert!(!fail(&mut lineup, sent[0], Attempt::Refused(ErrorCode::MessageTooLarge)));
        lineup.push(batch(1, &Settings::default()));
        let next_sent = send_all(&mut lineup, FIRST);
        assert_eq!(stamp(&lineup, next_sent[0]), (FIRST, 1));

        lineup.push(batch(1, &Settings::default()));
        let later = send_all(&mut lineup, FIRST);
        assert!(!fail(&mut lineup, next_sent[0], Attempt::Refused(ErrorCode::MessageTooLarge)));
        assert!(fail(&mut lineup, later[0], Attempt::Refused(ErrorCode::OutOfOrderSequenceNumber)));
        assert_eq!(next(&mut lineup, Some(FIRST)), Next::Identify(Some(FIRST)));
        assert_eq!(send_all(&mut lineup, SECOND), later);
        assert_eq!(stamp(&lineup, later[0]), (SECOND, 0));
    }

    #[tokio::test]
    async fn a_batch_that_expires_with_an_unknown_fate_breaks_the_series() {
        let settings = Settings { delivery_timeout: Duration::from_secs(1), ..Settings::default() };
        let mut lineup = Lineup::new(true);
        lineup.push(batch(1, &settings));
        let sent = send_all(&mut lineup, FIRST);
        let late = Instant::now() + Duration::from_secs(5);
        assert!(lineup.expire(late).is_empty(), "it is under way");
        assert!(fail(&mut lineup, sent[0], disconnected()));
        let expired = lineup.expire(late);
        assert!(expired.len() == 1 && expired[0].may_be_written);
        lineup.push(batch(1, &settings));
        assert_eq!(next(&mut lineup, Some(FIRST)), Next::Identify(Some(FIRST)));
    }

    #[tokio::test]
    async fn without_idempotence_nothing_is_numbered() {
        let mut lineup = Lineup::new(false);
        lineup.push(batch(1, &Settings::default()));
        let Next::Send(key) = next(&mut lineup, None) else { panic!("it needs no identity") };
        lineup.on_sent(key);
        assert!(lineup.get(key).unwrap().stamp.is_none());
        let refused = Attempt::Refused(ErrorCode::OutOfOrderSequenceNumber);
        assert!(!fail(&mut lineup, key, refused));
    }
}
