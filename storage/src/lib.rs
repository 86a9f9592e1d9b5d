//! One partition's log on disk, and the disk beneath it.
//!
//! This crate knows record batches, not requests: the broker decides what to append and who may
//! read it; this crate decides how it lies on disk, when it is durable, and what a crash left.

pub mod atomic_file;
pub mod data_dir;
pub mod disk;
mod mmap;
pub mod votes;

mod active;
pub mod beginning;
mod cold;
pub mod config;
mod cut;
pub mod damage;
mod ending;
pub mod entry;
mod epochs;
pub mod error;
mod examine;
mod flush_mark;
mod footer;
mod frame;
mod ledger;
mod ledger_entry;
mod ledger_file;
pub mod log;
mod log_start;
mod map_cache;
pub mod offline;
mod progress;
mod queue;
mod reader;
pub mod recovery;
pub mod repair;
mod retention;
mod roll;
pub mod scrub;
mod segment;
pub mod shared;
mod state;
mod tail_cache;
mod timestamps;
mod window;
mod writer;

pub use beginning::{BeginError, Beginning, begin_at};
pub use config::LogConfig;
pub use damage::DamagedRange;
pub use entry::{Entry, InternalBody};
pub use error::{OpenError, ReadError, WriteError};
pub use log::{EntryMeta, Fetched, Log, LogEvent, LogIdentity, OpenLog, TimestampOffset};
pub use recovery::{RecoveryReport, SegmentReport};
pub use repair::RepairError;
pub use scrub::ScrubPosition;
pub use shared::{LogShared, LogStats, SharedConfig};
