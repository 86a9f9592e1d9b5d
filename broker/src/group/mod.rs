//! Consumer groups: who is a member, who reads what, and how far each group has read.
//!
//! A group belongs to a partition of `__consumer_offsets` (`partition_of`). The leader of that
//! partition coordinates it, on the shard that owns the partition and nowhere else. One
//! `coordinator::Coordinator` per led partition holds its groups in memory, loaded from the
//! partition's records; whatever must last is appended there in Kafka's own formats.
//!
//! Invariant: nobody is told anything before everything it rests on has committed.

mod assignor;
pub(crate) mod classic;
pub(crate) mod consumer;
pub(crate) mod coordinator;
pub(crate) mod coordinators;
mod crossing;
mod deadlines;
pub(crate) mod groups;
pub(crate) mod journal;
mod load;
pub(crate) mod offsets;
mod partition_of;
mod progress;
#[cfg(test)]
mod tests;
pub(crate) mod turn;
mod upkeep;

pub use consumer::ConsumerSettings;
pub(crate) use partition_of::partition_of;
pub use turn::GroupSettings;

/// The topic that holds everything of groups that must last.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
