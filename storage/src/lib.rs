//! One partition's log on disk, and the disk beneath it.
//!
//! This crate knows record batches, not requests: the broker decides what to append and who may
//! read it; this crate decides how it lies on disk, when it is durable, and what a crash left.

pub mod disk;
