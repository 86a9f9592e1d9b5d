//! Offsets in the consumer's hands: committing what has been read, and looking up where to read.

use super::{CommitError, Consumer};
use crate::cluster::{FoundOffset, GroupError, OffsetAt, PartitionError};
use crate::committed_offset::CommittedOffset;
use crate::consumer::{ConsumeError, ConsumerRecord};
use crate::topic_partition::TopicPartition;

impl Consumer {
    /// Commits everything that this consumer has been given of all its partitions, the last record
    /// included; where the application [says itself](super::GroupConsumerBuilder::manual_store)
    /// how far it has come, what it has stored.
    ///
    /// Cancel-safe, in that nothing is left behind; it may have been carried out.
    pub async fn commit(&mut self) -> Result<(), CommitError> {
        self.records.settle();
        self.shared.commit(self.shared.uncommitted(|_| true)).await
    }

    /// The same, without waiting. Failures are logged, and made good by the next commit.
    pub fn commit_in_background(&mut self) {
        self.records.settle();
        self.shared.commit_bell.notify_one();
    }

    /// Says that the record and those before it in its partition are done with, where the
    /// application is the one to [say so](super::GroupConsumerBuilder::manual_store). The next
    /// commit, or the one before its partition goes to another member, commits that. What was read
    /// before the partition was last given to this consumer, or before a seek in it, is refused:
    /// others may be further. Otherwise, and where reading on is what says so, it changes nothing.
    pub fn store(&self, record: &ConsumerRecord) -> Result<(), ConsumeError> {
        self.store_offset(&record.source, record.offset.saturating_add(1))
    }

    /// The same of everything before `offset`.
    pub fn store_offset(
        &self,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<(), ConsumeError> {
        self.shared.store(partition, offset)
    }

    /// Commits the record and those before it in its partition.
    ///
    /// Cancel-safe, in that nothing is left behind; it may have been carried out.
    pub async fn commit_record(&self, record: &ConsumerRecord) -> Result<(), CommitError> {
        let next = CommittedOffset {
            leader_epoch: record.leader_epoch,
            ..CommittedOffset::new(record.offset.saturating_add(1))
        };
        self.shared.commit(vec![(TopicPartition::clone(&record.source), next)]).await
    }

    /// Commits these offsets: of each partition the one of the next record to read, with a note if
    /// wished.
    ///
    /// Cancel-safe, in that nothing is left behind; it may have been carried out.
    pub async fn commit_offsets(
        &self,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<(), CommitError> {
        self.shared.commit(offsets.to_vec()).await
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

    /// Looks up the first record at or after a time, in each of some partitions. None where no
    /// record is late enough.
    ///
    /// Cancel-safe.
    pub async fn offsets_for_time(
        &self,
        partitions: &[TopicPartition],
        timestamp_ms: i64,
    ) -> Vec<Result<Option<FoundOffset>, PartitionError>> {
        self.records.offsets_for_time(partitions, timestamp_ms).await
    }

    /// The offset of the oldest record of each of some partitions.
    ///
    /// Cancel-safe.
    pub async fn beginning_offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Vec<Result<i64, PartitionError>> {
        self.ends(partitions, OffsetAt::Earliest).await
    }

    /// The offset after the newest record of each of some partitions; reading committed records,
    /// after the newest that is decided.
    ///
    /// Cancel-safe.
    pub async fn end_offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Vec<Result<i64, PartitionError>> {
        self.ends(partitions, OffsetAt::Latest).await
    }

    async fn ends(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
    ) -> Vec<Result<i64, PartitionError>> {
        let wanted: Vec<_> = partitions.iter().map(|it| (it.clone(), at)).collect();
        let isolation = self.records.board.settings.isolation;
        let found = self.shared.cluster.find_offsets(&wanted, isolation).await;
        // Even an empty partition has ends; a broker without an answer has no records.
        let offset = |found: Option<FoundOffset>| found.map_or(0, |found| found.offset);
        found.into_iter().map(|outcome| outcome.map(offset)).collect()
    }
}
