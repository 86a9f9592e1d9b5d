//! The Thalweg broker: a persistent, partitioned, replicated message log that speaks the Kafka
//! wire protocol.
//!
//! [`broker::Broker`] runs one in this process; the binary `thalweg` is that and an admin CLI. How
//! a request travels is told in `docs/ARCHITECTURE.md`.

mod abort;
pub mod admin;
pub mod broker;
pub mod cli;
mod clock;
pub mod config;
mod controller;
#[doc(hidden)]
pub mod embedded;
pub mod forming;
pub mod group;
mod handlers;
mod node;
pub mod node_rpc;
mod partition;
mod replication;
mod server;
mod shard;
pub mod topic_config;
