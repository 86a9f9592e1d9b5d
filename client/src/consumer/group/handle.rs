//! What a rebalance listener can do with the group and its partitions.

use std::sync::Arc;

use super::error::CommitError;
use super::shared::Shared;
use crate::cluster::GroupError;
use crate::committed_offset::CommittedOffset;
use crate::consumer::builder::{StartAt, unbegun};
use crate::consumer::{ConsumeError, ConsumeFault};
use crate::topic_partition::TopicPartition;

/// The group and its partitions, in the hands of a [`RebalanceListener`](super::RebalanceListener).
#[derive(Debug)]
pub struct GroupHandle {
    shared: Arc<Shared>,
}

impl GroupHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        GroupHandle { shared }
    }

    /// The group.
    pub fn group(&self) -> &Arc<str> {
        &self.shared.group
    }

    /// How often the group had divided its partitions when this member last took part; see
    /// [`Consumer::generation`](super::Consumer::generation).
    pub fn generation(&self) -> Option<i32> {
        self.shared.generation()
    }

    /// Commits what has been read of all partitions.
    ///
    /// Cancel-safe, in that nothing is left behind; it may have been carried out.
    pub async fn commit(&self) -> Result<(), CommitError> {
        self.shared.commit(self.shared.uncommitted(|_| true)).await
    }

    /// Commits these offsets.
    ///
    /// Cancel-safe, in that nothing is left behind; it may have been carried out.
    pub async fn commit_offsets(
        &self,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<(), CommitError> {
        self.shared.commit(offsets.to_vec()).await
    }

    /// Says how far the application has come in a partition; see
    /// [`Consumer::store`](super::Consumer::store).
    pub fn store_offset(
        &self,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<(), ConsumeError> {
        self.shared.store(partition, offset)
    }

    /// The offsets that the group has committed in some partitions; none where it has none.
    ///
    /// Cancel-safe.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Option<CommittedOffset>)>, GroupError> {
        self.shared.committed(partitions).await
    }

    /// The offset of the next record that will be given of a partition, if that is known yet.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.board.lock().find(partition)?.progress.get()
    }

    /// Goes on at another place in a partition. What was read ahead is dropped.
    pub fn seek(&self, partition: &TopicPartition, to: StartAt) -> Result<(), ConsumeError> {
        let mut board = self.shared.board.lock();
        let assignment = board.find(partition);
        let assignment = assignment.ok_or_else(|| unbegun(partition, ConsumeFault::NotAssigned))?;
        assignment.start_at(to);
        self.shared.board.bell.notify_one();
        Ok(())
    }
}
