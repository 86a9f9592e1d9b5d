//! Looking up offsets, and moving the log start: ListOffsets, OffsetForLeaderEpoch,
//! DeleteRecords, retention, and what DescribeProducers and DescribeLogDirs show.

use std::rc::Rc;

use thalweg_storage::error::{ReadError, WriteError};

use super::Partition;
use super::apply::PartitionCommand;
use super::error::PartitionError;
use super::producers::ProducerState;
use super::snapshot::Change;

/// What ListOffsets asks for by its timestamp field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OffsetQuery {
    /// −1: the high watermark.
    Latest,
    /// −2 and −4: the log start (all data is local).
    Earliest,
    /// −3: the record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// −5: the newest offset in remote storage, which there is none of (KIP-1005).
    LatestTiered,
    /// The first record at or after this time.
    Timestamp(i64),
}

/// What ListOffsets answers; −1 where nothing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FoundOffset {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
}

impl FoundOffset {
    const NOTHING: FoundOffset = FoundOffset { timestamp: -1, offset: -1, leader_epoch: -1 };
}

impl Partition {
    /// Looks an offset up.
    pub(crate) async fn find_offset(
        self: Rc<Self>,
        query: OffsetQuery,
        current_leader_epoch: i32,
    ) -> Result<FoundOffset, PartitionError> {
        self.check_epoch(current_leader_epoch)?;
        let upper = self.high_watermark();
        let epoch_of = |offset| {
            self.log.epoch_at(offset).map_or(-1, |epoch| i32::try_from(epoch).unwrap_or(-1))
        };
        let at = |offset| FoundOffset { timestamp: -1, offset, leader_epoch: epoch_of(offset) };
        let found = match query {
            OffsetQuery::Latest => return Ok(at(upper)),
            OffsetQuery::Earliest => return Ok(at(self.log.log_start_offset())),
            OffsetQuery::LatestTiered => return Ok(FoundOffset::NOTHING),
            OffsetQuery::MaxTimestamp => self.log.max_timestamp_offset(upper).await?,
            OffsetQuery::Timestamp(ts) => self.log.offset_for_timestamp(ts, upper).await?,
        };
        Ok(found.map_or(FoundOffset::NOTHING, |found| FoundOffset {
            timestamp: found.timestamp,
            offset: found.offset,
            leader_epoch: i32::try_from(found.leader_epoch).unwrap_or(-1),
        }))
    }

    /// The largest epoch not above `epoch` and where it ends (KIP-320); −1 twice if unknown.
    pub(crate) fn epoch_end(
        &self,
        epoch: i32,
        current_leader_epoch: i32,
    ) -> Result<(i32, i64), PartitionError> {
        self.check_epoch(current_leader_epoch)?;
        let found = u32::try_from(epoch).ok().and_then(|epoch| self.log.epoch_end_offset(epoch));
        Ok(found.map_or((-1, -1), |(epoch, end)| {
            (i32::try_from(epoch).unwrap_or(-1), end.min(self.high_watermark()))
        }))
    }

    /// Deletes the records below `offset` (−1: all that readers can see) and returns the new log
    /// start.
    pub(crate) async fn delete_records(self: Rc<Self>, offset: i64) -> Result<i64, PartitionError> {
        self.serving()?;
        let high_watermark = self.high_watermark();
        let offset = if offset == -1 { high_watermark } else { offset };
        let log_start_offset = self.log.log_start_offset();
        if offset < 0 || offset > high_watermark {
            let next_offset = high_watermark;
            return Err(ReadError::OutOfRange { offset, log_start_offset, next_offset }.into());
        }
        if offset > log_start_offset {
            self.decide(PartitionCommand::AdvanceLogStart { offset }).await?;
            self.advance_log_start(offset).await?;
        }
        Ok(self.log.log_start_offset())
    }

    /// Lets go of the records below `offset`. What they say of their producers is saved before: a
    /// start would find it nowhere else, and take a repeat for a new batch.
    pub(super) async fn advance_log_start(&self, offset: i64) -> Result<(), WriteError> {
        let goes = offset > self.log.log_start_offset();
        // A full disk is no reason to keep what fills it.
        let saved = !goes || self.save(Change::Nothing).await;
        self.log.advance_log_start(offset).await?;
        if !saved {
            self.save(Change::Nothing).await;
        }
        Ok(())
    }

    /// Deletes what retention says must go, and forgets producers that have been silent for
    /// `producer_expiration_ms`.
    pub(crate) async fn retain(self: Rc<Self>, producer_expiration_ms: i64) {
        let now_ms = self.env.clock.now_ms();
        self.state.borrow_mut().producers.expire(now_ms.saturating_sub(producer_expiration_ms));
        let deletes = self.state.borrow().settings.delete;
        if !deletes || self.serving().is_err() {
            return;
        }
        let Some(offset) = self.log.retention_start(now_ms, self.high_watermark()) else { return };
        match self.decide(PartitionCommand::AdvanceLogStart { offset }).await {
            Ok(()) => tracing::info!(topic = %self.name, partition = self.id.partition,
                log_start_offset = offset, "retention moved the log start"),
            Err(error) => tracing::warn!(topic = %self.name, partition = self.id.partition,
                %error, "retention"),
        }
    }

    /// The idempotent producers known here, with their ids.
    pub(crate) fn producers(&self) -> Result<Vec<(i64, ProducerState)>, PartitionError> {
        self.serving()?;
        let state = self.state.borrow();
        Ok(state.producers.iter().map(|(id, producer)| (id, producer.clone())).collect())
    }
}
