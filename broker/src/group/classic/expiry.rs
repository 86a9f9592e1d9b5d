//! What time does to a group: sessions end, rebalances stop waiting, and members that never ask for
//! their assignment are sent away.

use thalweg_protocol::{ErrorCode, KafkaStr};

use super::{ClassicGroup, State};
use crate::group::turn::Turn;

impl ClassicGroup {
    /// Does everything whose time has come.
    pub(crate) fn on_time(&mut self, turn: &mut Turn<'_>) {
        let (mut lost_member, mut lost_pending) = (false, false);
        while let Some(id) = self.sessions.pop_due(turn.now_ms) {
            // A session that ends while we keep the member waiting begins anew with our answer.
            if self.members.get(&id).is_some_and(|member| member.may_be_silent()) {
                continue;
            }
            tracing::info!(group = %self.id, member = %id, "session expired");
            match self.members.contains_key(&id) {
                true => lost_member = true,
                false => lost_pending = true,
            }
            self.remove_member(&id, ErrorCode::UnknownMemberId, turn);
        }
        if lost_member {
            self.on_members_lost(turn);
        } else if lost_pending {
            self.maybe_complete_join(turn);
        }
        if self.sync_deadline.is_some_and(|deadline| deadline <= turn.now_ms) {
            self.on_sync_deadline(turn);
        }
        if let State::PreparingRebalance { deadline, .. } = self.state
            && deadline <= turn.now_ms
        {
            self.on_join_deadline(turn);
        }
    }

    /// Members are gone: what they had must go to others, and nobody waits for them any more.
    pub(super) fn on_members_lost(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(turn),
            State::PreparingRebalance { .. } => self.maybe_complete_join(turn),
            State::Empty => {}
        }
    }

    fn on_sync_deadline(&mut self, turn: &mut Turn<'_>) {
        self.sync_deadline = None;
        let owing = self.members.iter().filter(|(_, member)| member.owes_sync);
        let owing: Vec<KafkaStr> = owing.map(|(id, _)| id.clone()).collect();
        for id in &owing {
            tracing::info!(group = %self.id, member = %id, "did not ask for its assignment");
            self.remove_member(id, ErrorCode::UnknownMemberId, turn);
        }
        if !owing.is_empty() {
            self.prepare_rebalance(turn);
        }
    }
}
