//! Reading: committed batches for a fetch, from the cache at once or from mapped segments.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use thalweg_storage::error::ReadError;
use thalweg_storage::log::Fetched;

use super::Partition;
use super::error::PartitionError;
use super::fetch_wait::FetchWaiter;

/// What a fetch wants of one partition.
#[derive(Clone)]
pub(crate) struct ReadSpec {
    /// First offset wanted; the batch that contains it is returned whole.
    pub(crate) offset: i64,
    pub(crate) max_bytes: usize,
    /// Return the first batch even if it is larger than `max_bytes` (KIP-74).
    pub(crate) min_one: bool,
    /// The leader epoch the client believes in, −1 for none.
    pub(crate) current_leader_epoch: i32,
    /// A replica that only follows may answer (KIP-392).
    pub(crate) follower_may: bool,
    /// Woken when more can be read, if the request waits.
    pub(crate) waiter: Option<Arc<FetchWaiter>>,
}

/// What a partition answers a fetch with.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadAnswer {
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
    /// The replica that the client should rather ask, in its own rack (KIP-392).
    pub(crate) preferred_replica: Option<i32>,
    /// Batches back to back.
    pub(crate) records: Vec<Bytes>,
    pub(crate) bytes: usize,
}

impl Partition {
    /// Reads from the partition. What can be answered from memory is answered at the first poll.
    pub(crate) fn read(
        self: &Rc<Self>,
        spec: ReadSpec,
    ) -> impl Future<Output = Result<ReadAnswer, PartitionError>> + use<> {
        let partition = Rc::clone(self);
        async move {
            if spec.follower_may && !partition.is_serving() {
                partition.check_follower(&spec)?;
            } else {
                partition.check_epoch(spec.current_leader_epoch)?;
            }
            let high_watermark = partition.high_watermark();
            // Registered before reading, so that nothing committed meanwhile is missed.
            if let Some(waiter) = spec.waiter {
                partition.state.borrow_mut().waiters.add(waiter);
            }
            let fetched =
                partition.fetch(spec.offset, spec.max_bytes, high_watermark, spec.min_one).await?;
            let records = u64::try_from(fetched.next_offset - spec.offset).unwrap_or(0);
            partition.env.metrics.on_fetched(fetched.bytes, records);
            partition.topic_metrics.on_fetched(fetched.bytes, records);
            Ok(ReadAnswer {
                high_watermark,
                log_start_offset: partition.log.log_start_offset(),
                preferred_replica: None,
                records: fetched.records,
                bytes: fetched.bytes,
            })
        }
    }

    /// Whether a replica that follows can answer: it knows of the leader that the client believes
    /// in, and what the client wants has come.
    fn check_follower(&self, spec: &ReadSpec) -> Result<(), PartitionError> {
        let leader = self.env.leaders.get(self.id.topic, self.id.partition);
        let (found, current) =
            (spec.current_leader_epoch, leader.map_or(-1, |leader| leader.epoch));
        if found > current {
            return Err(PartitionError::UnknownEpoch { found, current });
        }
        if found != -1 && found < current {
            return Err(PartitionError::FencedEpoch { found, current });
        }
        if spec.offset > self.high_watermark() {
            return Err(PartitionError::NotYetHere { offset: spec.offset });
        }
        Ok(())
    }

    /// Reads committed batches for the broker itself: for metrics nobody has consumed anything.
    pub(crate) async fn read_committed(
        &self,
        from: i64,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, PartitionError> {
        self.serving()?;
        Ok(self.fetch(from, max_bytes, self.high_watermark(), true).await?.records)
    }

    /// The first offset that is still in the log.
    pub(crate) fn log_start_offset(&self) -> i64 {
        self.log.log_start_offset()
    }

    async fn fetch(
        &self,
        from: i64,
        max_bytes: usize,
        upper: i64,
        min_one: bool,
    ) -> Result<Fetched, ReadError> {
        let (log_start_offset, next_offset) = (self.log.log_start_offset(), self.log.next_offset());
        if from < log_start_offset || from > next_offset {
            return Err(ReadError::OutOfRange { offset: from, log_start_offset, next_offset });
        }
        if from >= upper {
            return Ok(Fetched { records: Vec::new(), bytes: 0, next_offset: from });
        }
        match self.log.try_read_cached(from, max_bytes, upper, min_one) {
            Some(answer) => answer,
            None => self.log.read(from, max_bytes, upper, min_one).await,
        }
    }

    /// The first offset that readers may not see. Without transactions this is also the last
    /// stable offset.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.state.borrow().high_watermark
    }
}
