//! Reading as a member of a group: the group divides the partitions of its topics among its
//! members, and keeps how far each has been read.
//!
//! A member task joins, heartbeats and follows rebalances; another commits in the background. What
//! changes the consumer's partitions is a [`Step`], which the consumer takes inside its own calls
//! for records: so a partition is given up only when the application is done with what it was
//! given of it, and what is committed then is exact.

mod assignor;
mod builder;
mod error;
mod handle;
mod listener;
mod liveness;
mod member;
mod offsets;
mod shared;
mod step;

use std::sync::Arc;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

pub use assignor::Assignor;
pub use builder::{GroupConsumerBuilder, GroupProtocol};
pub use error::{CommitError, ConsumerError};
pub use handle::GroupHandle;
pub use listener::RebalanceListener;

use self::listener::{AnyListener, Change};
use self::member::Command;
use self::shared::Shared;
use self::step::{Step, UnderWay};
use super::{ConsumeError, ConsumerRecord, PartitionConsumer, RecordBatch, StartAt, Watermarks};
use crate::cluster::GroupError;
use crate::topic_partition::TopicPartition;

/// Steps that may wait for the consumer.
const STEPS_MAX: usize = 2;

/// Reads topics as a member of a group.
///
/// Records come from [`next`](Self::next), [`next_batch`](Self::next_batch) or
/// [`stream`](Self::stream). Asking for the next one says that the application is done with the one
/// before: that is what is committed, by itself or by [`commit`](Self::commit), so every record is
/// processed at least once.
///
/// [`close`](Self::close) leaves the group in good order. Dropping it has the same done in the
/// background, if the runtime lives on: the last record given does not count as processed then.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use thalweg_client::Client;
/// use thalweg_client::consumer::OffsetReset;
///
/// let client = Client::connect("localhost:9092").await?;
/// let mut consumer = client
///     .consumer()
///     .group("billing")
///     .subscribe(["orders", "refunds"])
///     .auto_offset_reset(OffsetReset::Earliest)
///     .build();
/// loop {
///     let record = consumer.next().await?;
///     println!("{}: {:?}", record.source, record.value);
/// }
/// # }
/// ```
pub struct Consumer {
    records: PartitionConsumer,
    shared: Arc<Shared>,
    steps: mpsc::Receiver<Step>,
    commands: mpsc::Sender<Command>,
    listener: Option<Box<dyn AnyListener>>,
    /// The step that is being taken, perhaps begun by a call that was cancelled.
    under_way: Option<UnderWay>,
    failed: Option<GroupError>,
    member: JoinHandle<()>,
    committing: AbortHandle,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // The member task sees that nobody commands it any more, commits and leaves.
        self.committing.abort();
    }
}

impl Consumer {
    /// The next record of any of the partitions; within each, in order. Waits for one if need be,
    /// and follows rebalances meanwhile.
    ///
    /// Cancel-safe: no record is lost, and a rebalance goes on with the next call. The record given
    /// before counts as processed as soon as this is called.
    pub async fn next(&mut self) -> Result<ConsumerRecord, ConsumerError> {
        self.shared.liveness.sign();
        loop {
            self.follow().await?;
            let next = self.records.try_next()?;
            self.shared.on_progress();
            if let Some(record) = next {
                return Ok(record);
            }
            self.wait().await;
        }
    }

    /// The next batch of any of the partitions, given whole. What `next` has left of a batch is
    /// passed over. Otherwise as [`next`](Self::next).
    pub async fn next_batch(&mut self) -> Result<RecordBatch, ConsumerError> {
        self.shared.liveness.sign();
        loop {
            self.follow().await?;
            let next = self.records.try_next_batch()?;
            self.shared.on_progress();
            if let Some(batch) = next {
                return Ok(batch);
            }
            self.wait().await;
        }
    }

