//! Looking at one partition: has time run out for any of its batches, is there one to send, and to
//! whom?

use std::time::Duration;

use thalweg_protocol::NodeId;
use tokio::time::Instant;

use super::Driver;
use crate::producer::accumulator::Gathering;
use crate::producer::batch::Batch;
use crate::producer::error::{Attempt, ProduceError, ProduceFault};
use crate::producer::lineup::{BatchKey, Next};

/// How long a record waits for company at most while the broker is busy, unless `linger` says.
const ADAPTIVE_LINGER_MAX: Duration = Duration::from_millis(2);

impl Driver {
    /// Puts the slot where it belongs: into the lane of its leader, among those that wait for
    /// something, or nowhere.
    pub(super) fn visit(&mut self, slot: usize, now: Instant) {
        self.expire(slot, now);
        let part = &self.parts[slot];
        if let Some(retry_at) = part.retry_at.filter(|retry_at| *retry_at > now) {
            self.set_timer(slot, retry_at);
            return;
        }
        let waiting = part.accumulator.waiting();
        let has_sealed = !part.lineup.is_spent();
        if !has_sealed && !waiting.has_full && waiting.open_since.is_none() {
            return;
        }
        let Some(leader) = self.leader(slot) else {
            self.unrouted.insert(slot);
            self.want_metadata();
            return;
        };
        let is_idle = self.lanes.get(&leader).is_none_or(|lane| lane.in_flight == 0);
        let ripe_at = waiting.open_since.and_then(|since| self.ripe_at(since, is_idle, now));
        if has_sealed || waiting.has_full || ripe_at.is_some_and(|ripe_at| ripe_at <= now) {
            // An answer to the batches under way is what brings it back.
            if self.parts[slot].lineup.in_flight() < self.shared.settings.max_in_flight {
                self.parts[slot].is_queued = true;
                self.lanes.entry(leader).or_default().waiting.push_back(slot);
            }
        } else if let Some(ripe_at) = ripe_at {
            self.set_timer(slot, ripe_at);
            self.lanes.entry(leader).or_default().lingering.insert(slot);
        }
    }

    /// When a batch that was opened at `since` has waited enough for more records.
    fn ripe_at(&self, since: Instant, is_idle: bool, now: Instant) -> Option<Instant> {
        match self.shared.settings.linger {
            Some(linger) => since.checked_add(linger),
            None if is_idle => Some(now),
            None => Some(since + ADAPTIVE_LINGER_MAX),
        }
    }

    pub(super) fn leader(&self, slot: usize) -> Option<NodeId> {
        let accumulator = &self.parts[slot].accumulator;
        let metadata = self.metadata.borrow();
        metadata.leader(&accumulator.topic, accumulator.partition).map(|broker| broker.id)
    }

    /// The next batch of the slot to go to an idle or busy broker, sealed and numbered.
    pub(super) fn pick(&mut self, slot: usize, is_idle: bool, now: Instant) -> Option<BatchKey> {
        let settings = &self.shared.settings;
        let part = &self.parts[slot];
        if part.lineup.in_flight() >= settings.max_in_flight {
            return None;
        }
        if part.lineup.is_spent() {
            let is_ripe = |open: &Gathering| {
                self.ripe_at(open.opened_at, is_idle, now).is_some_and(|ripe_at| ripe_at <= now)
            };
            let gathering = part.accumulator.take(is_ripe)?;
            self.seal(slot, gathering);
        }
        match self.parts[slot].lineup.next(self.identity, now) {
            Next::Send(key) => Some(key),
            Next::Nothing => None,
            Next::Identify(stale) => {
                self.want_identity(slot, stale);
                None
            }
        }
    }

    fn seal(&mut self, slot: usize, gathering: Gathering) {
        match Batch::seal(gathering, &self.shared.settings) {
            Ok(batch) => {
                self.set_timer(slot, batch.deadline);
                self.parts[slot].lineup.push(batch);
            }
            Err(unsealed) => {
                let completion = &unsealed.completion;
                let error = ProduceError {
                    topic: completion.topic.clone(),
                    partition: Some(completion.partition),
                    broker: None,
                    fault: ProduceFault::Batch(unsealed.error),
                };
                self.shared.complete(completion, unsealed.reserved, Err(error));
            }
        }
    }

    /// Fails what was not acknowledged in time, sealed or not, and arranges for the next time.
    pub(super) fn expire(&mut self, slot: usize, now: Instant) {
        let timeout = self.shared.settings.delivery_timeout;
        let accumulator = self.parts[slot].accumulator.clone();
        while let Some(overdue) = accumulator.take_opened_before(now.checked_sub(timeout)) {
            self.seal(slot, overdue);
        }
        for batch in self.parts[slot].lineup.expire(now) {
            let (broker, last) = batch.last.clone().unzip();
            let fault = ProduceFault::TimedOut {
                limit: timeout,
                may_be_written: batch.may_be_written,
                last: last.map(Box::new),
            };
            self.fail(batch, broker, fault);
        }
        let oldest = accumulator.waiting().oldest.map(|opened_at| opened_at + timeout);
        let next = [self.parts[slot].lineup.deadline(), oldest].into_iter().flatten().min();
        if let Some(next) = next {
            self.set_timer(slot, next.max(now));
        }
    }

    /// Fails everything of the slot that is not under way, as no attempt could succeed.
    pub(super) fn abandon(&mut self, slot: usize, attempt: &Attempt) {
        let accumulator = self.parts[slot].accumulator.clone();
        while let Some(gathering) = accumulator.take(|_| true) {
            self.seal(slot, gathering);
        }
        for batch in self.parts[slot].lineup.abandon() {
            self.fail(batch, None, ProduceFault::Unidentified(attempt.clone()));
        }
    }
}
