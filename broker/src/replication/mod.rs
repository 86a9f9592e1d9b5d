//! Raft over the partition's own log. The only place that knows the `raft` crate.
//!
//! A group is a pure state machine (`group`); what it wants written goes to the log and the votes
//! file of its shard, and comes back as progress. The shard's driver steps the groups that have
//! something to do, all of one turn together, so that their writes share one submission.

pub(crate) mod catch_up;
pub(crate) mod config;
pub(crate) mod entry;
pub(crate) mod group;
pub(crate) mod log_storage;
pub(crate) mod membership;
pub(crate) mod outgoing;
pub(crate) mod scheduler;
pub(crate) mod vote;
pub(crate) mod wire;

/// A broker's name inside Raft, where zero means nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RaftId(pub(crate) u64);

impl RaftId {
    /// Kafka's node ids start at zero, Raft's at one.
    pub(crate) fn of(node: i32) -> RaftId {
        assert!(node >= 0, "node id {node} is negative");
        RaftId(u64::from(node.unsigned_abs()) + 1)
    }

    /// The broker's id, unless this is nobody's.
    pub(crate) fn node(self) -> Option<i32> {
        i32::try_from(self.0.checked_sub(1)?).ok()
    }
}