    /// The records as a stream, which never ends; after an error that is final it gives that error
    /// again and again.
    pub fn stream(&mut self) -> impl Stream<Item = Result<ConsumerRecord, ConsumerError>> + '_ {
        futures_util::stream::unfold(self, async |consumer| {
            let next = consumer.next().await;
            Some((next, consumer))
        })
    }

    /// Waits until there may be something to give or to do.
    async fn wait(&mut self) {
        let Self { records, shared, steps, .. } = self;
        let waiting = shared.liveness.wait();
        let step = tokio::select! {
            biased;
            Some(step) = steps.recv() => Some(step),
            () = records.board.arrival.notified() => None,
        };
        drop(waiting);
        if let Some(step) = step {
            self.begin(step);
        }
    }

    /// Says that the application is still at work on what it was given, when that takes longer than
    /// the [`max_poll_interval`](GroupConsumerBuilder::max_poll_interval).
    pub fn signal_progress(&self) {
        self.shared.liveness.sign();
    }

    /// The group.
    pub fn group(&self) -> &Arc<str> {
        &self.shared.group
    }

    /// The id that the group knows this member by; none while it is no member.
    pub fn member_id(&self) -> Option<String> {
        let identity = self.shared.identity();
        (identity.generation >= 0).then(|| identity.member_id.to_string())
    }

    /// How often the group had divided its partitions when this member last took part, as the
    /// coordinator counts; none while it is no member. Where the coordinator divides (KIP-848),
    /// every member counts its own.
    pub fn generation(&self) -> Option<i32> {
        self.shared.generation()
    }

    /// The partitions that this consumer has now.
    pub fn assignment(&self) -> Vec<Arc<TopicPartition>> {
        self.records.partitions()
    }

    /// The offset of the next record that will be given of a partition, if that is known yet.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.records.position(partition)
    }

    /// The bounds of a partition, as last told with an answer; none before the first.
    pub fn watermarks(&self, partition: &TopicPartition) -> Option<Watermarks> {
        self.records.watermarks(partition)
    }

    /// How many offsets this consumer is behind the end of a partition, as far as known.
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        let end = self.watermarks(partition)?.high_watermark;
        Some((end - self.position(partition)?).max(0))
    }

    /// Goes on at another place in a partition, also after an error. What was read ahead is
    /// dropped.
    pub fn seek(&mut self, partition: &TopicPartition, to: StartAt) -> Result<(), ConsumeError> {
        self.records.seek(partition, to)
    }

    /// Gives no records of a partition until it is resumed, or has been given up and come back.
    /// Those read ahead are kept.
    pub fn pause(&mut self, partition: &TopicPartition) -> Result<(), ConsumeError> {
        self.records.pause(partition)
    }

    /// Gives records of a partition again.
    pub fn resume(&mut self, partition: &TopicPartition) -> Result<(), ConsumeError> {
        self.records.resume(partition)
    }

    /// Subscribes to these topics instead of those named before; the group rebalances. A regular
    /// expression stays in force.
    ///
    /// Cancel-safe: it is done or not.
    pub async fn subscribe<T: AsRef<str>>(&self, topics: impl IntoIterator<Item = T>) {
        let topics = topics.into_iter().map(|topic| Arc::from(topic.as_ref())).collect();
        // Whoever has failed has told so elsewhere.
        let _ = self.commands.send(Command::Subscribe(topics)).await;
    }

    /// Has the group divide its partitions anew.
    ///
    /// Cancel-safe: it is done or not.
    pub async fn rebalance(&self) {
        let _ = self.commands.send(Command::Rejoin).await;
    }

    /// Leaves the group: what has been read is committed if the consumer commits by itself, the
    /// listener is told that the partitions are given up, and the others get them at once. A
    /// static member only stops, so that it may come back.
    ///
    /// Not cancel-safe: what is not done yet is done in the background as if it were dropped.
    pub async fn close(mut self) -> Result<(), CommitError> {
        self.records.settle();
        if self.under_way.is_some() {
            self.finish().await;
        }
        let is_member = self.shared.is_member();
        let mut outcome = Ok(());
        if is_member && self.shared.settings.auto_commit.is_some() {
            outcome = self.shared.commit(self.shared.uncommitted(|_| true)).await;
        }
        let assignment = self.assignment();
        if let Some(listener) = self.listener.take().filter(|_| !assignment.is_empty()) {
            let change = if is_member { Change::Revoked } else { Change::Lost };
            let partitions = assignment.iter().map(|it| TopicPartition::clone(it)).collect();
            listener.tell(change, GroupHandle::new(self.shared.clone()), partitions).await;
        }
        let _ = self.commands.send(Command::Leave).await;
        // It ends once it has left, or has failed before.
        let _ = (&mut self.member).await;
        outcome
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("group", &self.shared.group)
            .field("assignment", &self.assignment())
            .finish_non_exhaustive()
    }
}
