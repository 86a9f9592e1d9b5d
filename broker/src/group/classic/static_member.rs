//! A static member that comes back under its own name (KIP-345): it gets a new member id, and the
//! others hear of it only if its strategies changed.

use thalweg_protocol::messages::JoinGroupResponse;
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::join::{Join, refused};
use super::{ClassicGroup, State, sync};
use crate::group::turn::{Turn, Waiter};

impl ClassicGroup {
    /// Puts the joining member in the place of `old_id`, which is fenced from now on.
    pub(super) fn replace_static_member(
        &mut self,
        old_id: &KafkaStr,
        join: Join,
        waiter: Waiter,
        turn: &mut Turn<'_>,
    ) {
        let new_id = join.new_member_id.clone();
        let stays = self.state == State::Stable
            && self.vote_with(Some((old_id, &join.info))) == self.protocol;
        if stays {
            // The new id must be known after a restart, or the member would be thrown out then.
            let record = self.record_with_replaced(old_id, &new_id, &join.info);
            if let Err(code) = turn.journal.append(&[record]) {
                turn.answer_join(waiter, refused(&KafkaStr::default(), code));
                return;
            }
        }
        tracing::info!(group = %self.id, old = %old_id, new = %new_id, stays,
            instance = join.info.instance_id.as_deref().unwrap_or_default(), "static member is back");
        let old_leader = self.leader.clone().unwrap_or_default();
        let can_skip_assignment = join.can_skip_assignment;
        self.rename_member(old_id, &new_id, turn);
        self.update_member(&new_id, join.info, (!stays).then_some(waiter), turn);
        self.restart_session(&new_id, turn);
        if stays {
            let response = self.resumed_response(&new_id, old_leader, can_skip_assignment);
            turn.answer_join(waiter, response);
        } else {
            // In CompletingRebalance the leader may have been told of the old id already.
            self.rebalance_or_complete(turn);
        }
    }

    fn rename_member(&mut self, old_id: &KafkaStr, new_id: &KafkaStr, turn: &mut Turn<'_>) {
        let Some(mut member) = self.members.remove(old_id) else { return };
        let fenced = ErrorCode::FencedInstanceId;
        if let Some(waiter) = member.awaiting_join.take() {
            self.joined -= 1;
            turn.answer_join(waiter, refused(old_id, fenced));
        }
        if let Some(waiter) = member.awaiting_sync.take() {
            turn.answer_sync(waiter, sync::refused(fenced));
        }
        if let Some(instance_id) = &member.info.instance_id {
            self.static_members.insert(instance_id.clone(), new_id.clone());
        }
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        self.sessions.remove(old_id);
        self.members.insert(new_id.clone(), member);
    }

    /// The generation goes on. A leader must not assign anew: it is told so, or, if its version
    /// has no field for that, it is told that someone else leads.
    fn resumed_response(
        &self,
        new_id: &KafkaStr,
        old_leader: KafkaStr,
        can_skip_assignment: bool,
    ) -> JoinGroupResponse {
        let response = self.joined_response(new_id);
        if can_skip_assignment {
            return JoinGroupResponse { skip_assignment: self.is_leader(new_id), ..response };
        }
        JoinGroupResponse { leader: old_leader, members: Vec::new(), ..response }
    }
}
