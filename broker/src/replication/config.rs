//! The Raft settings every group of this broker runs with.
//!
//! One tick is 50 ms: a leader beats every 200 ms, and a follower that hears nothing for half a
//! second to a second asks for an election.

use std::time::Duration;

use raft::{Config, ReadOnlyOption};

use super::RaftId;

/// Length of one tick of every group's logical clock.
pub(crate) const TICK: Duration = Duration::from_millis(50);

const HEARTBEAT_TICKS: usize = 4;
const ELECTION_TICKS: usize = 10;
/// A member not heard of for so long does not count for `min.insync.replicas`: two seconds.
pub(super) const IN_SYNC_TICKS: u64 = 40;
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
const MESSAGES_INFLIGHT_MAX: usize = 64;

/// The configuration of a group whose log is applied up to `applied`.
///
/// Back-pressure on proposals is the partition's own (it counts bytes in flight before it gives
/// out offsets), so Raft's limit on uncommitted bytes stays open: it would need the payload of
/// every committed entry just to count it down again.
pub(crate) fn group_config(id: RaftId, applied: u64) -> Config {
    Config {
        id: id.0,
        election_tick: ELECTION_TICKS,
        heartbeat_tick: HEARTBEAT_TICKS,
        applied,
        max_size_per_msg: MESSAGE_BYTES_MAX,
        max_inflight_msgs: MESSAGES_INFLIGHT_MAX,
        check_quorum: true,
        pre_vote: true,
        read_only_option: ReadOnlyOption::Safe,
        batch_append: true,
        ..Config::default()
    }
}
