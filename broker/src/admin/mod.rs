//! The window for operators: metrics, and whether the broker is alive and ready, over HTTP.
//!
//! It runs on a thread of its own, so that a scrape never waits for a shard and a shard never for a
//! scrape, and so that a broker whose shards are stuck still says that it is alive.

pub mod health;
pub mod http;
pub mod metrics;
