//! Reading records: as a [`Consumer`], a member of a group that divides partitions and remembers
//! positions; or as a [`PartitionConsumer`], from partitions and positions that the caller knows.
//!
//! A task reads ahead, bounded in bytes, over connections of its own. What the broker sent is
//! shared, never copied: a record is a view of the answer it came in, or of its decompressed batch.

mod answer;
mod board;
mod builder;
mod error;
mod fetched;
mod fetcher;
mod group;
mod interceptor;
mod record;
mod request;

use std::sync::Arc;

use futures_util::Stream;
use tokio::task::AbortHandle;

pub use board::Watermarks;
pub use builder::{ConsumerBuilder, OffsetReset, StartAt};
pub use error::{ConsumeError, ConsumeFault};
pub use group::{
    Assignor, CommitError, Consumer, ConsumerError, GroupConsumerBuilder, GroupHandle,
    GroupProtocol, RebalanceListener,
};
pub use interceptor::{Consumed, Interceptor};
pub use record::{ConsumerRecord, IntoRecords, RecordBatch};

use crate::cluster::{Cluster, FoundOffset, Isolation, OffsetAt, PartitionError};
use crate::topic_partition::TopicPartition;
use board::{Assignment, Board, Chunk, Content, Progress};
use builder::{Settings, unbegun};
use fetched::known_epoch;
use fetcher::Fetcher;

/// Reads partitions, without a group: nobody else keeps track of what has been read.
#[derive(Debug)]
pub struct PartitionConsumer {
    cluster: Arc<Cluster>,
    board: Arc<Board>,
    /// The batch that `next` is taking records from.
    current: Option<Opened>,
    /// Those of partitions that were paused meanwhile.
    held: Vec<Opened>,
    /// How far the batch that `next_batch` gave last goes, which the caller may still be busy with.
    given: Option<(Arc<Progress>, i64)>,
    fetching: AbortHandle,
}

/// A batch that was read.
struct Arrived {
    batch: RecordBatch,
    progress: Arc<Progress>,
    place: usize,
    generation: u64,
}

/// A batch that was begun.
#[derive(Debug)]
struct Opened {
    records: IntoRecords,
    progress: Arc<Progress>,
    place: usize,
    generation: u64,
}

impl Drop for PartitionConsumer {
    fn drop(&mut self) {
        self.fetching.abort();
    }
}

impl PartitionConsumer {
    /// Begins to read ahead.
    fn start(
        cluster: Arc<Cluster>,
        settings: Settings,
        partitions: Vec<(TopicPartition, StartAt)>,
    ) -> Self {
        let assignments = partitions.into_iter().map(Assignment::from).collect();
        let board = Arc::new(Board::new(settings, assignments));
        let fetching = tokio::spawn(Fetcher::new(cluster.clone(), board.clone()).run());
        let fetching = fetching.abort_handle();
        PartitionConsumer { cluster, board, current: None, held: Vec::new(), given: None, fetching }
    }

    /// The next record of any of the partitions; within each, in order. None when the end has been
    /// reached, if the consumer [stops there](ConsumerBuilder::stop_at_end).
    ///
    /// After an error the partition it names stands still until a seek, and the others go on.
    ///
    /// Cancel-safe: no record is lost.
    pub async fn next(&mut self) -> Result<Option<ConsumerRecord>, ConsumeError> {
        loop {
            if let Some(record) = self.try_next()? {
                return Ok(Some(record));
            }
            if self.is_over() {
                return Ok(None);
            }
            self.board.arrival.notified().await;
        }
    }

    /// The next record, if one has been read.
    fn try_next(&mut self) -> Result<Option<ConsumerRecord>, ConsumeError> {
        self.settle();
        loop {
            if let Some(opened) = &mut self.current {
                match opened.records.next() {
                    Some(Ok(record)) => {
                        self.board.settings.interceptors.on_consume(Consumed::Record(&record));
                        return Ok(Some(record));
                    }
                    Some(Err(error)) => {
                        let (place, generation) = (opened.place, opened.generation);
                        if let Some(assignment) = self.board.lock().current(place, generation) {
                            assignment.position = Some(opened.records.next_offset());
                            assignment.stop();
                        }
                        self.current = None;
                        return Err(error);
                    }
                    None => {
                        let Opened { ref records, place, generation, .. } = *opened;
                        let position = records.end();
                        self.set_position(place, generation, position);
                    }
                }
            }
            self.current = self.take_resumed();
            if self.current.is_none() {
                let Some(arrived) = self.try_next_chunk()? else { return Ok(None) };
                let Arrived { batch, progress, place, generation } = arrived;
                self.current =
                    Some(Opened { records: batch.into_iter(), progress, place, generation });
            }
        }
    }

