//! Whom a leader counts as in sync, for clients and operators to see. Raft does not ask: it commits
//! what a majority has, whoever that is.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::replication::group::MemberProgress;

/// A member that was not caught up for so long lags. Kafka waits for thirty seconds
/// (`replica.lag.time.max.ms`), because taking a replica out of the set costs it two writes to the
/// controller.
const LAGS_AFTER: Duration = Duration::from_secs(2);

/// What a leader remembers of its followers from look to look.
#[derive(Debug, Default)]
pub(super) struct InSync {
    /// When the leadership began: until it has had time to be, nobody is found behind.
    since: Option<Instant>,
    /// The log's last index at the previous look.
    last_index: u64,
    /// When each member was last found to have what the leader had one look before.
    caught_up_at: HashMap<i32, Instant>,
    lagging: Vec<i32>,
}

impl InSync {
    /// Begins a leadership. Whoever lagged under the leader before has to catch up first.
    pub(super) fn begin(&mut self, now: Instant, last_index: u64, lagging: Vec<i32>) {
        *self = InSync { since: Some(now), last_index, lagging, ..InSync::default() };
    }

    /// The members that lag, in the order of their ids.
    pub(super) fn lagging(&self) -> &[i32] {
        &self.lagging
    }

    /// Looks at how far the members are; returns whether others lag now than before.
    pub(super) fn look(
        &mut self,
        now: Instant,
        last_index: u64,
        others: &[MemberProgress],
    ) -> bool {
        let mut lagging = Vec::new();
        for other in others {
            if other.in_sync && other.matched > 0 && other.matched >= self.last_index {
                self.caught_up_at.insert(other.node, now);
            }
            let lagged = self.lagging.contains(&other.node);
            let since = self.since.filter(|_| !lagged);
            let caught_up_at = self.caught_up_at.get(&other.node).copied().or(since);
            if caught_up_at.is_none_or(|at| now.duration_since(at) > LAGS_AFTER) {
                lagging.push(other.node);
            }
        }
        lagging.sort_unstable();
        self.caught_up_at.retain(|node, _| others.iter().any(|other| other.node == *node));
        self.last_index = last_index;
        let changed = self.lagging != lagging;
        self.lagging = lagging;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(node: i32, matched: u64) -> MemberProgress {
        MemberProgress { node, matched, in_sync: true, willing: true }
    }

    #[test]
    fn who_has_what_there_was_a_look_ago_is_in_sync_however_fast_the_log_grows() {
        let (mut in_sync, began) = (InSync::default(), Instant::now());
        in_sync.begin(began, 10, Vec::new());
        for look in 1..20 {
            let now = began + Duration::from_millis(500) * look;
            let had = 10 + u64::from(look - 1) * 1_000;
            let members = [at(3, 10), at(2, had)];
            let changed = in_sync.look(now, had + 1_000, &members);
            // After two seconds 3 is seen to be left behind, once.
            assert_eq!(changed, look == 6, "look {look}");
        }
        assert_eq!(in_sync.lagging(), [3]);
        let now = began + Duration::from_secs(11);
        assert!(in_sync.look(now, 30_000, &[at(3, 19_010), at(2, 19_010)]));
        assert_eq!(in_sync.lagging(), [0; 0]);
    }

    #[test]
    fn who_is_not_heard_of_lags_though_it_had_everything() {
        let (mut in_sync, began) = (InSync::default(), Instant::now());
        in_sync.begin(began, 10, Vec::new());
        assert!(!in_sync.look(began, 10, &[at(2, 10)]));
        let silent = MemberProgress { in_sync: false, ..at(2, 10) };
        assert!(!in_sync.look(began + Duration::from_secs(2), 10, &[silent]));
        assert!(in_sync.look(began + Duration::from_secs(3), 10, &[silent]));
        assert_eq!(in_sync.lagging(), [2]);
        assert!(in_sync.look(began + Duration::from_secs(4), 10, &[]), "not a member any more");
    }

    #[test]
    fn who_lagged_before_lags_under_the_next_leader_until_it_has_caught_up() {
        let (mut in_sync, began) = (InSync::default(), Instant::now());
        in_sync.begin(began, 10, vec![3]);
        assert!(!in_sync.look(began, 10, &[at(2, 0), at(3, 5)]));
        assert_eq!(in_sync.lagging(), [3]);
        assert!(in_sync.look(began + Duration::from_secs(1), 10, &[at(2, 10), at(3, 10)]));
        assert_eq!(in_sync.lagging(), [0; 0]);
    }
}
