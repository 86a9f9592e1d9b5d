//! Loading a coordinator's groups from its partition: every record from the log start to the high
//! watermark, a chunk at a time so that the shard's other work goes on.

use bytes::Bytes;
use thalweg_protocol::batch::{BatchView, Batches, RecordError};
use thalweg_protocol::group_record::{self, Record};
use thalweg_storage::error::ReadError;
use thiserror::Error;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::coordinator::Coordinator;
use super::groups::Groups;
use crate::partition::error::PartitionError;

/// Bytes read, and replayed, before others have their turn.
const CHUNK_BYTES: usize = 256 << 10;
/// What a compressed batch may become: somebody else's broker may have written it.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Why the groups cannot be loaded.
#[derive(Debug, Error)]
enum LoadError {
    #[error(transparent)]
    Read(#[from] PartitionError),
    #[error("the batch at offset {offset}: {source}")]
    Records { offset: i64, source: RecordError },
}

/// The groups of the coordinator's partition, or `None` if they cannot be had.
///
/// A log that cannot be read is an error for an operator to see. Coordinating without what it holds
/// would let consumers start over from nothing.
pub(super) async fn groups(coordinator: &Coordinator) -> Option<Groups> {
    let partition = coordinator.partition.id.partition;
    let began = Instant::now();
    let mut loading = Loading::default();
    match loading.load(coordinator).await {
        Ok(()) => {
            let took_ms = began.elapsed().as_millis();
            info!(
                partition,
                groups = loading.groups.ids().len(),
                records = loading.records,
                unknown = loading.unknown,
                took_ms,
                "groups loaded"
            );
            Some(loading.groups)
        }
        Err(error) => {
            error!(partition, %error, "the groups of this partition cannot be loaded and are not served");
            None
        }
    }
}

#[derive(Default)]
struct Loading {
    groups: Groups,
    records: u64,
    /// Records of kinds that this version does not know, such as those of share groups.
    unknown: u64,
}

impl Loading {
    async fn load(&mut self, coordinator: &Coordinator) -> Result<(), LoadError> {
        let partition = &coordinator.partition;
        let (mut offset, end) = (partition.log_start_offset(), partition.high_watermark());
        while offset < end && !coordinator.is_ended() {
            let chunks = match partition.read_committed(offset, CHUNK_BYTES).await {
                Ok(chunks) => chunks,
                // Retention was faster.
                Err(PartitionError::Read(ReadError::OutOfRange { log_start_offset, .. }))
                    if offset < log_start_offset =>
                {
                    offset = log_start_offset;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let before = offset;
            // From the tail cache a batch comes in two chunks.
            let bytes = Bytes::from(chunks.concat());
            for batch in Batches::new(bytes) {
                let batch = batch.map_err(PartitionError::Corrupt)?;
                offset = batch.header().next_offset();
                self.replay_batch(&batch)?;
            }
            // Only records that are gone from the log may be passed over.
            if offset == before {
                offset = partition.log_start_offset().max(offset + 1);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn replay_batch(&mut self, batch: &BatchView) -> Result<(), LoadError> {
        if batch.attributes().is_control() {
            return Ok(());
        }
        let records = batch.records(BODY_BYTES_MAX);
        let offset = batch.header().base_offset;
        let broken = |source| LoadError::Records { offset, source };
        for record in records.map_err(broken)? {
            let record = record.map_err(broken)?;
            self.records += 1;
            let Some(key) = record.key else { continue };
            self.replay(group_record::Record::parse(key, record.value), record.offset);
        }
        Ok(())
    }

    fn replay(&mut self, parsed: Result<Option<Record>, group_record::RecordError>, offset: i64) {
        match parsed {
            Ok(Some(record)) => self.groups.replay(&record),
            Ok(None) => self.unknown += 1,
            // One that we cannot read must not cost all the others.
            Err(error) => warn!(offset, %error, "a record of __consumer_offsets is passed over"),
        }
    }
}
