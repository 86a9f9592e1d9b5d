//! Heartbeat, and the commits that count as one: cheap, because all they do is move a deadline.

use thalweg_protocol::{ErrorCode, KafkaStr};

use super::{ClassicGroup, State};
use crate::group::turn::Turn;

impl ClassicGroup {
    /// A sign of life. REBALANCE_IN_PROGRESS tells the member to join again.
    pub(crate) fn heartbeat(
        &mut self,
        member_id: &KafkaStr,
        instance_id: Option<&KafkaStr>,
        generation: i32,
        turn: &Turn<'_>,
    ) -> Result<(), ErrorCode> {
        self.check_member(member_id, instance_id)?;
        self.check_generation(generation)?;
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance { .. } => {
                self.restart_session(member_id, turn);
                Err(ErrorCode::RebalanceInProgress)
            }
            State::CompletingRebalance | State::Stable => {
                self.restart_session(member_id, turn);
                Ok(())
            }
        }
    }

    /// Whether offsets may be committed by this member, or (without one) from outside the group.
    pub(crate) fn check_commit(
        &self,
        member_id: &str,
        instance_id: Option<&KafkaStr>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.is_empty() {
            return Ok(());
        }
        if generation < 0 && member_id.is_empty() && instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(member_id, instance_id)?;
        self.check_generation(generation)?;
        match self.state {
            // It belongs to the new generation and has no assignment in it yet.
            State::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::Empty | State::PreparingRebalance { .. } | State::Stable => Ok(()),
        }
    }

    /// A member has committed: it lives.
    pub(crate) fn on_commit(&mut self, member_id: &KafkaStr, turn: &Turn<'_>) {
        if matches!(self.state, State::Stable | State::PreparingRebalance { .. }) {
            self.restart_session(member_id, turn);
        }
    }
}
