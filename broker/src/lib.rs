//! Placeholder.

pub mod admin;
pub mod config;
pub mod topic_config;
