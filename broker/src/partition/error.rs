//! Why a partition refuses what it is asked. `handlers/error_map.rs` turns these into Kafka codes.

use thalweg_protocol::batch::BatchError;
use thalweg_storage::error::{ReadError, WriteError};
use thiserror::Error;

use super::producers::SequenceError;

/// A refusal, with what the client may want to know.
#[derive(Clone, Debug, Error)]
pub(crate) enum PartitionError {
    /// Another broker leads, or nobody does yet.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// Leadership ended while the outcome was open: the batch may or may not survive.
    #[error("leadership was lost before the batch was committed; it may or may not be in the log")]
    OutcomeUnknown,
    /// A replica that follows does not have the offset yet.
    #[error("offset {offset} has not reached this replica yet")]
    NotYetHere { offset: i64 },
    /// The client knows of an older leader than this one.
    #[error("leader epoch {found} is older than {current}")]
    FencedEpoch { found: i32, current: i32 },
    /// The client knows of a newer leader than this broker does.
    #[error("leader epoch {found} is newer than {current}")]
    UnknownEpoch { found: i32, current: i32 },
    /// The batch is larger than the topic allows.
    #[error("the batch has {size} bytes; max.message.bytes is {max}")]
    TooLarge { size: usize, max: usize },
    /// The bytes are not a record batch, or not the one that was sent.
    #[error("{0}")]
    Corrupt(BatchError),
    /// Records that this topic does not take.
    #[error("{message}")]
    InvalidRecord {
        message: String,
        /// Index of the record in its batch, and what is wrong with it.
        records: Vec<(i32, String)>,
    },
    /// Timestamps outside what the topic allows.
    #[error("{0}")]
    InvalidTimestamp(String),
    /// A batch of a transaction, which this broker does not serve.
    #[error("transactions are not served")]
    Transactional,
    /// The idempotent producer's sequence is wrong.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// `acks=all` asks for more replicas than there are (`min.insync.replicas`).
    #[error("{replicas} replicas cannot satisfy min.insync.replicas={wanted}")]
    NotEnoughReplicas { replicas: usize, wanted: usize },
    /// Leadership was to go to a broker that is no voter, silent, behind, damaged, or full.
    #[error("broker {0} is no replica of the partition that is caught up, undamaged and has room")]
    NotCaughtUp(i32),
    /// The outcome did not come in the time that the request gave.
    #[error("not acknowledged within the request's timeout; the batch may still be committed")]
    TimedOut,
    /// The disk has no room; nothing was appended.
    #[error("the disk is full: the broker takes no records until there is space again")]
    DiskFull,
    /// A read has no answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A write failed; the broker is about to stop.
    #[error(transparent)]
    Write(#[from] WriteError),
}