    /// The next batch of any of the partitions, which is given whole: the position is then after
    /// it. None when the end has been reached, if the consumer [stops
    /// there](ConsumerBuilder::stop_at_end).
    ///
    /// What [`next`](Self::next) has left of a batch is passed over. Errors and cancellation are as
    /// with `next`.
    pub async fn next_batch(&mut self) -> Result<Option<RecordBatch>, ConsumeError> {
        loop {
            if let Some(batch) = self.try_next_batch()? {
                return Ok(Some(batch));
            }
            if self.is_over() {
                return Ok(None);
            }
            self.board.arrival.notified().await;
        }
    }

    fn try_next_batch(&mut self) -> Result<Option<RecordBatch>, ConsumeError> {
        self.settle();
        while let Some(opened) = self.current.take().or_else(|| self.take_resumed()) {
            let Opened { records, place, generation, .. } = opened;
            self.set_position(place, generation, records.end());
        }
        let Some(Arrived { batch, progress, place, generation }) = self.try_next_chunk()? else {
            return Ok(None);
        };
        let position = batch.next_offset();
        if let Some(assignment) = self.board.lock().current(place, generation) {
            assignment.position = Some(position);
        }
        self.given = Some((progress, position));
        self.board.settings.interceptors.on_consume(Consumed::Batch(&batch));
        Ok(Some(batch))
    }

    /// The caller is done with what it was given.
    fn settle(&mut self) {
        for opened in self.current.iter().chain(&self.held) {
            opened.progress.set(opened.records.next_offset());
        }
        if let Some((progress, offset)) = self.given.take() {
            progress.set(offset);
        }
    }

