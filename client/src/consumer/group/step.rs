//! What the member task asks of the consumer, and how the consumer does it: between two records,
//! one at a time.
//!
//! A step may take a while (committing, the listener's callback). It is kept as a future in the
//! consumer, so a call that is cancelled leaves it to the next.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::listener::{AnyListener, Change};
use super::shared::Shared;
use super::{Consumer, ConsumerError, GroupHandle};
use crate::cluster::GroupError;
use crate::committed_offset::CommittedOffset;
use crate::consumer::board::{Assignment, BoardState, Chunk, Content, NextFetch};
use crate::consumer::builder::{OffsetReset, StartAt};
use crate::consumer::{ConsumeError, ConsumeFault};
use crate::topic_partition::TopicPartition;

/// Something that only the consumer can do, and the way to say that it is done.
#[derive(Debug)]
pub(super) enum Step {
    /// Take over partitions, each at what the group has committed in it.
    Assign { starts: Vec<Start>, done: oneshot::Sender<()> },
    /// Give partitions up in good order.
    Revoke { partitions: Vec<TopicPartition>, done: oneshot::Sender<()> },
    /// Give partitions up that may be somebody else's already. Without any it only says that the
    /// consumer has come this far.
    Lose { partitions: Vec<TopicPartition>, done: oneshot::Sender<()> },
    /// There is no going on.
    Fail(GroupError),
}

/// A partition, and what the group has committed in it.
pub(super) type Start = (TopicPartition, Option<CommittedOffset>);

pub(super) struct UnderWay {
    change: Change,
    partitions: Arc<[TopicPartition]>,
    done: oneshot::Sender<()>,
    work: BoxFuture<'static, Option<Box<dyn AnyListener>>>,
}

impl Consumer {
    /// Takes all steps that there are.
    pub(super) async fn follow(&mut self) -> Result<(), ConsumerError> {
        loop {
            if self.under_way.is_some() {
                self.finish().await;
            }
            if let Some(error) = &self.failed {
                return Err(error.clone().into());
            }
            match self.steps.try_recv() {
                Ok(step) => self.begin(step),
                Err(_) => return Ok(()),
            }
        }
    }

    pub(super) fn begin(&mut self, step: Step) {
        // Whoever asks for more is done with what it has.
        self.records.settle();
        let (change, partitions, done) = match step {
            Step::Fail(error) => {
                self.failed = Some(error);
                return;
            }
            Step::Assign { starts, done } => {
                self.place(&starts);
                (Change::Assigned, starts.into_iter().map(|(it, _)| it).collect(), done)
            }
            Step::Revoke { partitions, done } => (Change::Revoked, partitions, done),
            Step::Lose { partitions, done } if partitions.is_empty() => {
                let _ = done.send(());
                return;
            }
            Step::Lose { partitions, done } => (Change::Lost, partitions, done),
        };
        let partitions: Arc<[TopicPartition]> = partitions.into();
        let work = work(self.shared.clone(), self.listener.take(), change, partitions.clone());
        self.under_way = Some(UnderWay { change, partitions, done, work: Box::pin(work) });
    }

    /// Sees the step through that is under way. Cancel-safe.
    pub(super) async fn finish(&mut self) {
        let Some(under_way) = &mut self.under_way else { return };
        self.listener = (&mut under_way.work).await;
        let Some(UnderWay { change, partitions, done, .. }) = self.under_way.take() else { return };
        for partition in &*partitions {
            if change == Change::Assigned {
                if let Some(assignment) = self.records.board.lock().find(partition) {
                    assignment.is_held = false;
                }
            } else {
                self.records.forget_opened(partition);
                self.records.board.lock().unassign(partition);
                self.shared.note_committed(partition, None);
            }
        }
        if let Some(observer) = &self.shared.cluster.options.observer {
            observer.on_rebalance(&self.shared.group, change.observed(), &partitions);
        }
        // The callback may have sought elsewhere.
        self.records.forget_outdated();
        self.records.board.bell.notify_one();
        // The member task may have gone on to other things, such as leaving.
        let _ = done.send(());
    }

    /// Takes partitions over, which are not read before the listener knows of them.
    fn place(&self, starts: &[Start]) {
        let reset = self.shared.settings.auto_offset_reset;
        let mut board = self.records.board.lock();
        for (partition, committed) in starts {
            self.shared.note_committed(partition, committed.as_ref().map(|it| it.offset));
            let start = committed.as_ref().map(|it| StartAt::Offset(it.offset));
            let start = start.unwrap_or_else(|| reset.start());
            let mut assignment = Assignment::from((partition.clone(), start));
            assignment.is_held = true;
            if let NextFetch::From { last_epoch, .. } = &mut assignment.next_fetch {
                *last_epoch = committed.as_ref().and_then(|it| it.leader_epoch);
            }
            assignment.has_failed = committed.is_none() && reset == OffsetReset::Fail;
            let has_failed = assignment.has_failed;
            board.assign(assignment);
            if has_failed {
                report_missing_offset(&mut board, partition);
            }
        }
    }
}

/// The application is told when it asks for the next record.
fn report_missing_offset(board: &mut BoardState, partition: &TopicPartition) {
    let Some((place, generation)) = board.place_of(partition) else { return };
    let error = ConsumeError {
        partition: partition.clone(),
        offset: None,
        broker: None,
        fault: ConsumeFault::NothingCommitted,
    };
    board.push(Chunk { place, generation, content: Content::Failed(error), bytes: 0 });
}

/// What takes time about a step.
async fn work(
    shared: Arc<Shared>,
    listener: Option<Box<dyn AnyListener>>,
    change: Change,
    partitions: Arc<[TopicPartition]>,
) -> Option<Box<dyn AnyListener>> {
    if change == Change::Revoked && shared.settings.auto_commit.is_some() {
        let offsets = shared.uncommitted(|partition| partitions.contains(partition));
        if let Err(error) = shared.commit(offsets).await {
            tracing::warn!(group = %shared.group, %error, "offsets of revoked partitions not kept");
        }
    }
    match listener {
        Some(listener) => Some(listener.tell(change, GroupHandle::new(shared), partitions).await),
        None => None,
    }
}
