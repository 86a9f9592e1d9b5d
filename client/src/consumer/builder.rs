//! What a consumer is configured with, and which partitions it reads. Building checks that they are
//! there and starts the fetcher.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::PartitionConsumer;
use super::error::{ConsumeError, ConsumeFault};
use super::group::GroupConsumerBuilder;
use super::interceptor::{Interceptor, Interceptors};
use crate::cluster::{Cluster, Isolation};
use crate::record::now_ms;
use crate::topic_partition::TopicPartition;

/// Where in a partition to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest record there is.
    Earliest,
    /// After the newest: only what is written from now on.
    Latest,
    /// At this offset.
    Offset(i64),
    /// At the first record with this timestamp, in milliseconds since 1970, or a later one; after
    /// the newest if there is none.
    Timestamp(i64),
}

/// Where to go on when the position is outside the log, or when a group has none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OffsetReset {
    /// At the oldest record there is.
    Earliest,
    /// After the newest.
    Latest,
    /// At the oldest record that is no older than this (KIP-1106).
    Newer(Duration),
    /// Nowhere: it is reported, and a seek is waited for.
    #[default]
    Fail,
}

impl OffsetReset {
    /// The place, which failing has none of.
    pub(super) fn start(self) -> StartAt {
        match self {
            OffsetReset::Earliest => StartAt::Earliest,
            OffsetReset::Latest | OffsetReset::Fail => StartAt::Latest,
            OffsetReset::Newer(age) => {
                let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                StartAt::Timestamp(now_ms().saturating_sub(age_ms).max(0))
            }
        }
    }
}

/// The settings of a [`PartitionConsumer`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct ConsumerBuilder {
    cluster: Arc<Cluster>,
    settings: Settings,
    partitions: Vec<(TopicPartition, StartAt)>,
    topics: Vec<(Arc<str>, StartAt)>,
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) isolation: Isolation,
    pub(super) on_out_of_range: OffsetReset,
    pub(super) max_wait: Duration,
    pub(super) min_bytes: usize,
    pub(super) max_bytes: usize,
    pub(super) partition_max_bytes: usize,
    pub(super) prefetch_bytes: usize,
    pub(super) batch_bytes_max: usize,
    pub(super) check_crcs: bool,
    pub(super) stop_at_end: bool,
    /// What may pass is waited out for as long as the partition is assigned.
    pub(super) is_patient: bool,
    pub(super) interceptors: Interceptors,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            isolation: Isolation::ReadUncommitted,
            on_out_of_range: OffsetReset::Fail,
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 16 * 1024 * 1024,
            partition_max_bytes: 1024 * 1024,
            prefetch_bytes: 32 * 1024 * 1024,
            batch_bytes_max: 128 * 1024 * 1024,
            check_crcs: true,
            stop_at_end: false,
            is_patient: false,
            interceptors: Interceptors::default(),
        }
    }
}

impl ConsumerBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        ConsumerBuilder {
            cluster,
            settings: Settings::default(),
            partitions: Vec::new(),
            topics: Vec::new(),
        }
    }

    /// Reads one partition more.
    pub fn partition(mut self, topic: &str, partition: i32, start: StartAt) -> Self {
        self.partitions.push((TopicPartition::new(topic, partition), start));
        self
    }

    /// Reads several partitions more.
    pub fn assign(
        mut self,
        partitions: impl IntoIterator<Item = (TopicPartition, StartAt)>,
    ) -> Self {
        self.partitions.extend(partitions);
        self
    }

    /// Reads all partitions that the topic has now.
    pub fn topic(mut self, topic: &str, start: StartAt) -> Self {
        self.topics.push((topic.into(), start));
        self
    }

    /// Which records to give. Default [`Isolation::ReadUncommitted`].
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.settings.isolation = isolation;
        self
    }

    /// What to do when the position is outside the log. Default [`OffsetReset::Fail`].
    pub fn on_offset_out_of_range(mut self, action: OffsetReset) -> Self {
        self.settings.on_out_of_range = action;
        self
    }

    /// How long a broker may wait for `min_bytes` before it answers with less. Default 500 ms.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.settings.max_wait = wait;
        self
    }

    /// How much a broker waits for. Default 1 byte: it answers as soon as there is anything.
    pub fn min_bytes(mut self, bytes: usize) -> Self {
        self.settings.min_bytes = bytes;
        self
    }

    /// How much one answer carries in all, unless a single batch is larger. Default 16 MiB.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_bytes = bytes.max(1);
        self
    }

    /// How much of one partition one answer carries, unless a single batch is larger. Default 1
    /// MiB.
    pub fn partition_max_bytes(mut self, bytes: usize) -> Self {
        self.settings.partition_max_bytes = bytes.max(1);
        self
    }

    /// How much is read ahead of the caller, as it comes from the broker. Default 32 MiB.
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.settings.prefetch_bytes = bytes.max(1);
        self
    }

    /// How large a batch may be once decompressed; a larger one is an error. Default 128 MiB.
    pub fn batch_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.batch_bytes_max = bytes;
        self
    }

    /// Whether checksums are verified. Default true.
    pub fn check_crcs(mut self, check: bool) -> Self {
        self.settings.check_crcs = check;
        self
    }

    /// Whether to end at the end: when all partitions have been read up to where they ended as
    /// reading began, there is no next record. Default false: it waits for more.
    pub fn stop_at_end(mut self, stop: bool) -> Self {
        self.settings.stop_at_end = stop;
        self
    }

    /// Shows what is read to this interceptor, after those set before it.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.settings.interceptors.add(interceptor);
        self
    }

    /// Reads as a member of a group instead, which divides the partitions of its topics among its
    /// members and keeps track of how far each has been read. Partitions and topics named so far
    /// are forgotten, the other settings stay.
    pub fn group(self, group: &str) -> GroupConsumerBuilder {
        GroupConsumerBuilder::new(self.cluster, self.settings, group)
    }

    /// Checks that the partitions are there, and begins to read ahead.
    ///
    /// Cancel-safe.
    pub async fn build(mut self) -> Result<PartitionConsumer, ConsumeError> {
        let deadline = Instant::now() + self.cluster.options.operation_timeout;
        for (topic, start) in std::mem::take(&mut self.topics) {
            let count =
                self.partition_count(&TopicPartition::new(topic.clone(), 0), deadline).await?;
            let count = i32::try_from(count).unwrap_or(i32::MAX);
            let all = (0..count).map(|index| (TopicPartition::new(topic.clone(), index), start));
            self.partitions.extend(all);
        }
        for (partition, _) in &self.partitions {
            let partition_count = self.partition_count(partition, deadline).await?;
            let index = usize::try_from(partition.partition).unwrap_or(usize::MAX);
            if index >= partition_count {
                let fault = ConsumeFault::NoSuchPartition { partition_count };
                return Err(unbegun(partition, fault));
            }
        }
        Ok(PartitionConsumer::start(self.cluster, self.settings, self.partitions))
    }

    async fn partition_count(
        &self,
        partition: &TopicPartition,
        deadline: Instant,
    ) -> Result<usize, ConsumeError> {
        let topic = self.cluster.topic(&partition.topic, false, deadline).await;
        let topic = topic
            .map_err(|error| unbegun(partition, ConsumeFault::Topic(Box::new(error.fault))))?;
        Ok(topic.partitions.len())
    }
}

pub(super) fn unbegun(partition: &TopicPartition, fault: ConsumeFault) -> ConsumeError {
    ConsumeError { partition: partition.clone(), offset: None, broker: None, fault }
}
