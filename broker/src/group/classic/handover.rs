//! What a classic group shows and does when it becomes a group of the newer protocol, or was one.

use thalweg_protocol::{ErrorCode, KafkaStr};

use super::ClassicGroup;
use super::join::refused;
use super::member::Member;
use crate::group::turn::Turn;

impl ClassicGroup {
    /// All members, in order of ids.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&KafkaStr, &Member)> {
        self.members.iter()
    }

    /// The generation that the group is in.
    pub(crate) fn generation(&self) -> i32 {
        self.generation
    }

    /// The group is coordinated otherwise from now on: whoever waits joins again.
    pub(crate) fn hand_over(&mut self, turn: &mut Turn<'_>) {
        let code = ErrorCode::RebalanceInProgress;
        for (id, member) in &mut self.members {
            if let Some(waiter) = member.awaiting_join.take() {
                turn.answer_join(waiter, refused(id, code));
            }
        }
        self.joined = 0;
        self.fail_syncs(code, turn);
    }

    /// The group was coordinated otherwise until now: sessions begin, and everyone joins again.
    pub(crate) fn resume(&mut self, turn: &mut Turn<'_>) {
        self.on_loaded(turn);
        if matches!(self.state, super::State::Stable) {
            self.prepare_rebalance(turn);
        }
    }
}
