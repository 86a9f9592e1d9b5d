//! Placeholder.

pub mod batch;
pub mod compression;
