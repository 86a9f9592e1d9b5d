//! How members go: by their own will, because they are not heard of, or because they do not give up
//! what they are to.

use thalweg_protocol::messages::ConsumerGroupHeartbeatResponse;
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::draft::Draft;
use super::heartbeat::Heartbeat;
use super::member::{Current, EPOCH_STATIC_LEAVE};
use super::partitions::Held;
use super::{ConsumerGroup, Refusal};
use crate::group::turn::Turn;

/// When to try again to send away a member that the journal would not let go.
const RETRY_MS: i32 = 1000;

impl ConsumerGroup {
    /// The member leaves; a static one that says so keeps its place for as long as a session.
    pub(super) fn leave(
        &mut self,
        heartbeat: &Heartbeat,
        turn: &mut Turn<'_>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let request = &heartbeat.request;
        let id = match &request.instance_id {
            Some(instance_id) => self.static_member(instance_id, &request.member_id)?.clone(),
            None => request.member_id.clone(),
        };
        self.member(&id)?;
        if request.member_epoch == EPOCH_STATIC_LEAVE {
            self.leave_for_a_while(&id, turn)?;
        } else {
            tracing::info!(group = %self.id, member = %id, "member left");
            self.remove_members(std::slice::from_ref(&id), turn)?;
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(id),
            member_epoch: request.member_epoch,
            ..ConsumerGroupHeartbeatResponse::default()
        })
    }

    fn leave_for_a_while(&mut self, id: &KafkaStr, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let current = &self.member(id)?.current;
        // Whoever takes the place may commit at once, at whatever epoch it then has.
        let assigned = current.assigned.keys().map(|at| (*at, 0)).collect();
        let gone = Current {
            epoch: EPOCH_STATIC_LEAVE,
            assigned,
            revoking: Held::new(),
            ..Current::clone(current)
        };
        let mut draft = Draft::new(self, turn.image);
        draft.put_current(id, gone);
        let records = draft.records;
        self.commit(&[], &records, turn)?;
        self.revocations.remove(id);
        tracing::info!(group = %self.id, member = %id, "static member left for a while");
        Ok(())
    }

    /// Takes members out, and sends the group to its next epoch: the others are to have what these
    /// had.
    pub(super) fn remove_members(
        &mut self,
        ids: &[KafkaStr],
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let mut draft = Draft::new(self, turn.image);
        ids.iter().for_each(|id| draft.remove(id));
        draft.drop_unused_regexes();
        let hash = draft.metadata_hash();
        draft.bump_epoch(hash);
        let records = draft.records;
        self.commit(&[], &records, turn)
    }

    /// Sends away everybody whose time has come.
    pub(crate) fn on_time(&mut self, turn: &mut Turn<'_>) {
        let (mut silent, mut unrevoked) = (Vec::new(), Vec::new());
        while let Some(id) = self.sessions.pop_due(turn.now_ms) {
            tracing::info!(group = %self.id, member = %id, "session expired");
            silent.push(id);
        }
        while let Some(id) = self.revocations.pop_due(turn.now_ms) {
            tracing::info!(group = %self.id, member = %id, "did not give up its partitions in time");
            unrevoked.push(id);
        }
        silent.retain(|id| self.members.contains_key(id));
        unrevoked.retain(|id| self.members.contains_key(id));
        let only_unrevoked = unrevoked.iter().filter(|id| !silent.contains(id));
        let late: Vec<KafkaStr> = silent.iter().chain(only_unrevoked).cloned().collect();
        if late.is_empty() {
            return;
        }
        if let Err(code) = self.remove_members(&late, turn) {
            tracing::warn!(group = %self.id, %code, "members could not be sent away yet");
            let again = turn.after_ms(RETRY_MS);
            // Each in its own queue: a heartbeat ends the one kind of lateness and not the other.
            silent.iter().for_each(|id| self.sessions.set(id, again));
            unrevoked.iter().for_each(|id| self.revocations.set(id, again));
        }
    }
}
