//! Where a coordinator's records go: one batch per call, appended to its partition.

use thalweg_protocol::ErrorCode;
use thalweg_protocol::batch::{BatchBuilder, BatchOptions, BuildError};
use thalweg_protocol::group_record::Record;
use thalweg_protocol::primitives::EncodeError;
use thiserror::Error;

use super::turn::Journal;
use crate::handlers::error_map;
use crate::partition::error::PartitionError;
use crate::partition::{Acks, Partition, Ticket};

/// Why records were not taken.
#[derive(Debug, Error)]
pub(crate) enum JournalError {
    /// A text or list is longer than the format can say.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The records do not fit a batch.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The partition refused them.
    #[error(transparent)]
    Append(#[from] PartitionError),
}

/// The journal of one turn; it keeps the tickets of what it appended.
pub(super) struct PartitionJournal<'a> {
    pub(super) partition: &'a Partition,
    pub(super) wall_ms: i64,
    pub(super) tickets: Vec<Ticket>,
}

impl Journal for PartitionJournal<'_> {
    fn append(&mut self, records: &[Record]) -> Result<(), ErrorCode> {
        match self.try_append(records) {
            Ok(ticket) => {
                self.tickets.push(ticket);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(partition = self.partition.id.partition, %error, "__consumer_offsets takes no record");
                Err(error_map::of_journal(&error))
            }
        }
    }
}

impl PartitionJournal<'_> {
    fn try_append(&self, records: &[Record]) -> Result<Ticket, JournalError> {
        let mut batch = BatchBuilder::with_capacity(256 * records.len());
        for record in records {
            let (key, value) = (record.key_bytes()?, record.value_bytes()?);
            batch.append(self.wall_ms, Some(&key), value.as_deref(), &[])?;
        }
        let batch = batch.finish(&BatchOptions::default())?;
        Ok(self.partition.append(batch, Acks::All)?)
    }
}
