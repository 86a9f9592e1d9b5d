//! From one generation to the next: everyone is asked to join again, and when all have, or their
//! time is up, the new generation begins.

use thalweg_protocol::{ErrorCode, KafkaStr};

use super::{ClassicGroup, InitialDelay, State, subscription, sync};
use crate::group::turn::Turn;

impl ClassicGroup {
    /// Asks everyone to join again.
    pub(super) fn prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::CompletingRebalance {
            self.fail_syncs(ErrorCode::RebalanceInProgress, turn);
        }
        self.sync_deadline = None;
        let timeout_ms = u64::try_from(self.rebalance_timeout_ms()).unwrap_or(0);
        if self.state == State::Empty {
            // More members are probably on their way: one rebalance for all of them.
            let delay_ms = turn.settings.initial_rebalance_delay_ms;
            let remaining_ms = timeout_ms.saturating_sub(delay_ms);
            let initial = Some(InitialDelay { member_added: false, remaining_ms });
            let deadline = turn.now_ms.saturating_add(delay_ms);
            self.enter(State::PreparingRebalance { deadline, initial }, turn);
            return;
        }
        let deadline = turn.now_ms.saturating_add(timeout_ms);
        self.enter(State::PreparingRebalance { deadline, initial: None }, turn);
        self.maybe_complete_join(turn);
    }

    /// Begins the next generation if all have joined and the group is not just forming.
    pub(super) fn maybe_complete_join(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.state, State::PreparingRebalance { initial: None, .. })
            && self.all_joined()
        {
            self.complete_join(turn);
        }
    }

    /// The deadline of PreparingRebalance has come.
    pub(super) fn on_join_deadline(&mut self, turn: &mut Turn<'_>) {
        if let State::PreparingRebalance { deadline, initial: Some(initial) } = &mut self.state
            && initial.member_added
            && initial.remaining_ms > 0
        {
            let delay_ms = turn.settings.initial_rebalance_delay_ms.min(initial.remaining_ms);
            initial.member_added = false;
            initial.remaining_ms -= delay_ms;
            // Never now again, or a delay of 0 would come for ever.
            *deadline = turn.now_ms.saturating_add(delay_ms.max(1));
            return;
        }
        self.complete_join(turn);
    }

    /// Goes on with those who have joined. Static members are waited for until their session ends.
    fn complete_join(&mut self, turn: &mut Turn<'_>) {
        let gone: Vec<KafkaStr> = self
            .members
            .iter()
            .filter(|(_, member)| member.awaiting_join.is_none())
            .filter(|(_, member)| member.info.instance_id.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            tracing::info!(group = %self.id, member = %id, "did not join again in time");
            self.remove_member(&id, ErrorCode::UnknownMemberId, turn);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members are left, and none has joined: their sessions decide.
            let timeout_ms = u64::try_from(self.rebalance_timeout_ms()).unwrap_or(0);
            let deadline = turn.now_ms.saturating_add(timeout_ms.max(1));
            self.state = State::PreparingRebalance { deadline, initial: None };
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.become_empty(turn);
        } else {
            self.begin_generation(turn);
        }
    }

    /// Keeps the leader if it has joined, otherwise takes one that has.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &KafkaStr| {
            self.members.get(id).is_some_and(|member| member.awaiting_join.is_some())
        };
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let elected = self.members.keys().find(|id| joined(id)).cloned();
        let is_elected = elected.is_some();
        if is_elected {
            self.leader = elected;
        }
        is_elected
    }

    fn become_empty(&mut self, turn: &mut Turn<'_>) {
        self.protocol = None;
        self.leader = None;
        self.subscribed = self.is_of_consumers().then(Default::default);
        self.enter(State::Empty, turn);
        tracing::info!(group = %self.id, generation = self.generation, "empty");
        // Without this record the group would come back with members that are gone; their
        // sessions would end there, as they did here.
        if let Err(code) = turn.journal.append(&[self.to_record()]) {
            tracing::warn!(group = %self.id, %code, "an empty group could not be written down");
        }
    }

    fn begin_generation(&mut self, turn: &mut Turn<'_>) {
        self.protocol = self.vote();
        self.subscribed = subscription::of_group(self);
        self.enter(State::CompletingRebalance, turn);
        tracing::info!(group = %self.id, generation = self.generation, members = self.members.len(),
            protocol = self.protocol.as_deref().unwrap_or_default(), "new generation");
        let ids: Vec<KafkaStr> = self.members.keys().cloned().collect();
        for id in &ids {
            let response = self.joined_response(id);
            let Some(member) = self.members.get_mut(id) else { continue };
            member.is_new = false;
            member.owes_sync = true;
            if let Some(waiter) = member.awaiting_join.take() {
                self.joined -= 1;
                turn.answer_join(waiter, response);
            }
            self.restart_session(id, turn);
        }
        self.sync_deadline = Some(turn.after_ms(self.rebalance_timeout_ms().max(1)));
    }

    /// Nobody has an assignment any more, and whoever waits for one is told `code`.
    pub(super) fn fail_syncs(&mut self, code: ErrorCode, turn: &mut Turn<'_>) {
        let mut told = Vec::new();
        for (id, member) in &mut self.members {
            member.assignment = bytes::Bytes::new();
            if let Some(waiter) = member.awaiting_sync.take() {
                turn.answer_sync(waiter, sync::refused(code));
                told.push(id.clone());
            }
        }
        for id in told {
            self.restart_session(&id, turn);
        }
    }

    /// Takes a member out, or a pending id. A request that it waits with is answered with `code`.
    pub(super) fn remove_member(&mut self, id: &KafkaStr, code: ErrorCode, turn: &mut Turn<'_>) {
        self.sessions.remove(id);
        self.pending.remove(id);
        let Some(member) = self.members.remove(id) else { return };
        self.counts.remove(&member.info.protocols);
        self.metadata_bytes -= member.info.metadata_bytes();
        if let Some(instance_id) = &member.info.instance_id
            && self.static_members.get(instance_id) == Some(id)
        {
            self.static_members.remove(instance_id);
        }
        if let Some(waiter) = member.awaiting_join {
            self.joined -= 1;
            turn.answer_join(waiter, super::join::refused(id, code));
        }
        if let Some(waiter) = member.awaiting_sync {
            turn.answer_sync(waiter, sync::refused(code));
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }
}
