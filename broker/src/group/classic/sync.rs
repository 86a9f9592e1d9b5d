//! SyncGroup: the leader hands in the assignment, every member gets its part.

use std::collections::HashMap;

use bytes::Bytes;
use thalweg_protocol::messages::SyncGroupResponse;
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::{ClassicGroup, State};
use crate::group::turn::{Turn, Waiter};

/// A SyncGroup request, as far as the group cares. The assignments hold on to nothing.
#[derive(Clone, Debug)]
pub(crate) struct Sync {
    pub(crate) member_id: KafkaStr,
    pub(crate) instance_id: Option<KafkaStr>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<KafkaStr>,
    pub(crate) protocol_name: Option<KafkaStr>,
    pub(crate) assignments: HashMap<KafkaStr, Bytes>,
}

/// A SyncGroup that fails.
pub(crate) fn refused(code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: code.code(), ..SyncGroupResponse::default() }
}

impl ClassicGroup {
    /// A member asks for its assignment; `waiter` is answered now or when the leader has given it.
    pub(crate) fn sync(&mut self, sync: &Sync, waiter: Waiter, turn: &mut Turn<'_>) {
        if let Err(code) = self.check_sync(sync) {
            turn.answer_sync(waiter, refused(code));
            return;
        }
        let id = sync.member_id.clone();
        let Some(member) = self.members.get_mut(&id) else { return };
        member.owes_sync = false;
        if self.state == State::Stable {
            turn.answer_sync(waiter, self.assigned_response(&id));
        } else {
            // The client gave up its earlier request and sent this one.
            if let Some(before) = member.awaiting_sync.replace(waiter) {
                turn.answer_sync(before, refused(ErrorCode::RebalanceInProgress));
            }
            if self.is_leader(&id) {
                self.assign(&sync.assignments, turn);
            }
        }
        if !self.members.values().any(|member| member.owes_sync) {
            self.sync_deadline = None;
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        self.check_member(&sync.member_id, sync.instance_id.as_ref())?;
        self.check_generation(sync.generation)?;
        let differs =
            |given: &Option<KafkaStr>, ours: &Option<KafkaStr>| given.is_some() && given != ours;
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance { .. } => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// The leader's assignment is written down; from then on the group is stable.
    fn assign(&mut self, assignments: &HashMap<KafkaStr, Bytes>, turn: &mut Turn<'_>) {
        let record = self.record_with_assignments(assignments, turn.wall_ms);
        if let Err(code) = turn.journal.append(&[record]) {
            tracing::warn!(group = %self.id, %code, "an assignment could not be written down");
            self.fail_syncs(code, turn);
            self.prepare_rebalance(turn);
            return;
        }
        self.enter(State::Stable, turn);
        let mut told = Vec::new();
        for (id, member) in &mut self.members {
            member.assignment = assignments.get(id).cloned().unwrap_or_default();
            if let Some(waiter) = member.awaiting_sync.take() {
                told.push((id.clone(), waiter));
            }
        }
        for (id, waiter) in told {
            turn.answer_sync(waiter, self.assigned_response(&id));
            self.restart_session(&id, turn);
        }
    }

    fn assigned_response(&self, member_id: &str) -> SyncGroupResponse {
        let member = self.members.get(member_id);
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment: member.map(|member| member.assignment.clone()).unwrap_or_default(),
            ..SyncGroupResponse::default()
        }
    }
}
