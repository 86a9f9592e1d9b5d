//! One small error per operation of the log.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::damage::DamagedRange;

/// Why a log could not be opened. Damage is no such reason: it is reported and lived with.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The disk failed.
    #[error("cannot open the log: {0}")]
    Io(#[from] io::Error),
    /// A file belongs to another log, or to another place in this one. Whatever put it here,
    /// nothing may be done to it.
    #[error("{path} belongs to {found}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it says it is.
        found: String,
    },
    /// A newer version of this program wrote the files.
    #[error("{path} has format version {found}; this program reads up to {supported}")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// Ours.
        supported: u16,
    },
}

/// Why the log takes no entries, or could not do what was asked to its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// A write or flush failed earlier; nothing is retried. The process should stop.
    #[error("a write or flush of this log failed; it takes no more writes")]
    Failed,
    /// The log was closed or deleted.
    #[error("the log is closed")]
    Closed,
    /// The disk was full when the log was closed: what was not written is lost with the process.
    #[error("the disk is full: the log was closed without writing all of it")]
    Full,
}

/// Why a read has no answer.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// No such offset (any more, or yet).
    #[error("offset {offset} is outside [{log_start_offset}, {next_offset}]")]
    OutOfRange {
        /// What was asked for.
        offset: i64,
        /// First offset there is.
        log_start_offset: i64,
        /// First offset there is not.
        next_offset: i64,
    },
    /// No such index (any more, or yet).
    #[error("index {index} is outside [{first_index}, {last_index}]")]
    IndexOutOfRange {
        /// What was asked for.
        index: u64,
        /// First index there is.
        first_index: u64,
        /// Last index there is; `first_index - 1` if there is none.
        last_index: u64,
    },
    /// The bytes on disk are not those that were written.
    #[error("damaged: {0}")]
    Damaged(DamagedRange),
    /// The disk failed.
    #[error("cannot read the log: {0:?}")]
    Io(io::ErrorKind),
    /// A batch holds records that its codec or format does not allow to be walked.
    #[error("the records of the batch at offset {base_offset} cannot be walked")]
    Unreadable {
        /// The batch.
        base_offset: i64,
    },
}
