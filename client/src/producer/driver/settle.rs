//! What answers mean: batches are settled or stay in line, brokers have room again. Every batch
//! that was sent passes here exactly once for each attempt.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use thalweg_protocol::messages::ProduceResponse;
use thalweg_protocol::{ErrorCode, NodeId};
use tokio::time::{Instant, sleep};

use super::{Driver, Event};
use crate::address::BrokerAddress;
use crate::error::RequestError;
use crate::observer::ObservedBatch;
use crate::producer::batch::{Batch, Identity};
use crate::producer::delivery::Receipt;
use crate::producer::error::{Attempt, ProduceError, ProduceFault};
use crate::producer::exchange::{NewLeader, PartitionAnswer, Sent, answers};
use crate::producer::lineup::Verdict;

impl Driver {
    pub(super) fn on_answered(
        &mut self,
        node: NodeId,
        broker: &BrokerAddress,
        sent: &[Sent],
        outcome: Result<Option<ProduceResponse>, RequestError>,
    ) {
        let lane = self.lanes.entry(node).or_default();
        lane.in_flight -= 1;
        let is_idle = lane.in_flight == 0;
        let lingering = if is_idle { std::mem::take(&mut lane.lingering) } else { BTreeSet::new() };
        let answers = match outcome {
            Ok(Some(response)) => {
                self.throttle(node, response.throttle_time_ms);
                answers(sent, &response)
            }
            Ok(None) => same_for_all(sent, &Ok(WRITTEN_SOMEWHERE)),
            Err(error) => {
                tracing::debug!(%error, "a produce request failed");
                same_for_all(sent, &Err(Attempt::Unanswered(Arc::new(error))))
            }
        };
        let now = Instant::now();
        for (batch, answer) in sent.iter().zip(answers) {
            self.settle(batch, broker, answer, now);
            self.queue(batch.slot);
        }
        self.queue_all(lingering);
    }

    fn settle(
        &mut self,
        sent: &Sent,
        broker: &BrokerAddress,
        answer: PartitionAnswer,
        now: Instant,
    ) {
        let part = &mut self.parts[sent.slot];
        let PartitionAnswer { outcome, message, leader } = answer;
        let attempt = match outcome {
            Ok(receipt) => {
                part.failures = 0;
                part.retry_at = None;
                if let Some(batch) = part.lineup.on_acknowledged(sent.key, now) {
                    self.observe(&batch, true);
                    self.shared.complete(&batch.completion, batch.reserved, Ok(receipt));
                }
                return;
            }
            Err(attempt) => attempt,
        };
        let verdict = part.lineup.on_failed(sent.key, broker, attempt.clone());
        match verdict {
            Some(Verdict::Failed(batch)) => {
                let fault = match attempt {
                    Attempt::Refused(error) => ProduceFault::Refused { error, message },
                    other => ProduceFault::Attempt(other),
                };
                self.fail(batch, Some(broker.clone()), fault);
            }
            Some(Verdict::Again) => self.postpone(sent, broker, &attempt, leader),
            None => {}
        }
    }

    /// Arranges for the next attempt: at once where it is known whom to ask instead.
    fn postpone(
        &mut self,
        sent: &Sent,
        broker: &BrokerAddress,
        attempt: &Attempt,
        leader: Option<NewLeader>,
    ) {
        tracing::debug!(topic = %sent.topic, partition = sent.partition, %attempt, "trying again");
        if let Some(observer) = &self.cluster.options.observer {
            observer.on_retry(&sent.topic, sent.partition);
        }
        if let Some((leader, epoch, endpoint)) = leader {
            self.cluster.learn_leader(&sent.topic, sent.partition, (leader, epoch), endpoint);
        }
        let has_moved = self.leader(sent.slot).is_some_and(|now| Some(now) != broker.node());
        let part = &mut self.parts[sent.slot];
        if has_moved {
            part.retry_at = None;
            return;
        }
        part.failures = part.failures.saturating_add(1);
        let delay = self.cluster.options.retry_backoff.delay(part.failures, &self.cluster.jitter);
        part.retry_at = Some(Instant::now() + delay);
        if is_about_leadership(attempt) {
            self.want_metadata();
        }
    }

    fn observe(&self, batch: &Batch, succeeded: bool) {
        if let Some(observer) = &self.cluster.options.observer {
            observer.on_batch(&ObservedBatch {
                topic: &batch.completion.topic,
                partition: batch.completion.partition,
                records: usize::try_from(batch.record_count).unwrap_or_default(),
                bytes: batch.bytes.len(),
                succeeded,
            });
        }
    }

    pub(super) fn fail(
        &mut self,
        batch: Batch,
        broker: Option<BrokerAddress>,
        fault: ProduceFault,
    ) {
        self.observe(&batch, false);
        let Batch { completion, reserved, .. } = batch;
        let error = ProduceError {
            topic: completion.topic.clone(),
            partition: Some(completion.partition),
            broker,
            fault,
        };
        self.shared.complete(&completion, reserved, Err(error));
    }

    fn throttle(&mut self, node: NodeId, throttle_time_ms: i32) {
        let Some(pause) = u64::try_from(throttle_time_ms).ok().filter(|pause| *pause > 0) else {
            return;
        };
        self.lanes.entry(node).or_default().is_throttled = true;
        let over = async move {
            sleep(Duration::from_millis(pause)).await;
            Event::Unthrottled(node)
        };
        self.events.push(over.boxed());
    }

    pub(super) fn on_identified(&mut self, outcome: Result<Identity, Attempt>) {
        self.is_identifying = false;
        let unidentified = std::mem::take(&mut self.unidentified);
        match outcome {
            Ok(identity) => self.identity = Some(identity),
            Err(attempt) if attempt.is_retriable() => {
                tracing::debug!(%attempt, "no producer id yet");
            }
            Err(attempt) => unidentified.iter().for_each(|slot| self.abandon(*slot, &attempt)),
        }
        self.queue_all(unidentified);
    }
}

/// What is known of a batch that the broker was asked not to answer for.
const WRITTEN_SOMEWHERE: Receipt = Receipt { base_offset: None, log_append_time: None };

fn same_for_all(sent: &[Sent], outcome: &Result<Receipt, Attempt>) -> Vec<PartitionAnswer> {
    let answer = || PartitionAnswer { outcome: outcome.clone(), message: None, leader: None };
    sent.iter().map(|_| answer()).collect()
}

/// Whether metadata may be wrong.
fn is_about_leadership(attempt: &Attempt) -> bool {
    match attempt {
        Attempt::Unreached(_) | Attempt::Unanswered(_) => true,
        Attempt::Refused(error) => matches!(
            error,
            ErrorCode::NotLeaderOrFollower
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::InconsistentTopicId
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::KafkaStorageError
                | ErrorCode::ReplicaNotAvailable
        ),
        Attempt::LeftOut => false,
    }
}
