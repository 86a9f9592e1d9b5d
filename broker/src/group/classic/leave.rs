//! LeaveGroup: members that say goodbye, or that an admin sends away by their static name.

use thalweg_protocol::{ErrorCode, KafkaStr};

use super::ClassicGroup;
use crate::group::turn::Turn;

/// One member that is to leave.
#[derive(Clone, Debug)]
pub(crate) struct Leave {
    /// Empty when the static name alone says who.
    pub(crate) member_id: KafkaStr,
    pub(crate) instance_id: Option<KafkaStr>,
    pub(crate) reason: Option<KafkaStr>,
}

impl ClassicGroup {
    /// Takes members out and returns the outcome of each. One rebalance follows for all.
    pub(crate) fn leave(&mut self, leaves: &[Leave], turn: &mut Turn<'_>) -> Vec<ErrorCode> {
        let outcomes: Vec<_> = leaves.iter().map(|leave| self.leave_one(leave, turn)).collect();
        if outcomes.iter().any(|outcome| outcome.is_none()) {
            self.on_members_lost(turn);
        }
        outcomes
    }

    fn leave_one(&mut self, leave: &Leave, turn: &mut Turn<'_>) -> ErrorCode {
        let instance_id = leave.instance_id.as_ref();
        let by_name = instance_id.filter(|_| leave.member_id.is_empty());
        let id = match by_name {
            Some(name) => self.static_members.get(name).cloned().ok_or(ErrorCode::UnknownMemberId),
            None if self.pending.contains(&leave.member_id) => Ok(leave.member_id.clone()),
            None => {
                let known = self.check_member(&leave.member_id, instance_id);
                known.map(|()| leave.member_id.clone())
            }
        };
        match id {
            Ok(id) => {
                tracing::info!(group = %self.id, member = %id,
                    reason = leave.reason.as_deref().unwrap_or("none given"), "leaving");
                self.remove_member(&id, ErrorCode::UnknownMemberId, turn);
                ErrorCode::None
            }
            Err(code) => code,
        }
    }
}