    /// The records as a stream.
    pub fn stream(&mut self) -> impl Stream<Item = Result<ConsumerRecord, ConsumeError>> + '_ {
        futures_util::stream::unfold(self, async |consumer| {
            let next = consumer.next().await.transpose()?;
            Some((next, consumer))
        })
    }

    /// Goes on at another place in a partition, also after an error. What was read ahead is
    /// dropped.
    pub fn seek(&mut self, partition: &TopicPartition, to: StartAt) -> Result<(), ConsumeError> {
        self.forget_opened(partition);
        self.change(partition, |assignment| assignment.start_at(to))
    }

    /// Gives no records of a partition until it is resumed. Those read ahead are kept.
    pub fn pause(&mut self, partition: &TopicPartition) -> Result<(), ConsumeError> {
        self.set_paused(partition, true)?;
        self.held.extend(self.current.take_if(|it| **it.records.source() == *partition));
        Ok(())
    }

    /// Gives records of a partition again.
    pub fn resume(&mut self, partition: &TopicPartition) -> Result<(), ConsumeError> {
        self.set_paused(partition, false)
    }

    fn set_paused(
        &mut self,
        partition: &TopicPartition,
        is_paused: bool,
    ) -> Result<(), ConsumeError> {
        self.change(partition, |assignment| assignment.is_paused = is_paused)?;
        self.board.lock().sort_out_paused();
        self.board.bell.notify_one();
        Ok(())
    }

    /// Drops what was begun of a partition.
    fn forget_opened(&mut self, partition: &TopicPartition) {
        self.current.take_if(|opened| **opened.records.source() == *partition);
        self.held.retain(|opened| **opened.records.source() != *partition);
    }

    /// Drops what was begun before a seek that went past this consumer.
    fn forget_outdated(&mut self) {
        let mut board = self.board.lock();
        let mut is_current =
            |opened: &Opened| board.current(opened.place, opened.generation).is_some();
        self.current.take_if(|opened| !is_current(opened));
        self.held.retain(is_current);
    }

    fn change(
        &mut self,
        partition: &TopicPartition,
        change: impl FnOnce(&mut Assignment),
    ) -> Result<(), ConsumeError> {
        let mut board = self.board.lock();
        let assignment = board.find(partition);
        let assignment = assignment.ok_or_else(|| unbegun(partition, ConsumeFault::NotAssigned))?;
        change(assignment);
        self.board.bell.notify_one();
        Ok(())
    }

    /// The partitions that it reads.
    pub fn partitions(&self) -> Vec<Arc<TopicPartition>> {
        self.board.lock().assigned().map(|it| it.partition.clone()).collect()
    }

    /// The offset of the next record that will be given of a partition, if that is known yet.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        let begun = self.current.iter().chain(&self.held);
        let begun = begun.map(|opened| &opened.records).find(|it| **it.source() == *partition);
        match begun {
            Some(records) => Some(records.next_offset()),
            None => self.board.lock().find(partition)?.position,
        }
    }

    /// The bounds of a partition, as last told with an answer; none before the first.
    pub fn watermarks(&self, partition: &TopicPartition) -> Option<Watermarks> {
        self.board.lock().find(partition)?.watermarks
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
        let at = OffsetAt::Timestamp(timestamp_ms);
        let wanted: Vec<_> = partitions.iter().map(|partition| (partition.clone(), at)).collect();
        let isolation: Isolation = self.board.settings.isolation;
        self.cluster.find_offsets(&wanted, isolation).await
    }

    fn set_position(&self, place: usize, generation: u64, position: i64) {
        if let Some(assignment) = self.board.lock().current(place, generation) {
            assignment.set_position(position);
        }
    }

    /// The next batch that was read, if there is one.
    fn try_next_chunk(&mut self) -> Result<Option<Arrived>, ConsumeError> {
        loop {
            let Some(chunk) = self.take_chunk() else { return Ok(None) };
            if let Some(arrived) = self.open(chunk)? {
                return Ok(Some(arrived));
            }
        }
    }

    /// The oldest chunk for the caller. The fetcher is told of the room that this makes, also by
    /// dropping what was read before a seek.
    fn take_chunk(&self) -> Option<Chunk> {
        let mut board = self.board.lock();
        let before = board.buffered_bytes();
        let chunk = board.pop();
        if board.buffered_bytes() < before && board.take_want_of_room() {
            self.board.bell.notify_one();
        }
        chunk
    }

    /// Whether nothing more will come.
    fn is_over(&self) -> bool {
        self.board.settings.stop_at_end
            && self.board.lock().assignments.iter().all(Assignment::is_at_end)
    }

    /// Takes note of something read. Gives the batch, if it is one for the caller.
    fn open(&self, chunk: Chunk) -> Result<Option<Arrived>, ConsumeError> {
        let Chunk { place, generation, content, .. } = chunk;
        let settings = &self.board.settings;
        let mut board = self.board.lock();
        let Some(assignment) = board.current(place, generation) else { return Ok(None) };
        let (view, start) = match content {
            Content::Batch { view, start } => (view, start),
            Content::Failed(error) => return Err(error),
            Content::Skipped { next_offset, epoch } => {
                assignment.progress.begin(next_offset.saturating_sub(1), epoch);
                assignment.set_position(next_offset);
                return Ok(None);
            }
        };
        // There may be more by now than there was, but that is not wanted.
        let is_past = |end| settings.stop_at_end && view.header().base_offset >= end;
        if assignment.end.is_some_and(is_past) {
            return Ok(None);
        }
        let (source, progress) = (assignment.partition.clone(), assignment.progress.clone());
        let header = view.header();
        progress.begin(header.base_offset.max(start), known_epoch(header));
        let batch = RecordBatch::new(source, view, start, settings.batch_bytes_max);
        Ok(Some(Arrived { batch, progress, place, generation }))
    }

    /// A batch that was set aside when its partition was paused, if it has been resumed.
    fn take_resumed(&mut self) -> Option<Opened> {
        if self.held.is_empty() {
            return None;
        }
        let mut board = self.board.lock();
        self.held.retain(|opened| board.current(opened.place, opened.generation).is_some());
        let is_resumed = |opened: &Opened| {
            let assignment = board.current(opened.place, opened.generation);
            assignment.is_some_and(|assignment| !assignment.is_paused)
        };
        let at = self.held.iter().position(is_resumed)?;
        Some(self.held.remove(at))
    }
}
