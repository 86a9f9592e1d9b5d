//! What whole-broker tests share: brokers in this process and in others, a client that speaks the
//! raw protocol one frame at a time, a load that knows what was acknowledged, and disks that can
//! lose their power.
//!
//! Nothing here uses `thalweg-client`: a mistake that client and broker have in common would go
//! unseen. Everything panics on what a test does not expect, and cleans up after itself in `Drop`.

pub mod broker;
pub mod bystander;
pub mod cluster;
pub mod cluster_load;
pub mod history;
pub mod leader;
pub mod load;
pub mod log_history;
pub mod mount;
pub mod network;
pub mod process;
pub mod sim;
pub mod storm;
pub mod topic;
pub mod wait;
pub mod wire;
