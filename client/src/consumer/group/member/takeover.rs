//! From one assignment to the next: what is not the member's any more is given up, what is new is
//! taken over where the group has got to in it, and the consumer does both between two records.

use std::collections::BTreeSet;
use std::sync::Arc;

use thalweg_protocol::ErrorCode;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::{Member, Turn};
use crate::cluster::{GroupError, GroupFault};
use crate::consumer::group::shared::Shared;
use crate::consumer::group::step::{Start, Step};
use crate::topic_partition::TopicPartition;

impl Member {
    /// Makes the assignment the member's own. What others wait for is given up first, and asking
    /// for another rebalance gives it to them (KIP-429).
    pub(super) async fn take_over(&mut self, assigned: Vec<TopicPartition>) -> Result<(), Turn> {
        let assigned: BTreeSet<TopicPartition> = assigned.into_iter().collect();
        let revoked: Vec<TopicPartition> = self.owned.difference(&assigned).cloned().collect();
        let added: Vec<TopicPartition> = assigned.difference(&self.owned).cloned().collect();
        let is_anything_revoked = !revoked.is_empty();
        self.give_up(revoked).await?;
        self.receive(added).await?;
        if is_anything_revoked || self.wants_rejoin { Err(Turn::Rejoin) } else { Ok(()) }
    }

    /// Has the consumer give partitions up in good order.
    pub(super) async fn give_up(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Turn> {
        if partitions.is_empty() {
            return Ok(());
        }
        let (done, is_done) = oneshot::channel();
        let step = Step::Revoke { partitions: partitions.clone(), done };
        // Once begun the consumer sees it through, even if the member is lost meanwhile.
        self.owned.retain(|partition| !partitions.contains(partition));
        self.is_giving_up = true;
        self.step(step, is_done).await?;
        self.is_giving_up = false;
        Ok(())
    }

    pub(super) async fn receive(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Turn> {
        if partitions.is_empty() {
            return Ok(());
        }
        let starts = self.keep_alive(starts(self.shared.clone(), partitions.clone())).await?;
        let starts = starts.map_err(Turn::Fail)?;
        // From here on they may be the consumer's, so they are to be given up or lost.
        self.owned.extend(partitions);
        let (done, is_done) = oneshot::channel();
        self.step(Step::Assign { starts, done }, is_done).await
    }

    async fn step(&mut self, step: Step, is_done: oneshot::Receiver<()>) -> Result<(), Turn> {
        let steps = self.steps.clone();
        let taken = async move { steps.send(step).await.is_ok() && is_done.await.is_ok() };
        // A consumer that does not take steps any more has been dropped.
        if self.keep_alive(taken).await? { Ok(()) } else { Err(Turn::Leave) }
    }

    /// Has the consumer give up everything, which may be others' already. What it has begun to give
    /// up is waited for, as its last commit must not be made in the name of the next membership;
    /// and so is an application that stood still, without which there is no point in coming back.
    pub(super) async fn lose(&mut self, has_stood_still: bool) -> Result<(), Turn> {
        let partitions: Vec<TopicPartition> = std::mem::take(&mut self.owned).into_iter().collect();
        if partitions.is_empty() && !self.is_giving_up && !has_stood_still {
            return Ok(());
        }
        let (done, is_done) = oneshot::channel();
        let steps = self.steps.clone();
        let step = Step::Lose { partitions, done };
        let taken = async move { steps.send(step).await.is_ok() && is_done.await.is_ok() };
        tokio::pin!(taken);
        loop {
            match self.unless_commanded(&mut taken).await {
                Ok(true) => break,
                Ok(false) | Err(Turn::Leave) => return Err(Turn::Leave),
                // It joins anew in any case, with what it subscribes to by then.
                Err(_) => {}
            }
        }
        self.is_giving_up = false;
        Ok(())
    }
}

/// What the group has committed in the partitions; asked for until it is known.
async fn starts(
    shared: Arc<Shared>,
    partitions: Vec<TopicPartition>,
) -> Result<Vec<Start>, GroupError> {
    let (cluster, mut failures) = (shared.cluster.clone(), 0);
    loop {
        let asked =
            cluster.group_offsets(&shared.group, Some(&partitions), shared.settings.require_stable);
        let outcome = asked.await.and_then(|offsets| read(&shared, &partitions, offsets));
        match outcome {
            Ok(starts) => return Ok(starts),
            Err(error) if !error.is_retriable() => return Err(error),
            Err(error) => tracing::debug!(%error, "committed offsets not known yet"),
        }
        failures += 1;
        sleep(cluster.options.retry_backoff.delay(failures, &cluster.jitter)).await;
    }
}

fn read(
    shared: &Shared,
    partitions: &[TopicPartition],
    offsets: crate::cluster::GroupOffsets,
) -> Result<Vec<Start>, GroupError> {
    let mut told: std::collections::HashMap<TopicPartition, _> = offsets.into_iter().collect();
    let start = |partition: &TopicPartition| {
        let fault = match told.remove(partition) {
            Some(Ok(committed)) => return Ok((partition.clone(), committed)),
            // A topic that is just being deleted: the fetcher will tell.
            Some(Err(ErrorCode::UnknownTopicOrPartition)) => return Ok((partition.clone(), None)),
            Some(Err(error)) => GroupFault::Refused(error),
            None => GroupFault::LeftOut,
        };
        Err(GroupError::new(&shared.group, None, fault))
    };
    partitions.iter().map(start).collect()
}
