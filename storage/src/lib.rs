//! One partition's log on disk, and the disk beneath it.
//!
//! This crate knows record batches, not requests: the broker decides what to append and who may
//! read it; this crate decides how it lies on disk, when it is durable, and what a crash left.

pub mod disk;
mod mmap;

pub mod config;
pub mod damage;
pub mod entry;
pub mod error;
pub mod log;
pub mod recovery;
pub mod shared;

pub use config::LogConfig;
pub use damage::DamagedRange;
pub use entry::{Entry, InternalBody};
pub use error::{OpenError, ReadError, WriteError};
pub use log::{EntryMeta, Fetched, Log, LogEvent, LogIdentity, OpenLog, TimestampOffset};
pub use recovery::{RecoveryReport, SegmentReport};
pub use shared::{LogShared, LogStats, SharedConfig};
